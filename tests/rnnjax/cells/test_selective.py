"""The selective state space models of Mamba and Mamba-2 against their papers' equations and initial values."""

import jax
import numpy as np
import pytest

from rnnjax import selective_ssm, ssd, unroll
from tests.rnnjax.cells.agree import H, I, agree, num_parameters, random_like

N, R = 3, 2


def reference(p, xs, h, least=0.0):
    """Algorithm 2, channel by channel."""
    h, ys = h.copy(), np.zeros((*xs.shape[:-1], H))
    A = -np.exp(p.log_decay)
    for t, x in enumerate(xs if p.P is None else xs @ p.P):
        low_rank, B, C = np.split(x @ p.W, [R, R + N], axis=-1)
        delta = np.log1p(np.exp(low_rank @ p.W_step + p.b_step))
        for channel in range(H):
            step = delta[:, channel, None]
            kept = np.exp(step * A[channel]) * (1 - least) + least
            h[:, channel] = kept * h[:, channel] + step * B * x[:, channel, None]
            ys[t, :, channel] = (h[:, channel] * C).sum(-1) + p.D[channel] * x[:, channel]
    return h, ys


@pytest.mark.parametrize("input_size", [I, H])
def test_agrees_with_its_paper(input_size):
    agree(selective_ssm(H, state_size=N, step_rank=R), reference, input_size=input_size)


def test_agrees_with_its_paper_where_factors_may_be_negative():
    agree(selective_ssm(H, state_size=N, step_rank=R, least=-1.0), lambda *case: reference(*case, least=-1.0))


def test_tracks_parity_by_hand_where_factors_may_be_negative():
    """A large step turns the state round, a small one keeps it: y_t is (-1)^(ones so far), scaled."""
    cell = selective_ssm(1, state_size=1, least=-1.0)
    bits = np.random.default_rng(0).integers(0, 2, 500)

    def after(h, bit):
        params = cell.init(jax.random.key(0), 1)._replace(
            W=np.float32([[20.0, 0.0, 1.0]]), W_step=np.float32([[2.0]]), b_step=np.float32([-20.0])
        )
        p = cell.prepare(params)
        return cell.step(p, h, cell.project(p, bit[None]))

    h, _ = jax.lax.scan(after, np.ones((1, 1), np.float32), bits.astype(np.float32))
    assert h[0, 0] == pytest.approx((-1.0) ** bits.sum(), abs=1e-3)


@pytest.mark.parametrize("input_size", [I, H])
def test_number_of_parameters(input_size):
    for options, rank in (({"step_rank": R}, R), ({}, 1)):
        cell = selective_ssm(H, state_size=N, **options)
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
        expected = H * (2 * rank + 3 * N + 2) + (H * input_size if input_size != H else 0)
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


def test_initial_values_are_those_of_the_paper():
    params = selective_ssm(40, state_size=4, step_range=(0.01, 0.5)).init(jax.random.key(0), I)
    steps = np.log1p(np.exp(np.asarray(params.b_step, float)))
    assert np.all((steps >= 0.00999) & (steps <= 0.5001))
    np.testing.assert_allclose(np.exp(params.log_decay), np.tile([1, 2, 3, 4], (40, 1)), rtol=1e-6)
    assert params.W_step.shape == (3, 40)
    assert np.abs(params.W_step).max() <= 1 / np.sqrt(3)


def test_refuses_sizes_that_are_none():
    with pytest.raises(ValueError, match="step_rank must be a whole number of at least 1, got 0"):
        selective_ssm(H, step_rank=0)
    with pytest.raises(ValueError, match="state_size must be a whole number of at least 1, got 0"):
        selective_ssm(H, state_size=0)
    with pytest.raises(ValueError, match="step_range must be two positive numbers"):
        selective_ssm(H, step_range=(0.0, 0.1))


HEADS, D = 2, 3


def ssd_reference(p, xs, h):
    """Head by head."""
    size = HEADS * D
    h, ys = h.copy(), np.zeros((*xs.shape[:-1], size))
    u, B, C, step = np.split(xs @ p.W, [size, size + N, size + 2 * N], axis=-1)
    delta = np.log1p(np.exp(step + p.b_step))
    for t, b, head in np.ndindex(*xs.shape[:-1], HEADS):
        part = slice(head * D, (head + 1) * D)
        decay = np.exp(-delta[t, b, head] * np.exp(p.log_decay[head]))
        h[b, head] = decay * h[b, head] + delta[t, b, head] * np.outer(u[t, b, part], B[t, b])
        ys[t, b, part] = h[b, head] @ C[t, b] + p.D[head] * u[t, b, part]
    return h, ys


def test_ssd_agrees_with_its_paper():
    agree(ssd(HEADS * D, num_heads=HEADS, state_size=N), ssd_reference)


def test_ssd_is_attention_with_a_decaying_mask():
    """The dual form: y = (L * C Bᵀ) Δ u + D u, L the product of the decays between two steps."""
    cell, steps = ssd(D, state_size=N), 9
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    params = jax.tree.map(np.float32, random_like(shapes))
    xs = np.random.default_rng(4).normal(size=(steps, I)).astype(np.float32)
    u, B, C, step = np.split(xs @ params.W, [D, D + N, D + 2 * N], axis=-1)
    delta = np.log1p(np.exp(step + params.b_step))
    log_decay = -delta[:, 0] * np.exp(params.log_decay)
    mask = np.zeros((steps, steps))
    for t, s in np.ndindex(steps, steps):
        mask[t, s] = np.exp(log_decay[s + 1 : t + 1].sum()) if s <= t else 0
    expected = (mask * (C @ B.T)) @ (delta * u) + params.D * u
    np.testing.assert_allclose(jax.jit(lambda p: unroll(cell, p, xs)[1])(params), expected, atol=2e-5)


def test_number_of_parameters_and_initial_values_of_ssd():
    assert num_parameters(ssd(6, num_heads=2, state_size=N)) == I * (6 + 2 * N + 2) + 3 * 2
    params = ssd(64, num_heads=64, step_range=(0.01, 0.5)).init(jax.random.key(0), I)
    steps = np.log1p(np.exp(np.asarray(params.b_step, float)))
    assert np.all((steps >= 0.00999) & (steps <= 0.5001))
    decay = np.exp(params.log_decay)
    assert np.all((decay >= 0.999) & (decay <= 16.001))
    assert decay.max() - decay.min() > 10
    assert np.all(np.asarray(params.D) == 1)


def test_ssd_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="hidden_size must be a multiple of num_heads = 4, got 6"):
        ssd(6, num_heads=4)
    with pytest.raises(ValueError, match="state_size must be a whole number of at least 1, got 0"):
        ssd(6, state_size=0)
    with pytest.raises(ValueError, match="step_range must be two positive numbers"):
        ssd(6, step_range=(0.0, 0.1))


def test_refuses_factors_that_are_none():
    with pytest.raises(ValueError, match="least, the least factor of a state, must be at least -1 and below 1, got -2"):
        selective_ssm(H, least=-2)
