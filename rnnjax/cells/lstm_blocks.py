"""The LSTM as the networks of its first paper have it: blocks of memory cells share gates, and gates see gates."""

from numbers import Real
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, recur, shown, zero_carry
from rnnjax.initializers import Bias, Initializer, check_bias, input_bias as init_input_bias, symmetric_uniform

sigmoid = jax.nn.sigmoid
small = symmetric_uniform(0.1)


class LSTMBlocksParams(NamedTuple):
    W: Array  # [I, 2*H/S + H]
    U: Array  # [H + 2*H/S, 2*H/S + H] from the outputs and the gates of the step before
    b: Array  # [2*H/S + H]


class LSTMBlocksCarry(NamedTuple):
    h: Array  # [*B, H]
    c: Array  # [*B, H]
    gates: Array  # [*B, 2*H/S], i and o of every block


@shown
def lstm_blocks(
    hidden_size: int,
    *,
    block_size: int = 1,
    input_bias: Bias = 0.0,
    cut_gradient: bool = False,
    kernel_init: Initializer = small,
    recurrent_init: Initializer = small,
) -> Cell:
    """LSTM of 1997 in blocks of S memory cells, with an input and an output gate a block; none forgets.

        uₜ = (hₜ₋₁, iₜ₋₁, oₜ₋₁)                                  gates see gates
        iₜ = σ(W_i xₜ + U_i uₜ + b_i)                [H/S]       i = 1 writes
        oₜ = σ(W_o xₜ + U_o uₜ + b_o)                [H/S]       o = 1 shows
        gₜ = 4 σ(W_g xₜ + U_g uₜ + b_g) − 2          [H]
        cₜ = cₜ₋₁ + iₜ ⊙ gₜ                                      iₜ of the cell's block
        hₜ = oₜ ⊙ (2 σ(cₜ) − 1)                                  oₜ of the cell's block

    `lstm_1997` has blocks of one cell and gates that see h alone, from weights of today.
    `input_bias`: a number is that of the first block, twice as much that of the second, and so on, so that blocks are
    taken up one after another (the paper: -3 and -6; -2 and -4; -2, -4 and -6); other biases are drawn for each.
    `cut_gradient=True` truncates the gradient as the paper does: uₜ counts as a constant, so that errors go back in
    time through c alone.

    Carry: LSTMBlocksCarry(h [*B, H], c [*B, H], gates [*B, 2H/S]). Output: hₜ [*B, H]. Packing: i, o, g.
    Parameters: (2H/S + H)(I + H + 2H/S + 1).
    Init: W and U uniform(−0.1, 0.1), b_i as given, other biases zero.
    Differs from the paper: carries and gates before the first step are zero, which it does not say; other biases than
    b_i begin at zero.
    Reference: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 4, appendix A.1 and section 5.4.

    Raises:
      ValueError: block_size does not divide hidden_size; sizes below 1.
    """
    H, S = hidden_size, block_size
    check_size(hidden_size=H, block_size=S)
    check_bias(input_bias=input_bias)
    if H % S:
        raise ValueError(f"block_size={S} must divide hidden_size={H}")
    blocks = H // S

    def init(key: Array, input_size: int) -> LSTMBlocksParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        size = 2 * blocks + H
        b_i = init_input_bias(input_bias, key_b, blocks)
        if isinstance(input_bias, Real):
            b_i = b_i * jnp.arange(1, blocks + 1, dtype=jnp.float32)
        return LSTMBlocksParams(
            W=kernel_init(key_W, (input_size, size), jnp.float32),
            U=recurrent_init(key_U, (size, size), jnp.float32),
            b=jnp.zeros(size, jnp.float32).at[:blocks].set(b_i),
        )

    def step(p: LSTMBlocksParams, carry: LSTMBlocksCarry, z: Array) -> tuple[LSTMBlocksCarry, Array]:
        h, c, gates = carry
        u = jnp.concatenate([h, gates], -1)
        a = name(z + recur(jax.lax.stop_gradient(u) if cut_gradient else u, p.U), "preactivation")
        gates = sigmoid(a[..., : 2 * blocks])
        i, o = jnp.split(jnp.repeat(gates, S, -1), 2, -1)
        c = c + name(i, "input_gate") * (4 * sigmoid(a[..., 2 * blocks :]) - 2)
        h = name(o, "output_gate") * (2 * sigmoid(c) - 1)
        return LSTMBlocksCarry(h, c, gates), h

    return Cell(H, init, zero_carry(LSTMBlocksCarry, h=H, c=H, gates=2 * blocks), affine, step)
