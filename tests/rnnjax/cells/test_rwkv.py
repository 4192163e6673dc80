"""RWKV-7's time mixing against its paper's equations and its authors' initial values."""

import jax
import numpy as np
import pytest

from rnnjax import RWKV7Carry, rwkv7, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, I, T, agree, num_parameters, random_like

H, HEADS, D, R = 6, 2, 3, 4


def reference(p, xs, carry):
    """Example by example and head by head, the input mixed before it meets a matrix."""
    S, last, ys = carry.S.copy(), carry.x.copy(), np.zeros((T, B, H))
    matrices = np.split(p.W, np.cumsum([H, H, H, R, R]), axis=1)
    for t, b in np.ndindex(T, B):
        x = xs[t, b]
        mixed = [(x + mu * (last[b] - x)) @ W for mu, W in zip(p.mix, matrices, strict=True)]
        last[b] = x
        r, k, v = mixed[:3]
        w = np.exp(-np.exp(-0.5) * sigmoid(np.tanh(mixed[3]) @ p.W_decay + p.b_decay))
        a = sigmoid(mixed[4] @ p.W_rate + p.b_rate)
        g = sigmoid(mixed[5]) @ p.W_gate
        written = k * (1 + (a - 1) * p.replacement)
        for head in range(HEADS):
            part = slice(head * D, (head + 1) * D)
            kappa = (k * p.removal)[part]
            kappa = kappa / np.linalg.norm(kappa)
            transition = np.diag(w[part]) - np.outer(kappa, a[part] * kappa)
            S[b, head] = S[b, head] @ transition + np.outer(v[part], written[part])
            y = S[b, head] @ r[part]
            y = (y - y.mean()) / np.sqrt(y.var() + 1e-5 * D) * p.scale[part] + p.shift[part]
            y = y + (r[part] @ (p.bonus[part] * written[part])) * v[part]
            ys[t, b, part] = g[part] * y
    return RWKV7Carry(S, last), ys


def test_agrees_with_its_paper():
    agree(rwkv7(H, num_heads=HEADS, rank=R), reference)


def test_number_of_parameters():
    assert num_parameters(rwkv7(H, num_heads=HEADS, rank=R)) == I * (3 * H + 3 * R + 6) + 3 * R * H + 7 * H
    for size, rank in ((6, 6), (64, 32), (768, 64)):  # at most H; the least there is; the authors' suggestion
        assert num_parameters(rwkv7(size)) == I * (3 * size + 3 * rank + 6) + 3 * rank * size + 7 * size


def random_params(cell):
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    return jax.tree.map(np.float32, random_like(shapes))


XS = np.random.default_rng(4).normal(size=(9, I)).astype(np.float32)


def run(cell, params, xs=XS, carry=None):
    return jax.device_get(jax.jit(lambda params: unroll(cell, params, xs, carry))(params))


def test_without_decay_and_at_full_rate_it_replaces_what_a_key_held():
    """w = 1, a = 1, ξ = 1: what the last key reads is the last value, whatever came before."""
    cell = rwkv7(H)
    params = random_params(cell)
    still = {"W_decay": np.zeros_like(params.W_decay), "W_rate": np.zeros_like(params.W_rate)}
    params = params._replace(
        **still, b_decay=np.full(H, -50, np.float32), b_rate=np.full(H, 50, np.float32), removal=np.ones(H, np.float32)
    )
    _, mu_k, mu_v = params.mix[:3]
    k = (XS[-1] + mu_k * (XS[-2] - XS[-1])) @ params.W[:, H : 2 * H]
    v = (XS[-1] + mu_v * (XS[-2] - XS[-1])) @ params.W[:, 2 * H : 3 * H]
    S = run(cell, params)[0].S[0]
    np.testing.assert_allclose(S @ (k / np.linalg.norm(k)), v * np.linalg.norm(k), atol=2e-5)


def test_no_unit_decays_faster_than_by_0545():
    """With keys and values zero, all that happens to the memory is the decay, here at its strongest."""
    cell = rwkv7(H)
    params = random_params(cell)
    params = params._replace(W=np.zeros_like(params.W), b_decay=np.full(H, 50, np.float32))
    start = RWKV7Carry(np.ones((1, H, H), np.float32), np.zeros(I, np.float32))
    np.testing.assert_allclose(run(cell, params, XS[:3], start)[0].S, 0.545239**3, rtol=1e-4)


def test_the_last_input_is_carried():
    """Two runs with the carry handed on are one run: the first step of the second sees the last input of the first."""
    cell = rwkv7(H, num_heads=HEADS)
    params = random_params(cell)
    whole = run(cell, params)[1]
    carry, first = run(cell, params, XS[:4])
    np.testing.assert_allclose(carry.x, XS[3])
    np.testing.assert_allclose(np.concatenate([first, run(cell, params, XS[4:], carry)[1]]), whole, atol=1e-5)
    forgotten = run(cell, params, XS[4:], carry._replace(x=np.zeros(I, np.float32)))[1]
    assert np.abs(forgotten[0] - whole[4]).max() > 1e-2


def test_initial_values_are_those_of_the_authors():
    """Unit by unit, for a first layer."""
    size, heads = 8, 2
    params = rwkv7(size, num_heads=heads).init(jax.random.key(0), I)
    for n in range(size):
        line, zigzag = n / (size - 1) - 0.5, (n % 4 - 1.5) / 1.5
        zigzag = zigzag * abs(zigzag)
        np.testing.assert_allclose(params.b_decay[n], -6 + 6 * n / (size - 1) + 0.5 + 2.5 * zigzag, atol=1e-5)
        np.testing.assert_allclose(params.b_rate[n], -0.19 + 0.3 * zigzag + 0.4 * line, atol=1e-6)
        np.testing.assert_allclose(params.removal[n], 0.71 - 0.1 * line, rtol=1e-6)
    for row, power in zip(params.mix, (0.2, 0.7, 0.7, 0.9, 0.9, 0.2), strict=True):
        np.testing.assert_allclose(row, 1 - (np.arange(I) / I) ** power, atol=1e-6)
    assert np.all(np.asarray(params.W[:, 3 * size :]) == 0)
    np.testing.assert_allclose(params.W_decay @ params.W_decay.T, 0.01 * np.eye(size), atol=1e-6)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="hidden_size must be a multiple of num_heads = 4, got 6"):
        rwkv7(6, num_heads=4)
    with pytest.raises(ValueError, match="rank must be a whole number of at least 1, got 0"):
        rwkv7(6, rank=0)
