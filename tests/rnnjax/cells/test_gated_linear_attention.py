"""Gated linear attention and HGRN2 against their papers' equations."""

import functools

import jax
import numpy as np
import pytest

from rnnjax import gated_linear_attention, hgrn2, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, I, T, agree, num_parameters, random_like

H, HEADS, D, R = 6, 2, 3, 4


def gla_reference(p, xs, S, keys, temperature=16.0):
    """Head by head, the gate as a diagonal matrix."""
    S, ys, K = S.copy(), np.zeros((T, B, H)), HEADS * keys
    q, k, v, low_rank = np.split(xs @ p.W, [K, 2 * K, 2 * K + H], axis=-1)
    alpha = sigmoid(low_rank @ p.W_gate + p.b_gate) ** (1 / temperature)
    for t, b, head in np.ndindex(T, B, HEADS):
        of_keys, of_values = slice(head * keys, (head + 1) * keys), slice(head * D, (head + 1) * D)
        S[b, head] = S[b, head] @ np.diag(alpha[t, b, of_keys]) + np.outer(v[t, b, of_values], k[t, b, of_keys])
        ys[t, b, of_values] = S[b, head] @ q[t, b, of_keys] / np.sqrt(keys)
    return S, ys


def hgrn2_reference(p, xs, S, lower_bound=0.0):
    S, ys = S.copy(), np.zeros((T, B, H))
    i, f, o = np.split(xs @ p.W + p.b, 3, axis=-1)
    i, f, o = i * sigmoid(i), lower_bound + (1 - lower_bound) * sigmoid(f), sigmoid(o)
    for t, b, head in np.ndindex(T, B, HEADS):
        part = slice(head * D, (head + 1) * D)
        S[b, head] = S[b, head] @ np.diag(f[t, b, part]) + np.outer(i[t, b, part], 1 - f[t, b, part])
        ys[t, b, part] = S[b, head] @ o[t, b, part]
    return S, ys


@pytest.mark.parametrize(("options", "keys"), [({}, 2), ({"key_size": 5, "temperature": 2.0}, 5)])
def test_gated_linear_attention_agrees_with_its_paper(options, keys):
    temperature = {k: v for k, v in options.items() if k == "temperature"}
    cell = gated_linear_attention(H, num_heads=HEADS, gate_rank=R, **options)
    agree(cell, functools.partial(gla_reference, keys=keys, **temperature))


@pytest.mark.parametrize("lower_bound", [0.0, 0.8])
def test_hgrn2_agrees_with_its_paper(lower_bound):
    cell = hgrn2(H, num_heads=HEADS, lower_bound=lower_bound)
    agree(cell, functools.partial(hgrn2_reference, lower_bound=lower_bound))


def test_number_of_parameters():
    assert num_parameters(gated_linear_attention(H)) == I * (2 * 3 + H + 16) + 3 * 17
    cell = gated_linear_attention(H, num_heads=HEADS, key_size=5, gate_rank=R)
    assert num_parameters(cell) == I * (2 * 10 + H + R) + 10 * (R + 1)
    assert num_parameters(hgrn2(H, num_heads=HEADS)) == 3 * H * (I + 1)


XS = np.random.default_rng(4).normal(size=(9, I)).astype(np.float32)


def run(cell, params, xs=XS):
    return jax.device_get(jax.jit(lambda params: unroll(cell, params, xs))(params))


def random_params(cell):
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    return jax.tree.map(np.float32, random_like(shapes))


def test_with_open_gates_it_is_causal_attention_without_a_softmax():
    cell = gated_linear_attention(H)
    params = random_params(cell)
    params = params._replace(W_gate=np.zeros_like(params.W_gate), b_gate=np.full_like(params.b_gate, 50.0))
    q, k, v, _ = np.split(XS @ params.W, [3, 6, 6 + H], axis=-1)
    np.testing.assert_allclose(run(cell, params)[1], np.tril(q @ k.T) @ v / np.sqrt(3), atol=2e-5)


def test_each_unit_of_the_keys_forgets_at_its_own_rate():
    """After one write and 8 steps without input each column of the memory has faded by its own gate to the 8."""
    cell = gated_linear_attention(H, temperature=1.0)
    params = random_params(cell)
    first = np.concatenate([XS[:1], np.zeros_like(XS[1:])])
    written, faded = run(cell, params, first[:1])[0][0], run(cell, params, first)[0][0]
    np.testing.assert_allclose(faded, written * sigmoid(params.b_gate) ** 8, rtol=1e-4)


def test_without_expansion_hgrn2_is_an_elementwise_gated_recurrence():
    cell = hgrn2(H, num_heads=H)
    params = random_params(cell)
    h, expected = np.zeros(H), []
    for i, f, o in zip(*np.split(XS @ params.W + params.b, 3, axis=-1), strict=True):
        h = sigmoid(f) * h + (1 - sigmoid(f)) * i * sigmoid(i)
        expected.append(sigmoid(o) * h)
    np.testing.assert_allclose(run(cell, params)[1], expected, atol=1e-5)


def test_hgrn2_keeps_at_least_its_lower_bound():
    """Gates shut as far as they go: each step keeps 0.9 of the memory and writes 0.1 of the input."""
    cell = hgrn2(H, lower_bound=0.9)
    params = random_params(cell)
    W, b = np.zeros_like(params.W), params.b.copy()
    b[H : 2 * H] = -50.0
    i = b[:H] * sigmoid(b[:H])
    S = run(cell, params._replace(W=W, b=b))[0][0]
    np.testing.assert_allclose(S, np.outer(i, np.full(H, 1 - 0.9 ** len(XS))), atol=1e-5)


def test_initial_values():
    params = gated_linear_attention(32, num_heads=2).init(jax.random.key(0), 8)
    assert np.abs(params.W[:, :32]).max() <= np.sqrt(6 / (8 + 16))
    assert np.abs(params.W[:, :16]).max() > np.sqrt(6 / (8 + 32))  # q and k each by their own size
    assert np.all(np.asarray(params.b_gate) == 0)


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        (gated_linear_attention, {"num_heads": 4}, "hidden_size must be a multiple of num_heads = 4, got 6"),
        (gated_linear_attention, {"key_size": 0}, "key_size must be a whole number of at least 1, got 0"),
        (gated_linear_attention, {"gate_rank": 0}, "gate_rank must be a whole number of at least 1, got 0"),
        (gated_linear_attention, {"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        (hgrn2, {"num_heads": 4}, "hidden_size must be a multiple of num_heads = 4, got 6"),
        (hgrn2, {"lower_bound": 1.0}, "lower_bound must be at least 0 and below 1, got 1.0"),
        (hgrn2, {"lower_bound": -0.1}, "lower_bound must be at least 0 and below 1, got -0.1"),
    ],
)
def test_refuses_what_does_not_fit(factory, options, message):
    with pytest.raises(ValueError, match=message):
        factory(6, **options)
