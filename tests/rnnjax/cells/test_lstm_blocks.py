"""The LSTM's memory cell blocks against the paper's equations, and the truncated gradient against one by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import lstm_blocks, unroll
from rnnjax.cells import LSTMBlocksCarry
from rnnjax.initializers import Chrono
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import I, agree, num_parameters

H, S = 6, 2


def of_blocks(size):
    """The reference, written cell by cell and block by block as in the paper's section 4."""

    def reference(params, xs, carry):
        hs, (h, c, gates) = [], carry
        blocks = H // size
        for x in xs:
            u = np.concatenate([h, gates], -1)
            net = x @ params.W + u @ params.U + params.b
            gates = np.zeros_like(gates)
            h, c = np.zeros_like(h), c.copy()
            for block in range(blocks):
                write, show = sigmoid(net[..., block]), sigmoid(net[..., blocks + block])
                gates[..., block], gates[..., blocks + block] = write, show
                for cell in range(block * size, (block + 1) * size):
                    c[..., cell] += write * (4 * sigmoid(net[..., 2 * blocks + cell]) - 2)
                    h[..., cell] = show * (2 * sigmoid(c[..., cell]) - 1)
            hs.append(h)
        return LSTMBlocksCarry(h, c, gates), np.stack(hs)

    return reference


@pytest.mark.parametrize("size", [1, 2, 3])
def test_agrees_with_its_paper(size):
    agree(lstm_blocks(H, block_size=size), of_blocks(size))


def test_the_networks_of_the_paper_have_its_number_of_weights():
    """With the readout: 93 for adding, 156 and 308 for temporal order (tables 7 and 9)."""
    assert num_parameters(lstm_blocks(4, block_size=2), 2) + (4 + 1) * 1 == 93
    assert num_parameters(lstm_blocks(4, block_size=2), 8) + (4 + 1) * 4 == 156
    assert num_parameters(lstm_blocks(6, block_size=2), 8) + (6 + 1) * 8 == 308


def test_the_input_gate_of_each_block_begins_further_shut():
    params = lstm_blocks(H, block_size=2, input_bias=-3.0).init(jax.random.key(0), I)
    np.testing.assert_allclose(params.b, [-3, -6, -9, *[0] * 9])
    assert np.abs(params.W).max() <= 0.1
    shut = lstm_blocks(H, block_size=2, input_bias=Chrono(100)).init(jax.random.key(0), I).b
    assert (shut[:3] < 0).all()
    assert (shut[3:] == 0).all()


def test_the_truncated_gradient_goes_back_through_the_memory_alone():
    """∂c_T/∂W by hand: each step adds what its own input did to i ⊙ g, and u is a constant."""
    cell, cut = lstm_blocks(4, block_size=2), lstm_blocks(4, block_size=2, cut_gradient=True)
    params = jax.tree.map(lambda leaf: leaf * 20, cell.init(jax.random.key(1), I))
    xs = jax.random.normal(jax.random.key(2), (5, I))

    def last_c(cell, params):
        return jnp.sum(unroll(cell, params, xs)[0].c)

    expected, carry = jnp.zeros_like(params.W), cell.initial_carry(params)
    for x in xs:
        into = lambda W, carry=carry, x=x: jnp.sum(
            cell.step(params, carry, x @ W + params.b)[0].c  # u held, c before held
        )
        expected = expected + jax.grad(into)(params.W)
        carry = cell.step(params, carry, x @ params.W + params.b)[0]
    np.testing.assert_allclose(last_c(cut, params), last_c(cell, params), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(last_c, argnums=1)(cut, params).W, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(jax.grad(last_c, argnums=1)(cell, params).W - expected).max() > 1e-3


def test_blocks_must_fill_the_cell():
    with pytest.raises(ValueError, match="block_size=4 must divide hidden_size=6"):
        lstm_blocks(6, block_size=4)
