"""minGRU and minLSTM against their paper's equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Chrono, mingru, minlstm, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree


def same(a):
    return a


def g(a):
    return np.where(a >= 0, a + 0.5, sigmoid(a))


def mingru_reference(p, xs, h, candidate=same):
    (W_z, W_h), (b_z, b_h) = np.split(p.W, 2, 1), np.split(p.b, 2)
    hs = []
    for x in xs:
        z = sigmoid(x @ W_z + b_z)
        h = (1 - z) * h + z * candidate(x @ W_h + b_h)
        hs.append(h)
    return h, np.stack(hs)


def minlstm_reference(p, xs, h, candidate=same):
    (W_f, W_i, W_h), (b_f, b_i, b_h) = np.split(p.W, 3, 1), np.split(p.b, 3)
    hs = []
    for x in xs:
        f, i = sigmoid(x @ W_f + b_f), sigmoid(x @ W_i + b_i)
        h = f / (f + i) * h + i / (f + i) * candidate(x @ W_h + b_h)
        hs.append(h)
    return h, np.stack(hs)


@pytest.mark.parametrize(("factory", "reference"), [(mingru, mingru_reference), (minlstm, minlstm_reference)])
@pytest.mark.parametrize(("positive", "candidate"), [(False, same), (True, g)])
def test_agrees_with_its_paper(factory, reference, positive, candidate):
    agree(factory(H, positive=positive), lambda p, xs, h: reference(p, xs, h, candidate))


@pytest.mark.parametrize(("factory", "gates"), [(mingru, 2), (minlstm, 3)])
def test_number_of_parameters(factory, gates):
    params = jax.eval_shape(lambda: factory(H).init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == gates * H * (I + 1)


@pytest.mark.parametrize("factory", [mingru, minlstm])
def test_positive_states_stay_positive_from_a_half(factory):
    cell = factory(H, positive=True)
    xs = 10 * np.random.default_rng(0).normal(size=(20, I)).astype(np.float32)

    @jax.jit
    def run(key):
        params = cell.init(key, I)
        return cell.initial_carry(params, (2,)), unroll(cell, params, xs)[1]

    start, ys = run(jax.random.key(0))
    np.testing.assert_array_equal(start, np.full((2, H), 0.5))
    assert np.all(np.asarray(ys) > 0)


def test_gates_that_both_vanish_share_evenly():
    """f = i = exp(-200), each zero in single precision: f' = i' = 1/2."""
    cell = minlstm(H)
    params = cell.init(jax.random.key(0), I)
    params = params._replace(b=params.b.at[: 2 * H].set(-200.0))
    h, _ = cell.step(params, jnp.ones(H), params.b.at[2 * H :].set(3.0))
    np.testing.assert_allclose(h, np.full(H, 2.0))


def test_biases_that_keep():
    params = mingru(H, keep_bias=Chrono(20.0)).init(jax.random.key(0), I)
    assert np.all(np.asarray(params.b[:H]) < 0)
    params = minlstm(H, forget_bias=2.0, input_bias=-1.0).init(jax.random.key(0), I)
    np.testing.assert_array_equal(params.b, np.repeat([2.0, -1.0, 0.0], H))
    for forget in (0.0, Chrono(20.0)):
        b_f, b_i, b_h = np.split(
            minlstm(H, forget_bias=forget, input_bias=Chrono(20.0)).init(jax.random.key(0), I).b, 3
        )
        assert np.all((b_i < 0) & (b_i >= -np.log(19)) & (b_h == 0))
        assert forget == 0 or np.all(b_i == -b_f)
