"""sLSTM against its paper's equations, with the stabiliser and without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import SLSTMCarry, slstm, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, I, agree, num_parameters, random_like

H = 6


def gates(params, x, h):
    z = x @ params.W + params.b
    heads, d = len(params.U), H // len(params.U)
    for k in range(heads):
        u = h[:, k * d : (k + 1) * d] @ params.U[k]
        for gate in range(4):
            z[:, gate * H + k * d : gate * H + (k + 1) * d] += u[:, gate * d : (gate + 1) * d]
    return np.split(z, 4, -1)


def stabilised(params, xs, carry, exponential_forget):
    h, c, n, m = carry
    hs = []
    for x in xs:
        z_i, z_f, z_z, z_o = gates(params, x, h)
        f = np.exp(z_f) if exponential_forget else sigmoid(z_f)
        new_m = np.maximum(np.log(f) + m, z_i)
        i, f = np.exp(z_i - new_m), np.exp(np.log(f) + m - new_m)
        c, n, m = f * c + i * np.tanh(z_z), f * n + i, new_m
        h = sigmoid(z_o) * c / n
        hs.append(h)
    return SLSTMCarry(h, c, n, m), np.stack(hs)


def unscaled(params, xs, exponential_forget):
    """The cell before the stabiliser is introduced, from an empty memory."""
    h = c = n = np.zeros((B, H))
    hs = []
    for x in xs:
        z_i, z_f, z_z, z_o = gates(params, x, h)
        i, f = np.exp(z_i), np.exp(z_f) if exponential_forget else sigmoid(z_f)
        c, n = f * c + i * np.tanh(z_z), f * n + i
        h = sigmoid(z_o) * c / n
        hs.append(h)
    return np.stack(hs)


@pytest.mark.parametrize(("num_heads", "exponential_forget"), [(1, False), (3, False), (2, True)])
def test_agrees_with_its_paper(num_heads, exponential_forget):
    h, c, n, m = np.random.default_rng(1).normal(size=(4, B, H))
    carry = SLSTMCarry(h, c, 1 + np.abs(n), m)
    cell = slstm(H, num_heads=num_heads, exponential_forget=exponential_forget)
    agree(cell, lambda *args: stabilised(*args, exponential_forget), carry=carry)


@pytest.mark.parametrize("exponential_forget", [False, True])
def test_the_stabiliser_changes_no_output(exponential_forget):
    cell = slstm(H, exponential_forget=exponential_forget)
    with jax.enable_x64(True):
        params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
        xs = np.random.default_rng(2).normal(size=(6, B, I))
        _, ys = jax.jit(lambda params, xs: unroll(cell, params, xs))(params, xs)
    np.testing.assert_allclose(ys, unscaled(params, xs, exponential_forget), rtol=0, atol=1e-10)


def test_gates_of_any_size_stay_in_range():
    """Pre-activations of ±1000, whose exponentials float32 cannot hold, in the values and in their gradients."""
    cell = slstm(H, exponential_forget=True)
    params = jax.jit(lambda key: cell.init(key, I))(jax.random.key(0))
    xs = 1000 * np.random.default_rng(0).normal(size=(20, B, I)).astype(np.float32)
    loss = lambda params: jnp.sum(unroll(cell, params, xs)[1] ** 2)
    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_number_of_parameters():
    assert num_parameters(slstm(H, num_heads=3)) == 4 * H * (I + H // 3 + 1)


def test_initial_forget_bias_falls_over_each_head():
    params = jax.jit(lambda key: slstm(H, num_heads=2).init(key, I))(jax.random.key(0))
    b_i, b_f, b_z, b_o = np.split(np.asarray(params.b), 4)
    assert not np.any([b_i, b_z, b_o])
    assert not np.any(params.U)
    np.testing.assert_allclose(b_f, [5, 5 - 12 * 0.5**0.3, -7] * 2, rtol=1e-5)
    given = jax.jit(lambda key: slstm(H, forget_bias=3.0).init(key, I).b)(jax.random.key(0))
    assert np.all(given[H : 2 * H] == 3)


def test_heads_must_divide_the_units():
    with pytest.raises(ValueError, match="num_heads=4 does not divide hidden_size 6"):
        slstm(H, num_heads=4)
