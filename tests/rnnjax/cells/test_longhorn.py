"""Longhorn against its paper's equations, and against the problem that its step solves."""

import jax
import numpy as np
import pytest

from rnnjax import longhorn, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters, random_like

N, R = 3, 2


def reference(p, xs, S):
    """Channel by channel."""
    S, ys = S.copy(), np.zeros((*xs.shape[:-1], H))
    for t, x in enumerate(xs if p.P is None else xs @ p.P):
        low_rank, k, q = np.split(x @ p.W, [R, R + N], axis=-1)
        beta = sigmoid(low_rank @ p.W_rate + p.b_rate)
        for channel in range(H):
            rate = (beta[:, channel] / (1 + beta[:, channel] * (k * k).sum(-1)))[:, None]
            S[:, channel] = (1 - rate * k * k) * S[:, channel] + rate * x[:, channel, None] * k
            ys[t, :, channel] = (S[:, channel] * q).sum(-1) + p.D[channel] * x[:, channel]
    return S, ys


@pytest.mark.parametrize("input_size", [I, H])
def test_agrees_with_its_paper(input_size):
    agree(longhorn(H, state_size=N, rate_rank=R), reference, input_size=input_size)


@pytest.mark.parametrize("input_size", [I, H])
def test_number_of_parameters(input_size):
    for options, rank in (({"rate_rank": R}, R), ({}, 1)):
        expected = H * (2 * rank + 2 * N + 2) + (H * input_size if input_size != H else 0)
        assert num_parameters(longhorn(H, state_size=N, **options), input_size) == expected


def random_params(cell):
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), H))
    return jax.tree.map(np.float32, random_like(shapes))


def test_with_one_key_a_step_is_the_solution_of_its_problem():
    """With N = 1 the diagonal is all there is: s' minimises (s' - s)² + β (k s' - x)², found here on a fine grid."""
    cell = longhorn(H, state_size=1)
    params = random_params(cell)
    x = np.random.default_rng(3).normal(size=H).astype(np.float32)
    before = np.random.default_rng(4).normal(size=(H, 1)).astype(np.float32)
    after = jax.jit(lambda p: unroll(cell, p, x[None], before)[0])(params)
    low_rank, k, _ = x @ params.W
    beta = sigmoid(low_rank * params.W_rate[0] + params.b_rate)
    s = np.linspace(-6, 6, 120_001)
    cost = (s - before) ** 2 + beta[:, None] * (k * s - x[:, None]) ** 2
    np.testing.assert_allclose(after[:, 0], s[cost.argmin(axis=1)], atol=1e-4)


def test_what_it_holds_never_grows_by_itself():
    """Each entry is multiplied by a number from 0 to 1, however large the inputs: 300 loud steps stay bounded."""
    cell = longhorn(H, state_size=N)
    params = random_params(cell)
    xs = 100 * np.random.default_rng(5).normal(size=(300, H)).astype(np.float32)
    quiet = params._replace(D=np.zeros_like(params.D))
    S, ys = jax.jit(lambda p: unroll(cell, p, xs))(quiet)
    assert np.isfinite(ys).all()
    assert np.abs(S).max() < np.abs(xs).max()


def test_initial_values():
    params = longhorn(40, state_size=4).init(jax.random.key(0), I)
    assert np.all(np.asarray(params.D) == 1)
    for leaf in (params.W_rate, params.b_rate):
        assert np.abs(leaf).max() <= 1 / np.sqrt(3)
    assert params.W_rate.shape == (3, 40)


def test_refuses_sizes_that_are_none():
    with pytest.raises(ValueError, match="state_size must be a whole number of at least 1, got 0"):
        longhorn(H, state_size=0)
    with pytest.raises(ValueError, match="rate_rank must be a whole number of at least 1, got 0"):
        longhorn(H, rate_rank=0)
