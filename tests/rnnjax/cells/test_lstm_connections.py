"""LSTMs with further connections against their papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import LSTMCarry, residual_lstm, stack, unroll, wmclstm
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters


def wmclstm_reference(params, xs, carry):
    (W_i, W_f, W_g, W_o), (U_i, U_f, U_g, U_o) = np.split(params.W, 4, 1), np.split(params.U, 4, 1)
    b_i, b_f, b_g, b_o = np.split(params.b, 4)
    U_ci, U_cf = np.split(params.U_c, 2, 1)
    h, c = carry.h, carry.c
    hs = []
    for x in xs:
        i = sigmoid(x @ W_i + h @ U_i + np.tanh(c @ U_ci) + b_i)
        f = sigmoid(x @ W_f + h @ U_f + np.tanh(c @ U_cf) + b_f)
        c = f * c + i * np.tanh(x @ W_g + h @ U_g + b_g)
        o = sigmoid(x @ W_o + h @ U_o + np.tanh(c @ params.U_o) + b_o)
        h = o * np.tanh(c)
        hs.append(h)
    return LSTMCarry(h, c), np.stack(hs)


def residual_lstm_reference(params, xs, carry):
    (W_i, W_f, W_g, W_o), (U_i, U_f, U_g, U_o) = np.split(params.W, 4, 1), np.split(params.U, 4, 1)
    b_i, b_f, b_g, b_o = np.split(params.b, 4)
    w_i, w_f, w_o = params.w
    h, c = carry.h, carry.c
    hs = []
    for x in xs:
        i = sigmoid(x @ W_i + h @ U_i + w_i * c + b_i)
        f = sigmoid(x @ W_f + h @ U_f + w_f * c + b_f)
        c = f * c + i * np.tanh(x @ W_g + h @ U_g + b_g)
        o = sigmoid(x @ W_o + h @ U_o + w_o * c + b_o)
        shortcut = x if params.W_h is None else x @ params.W_h
        h = o * (np.tanh(c) @ params.W_p + shortcut)
        hs.append(h)
    return LSTMCarry(h, c), np.stack(hs)


def test_wmclstm_agrees_with_its_paper():
    agree(wmclstm(H), wmclstm_reference)


@pytest.mark.parametrize("input_size", [I, H])
def test_residual_lstm_agrees_with_its_paper(input_size):
    agree(residual_lstm(H), residual_lstm_reference, input_size=input_size)


@pytest.mark.parametrize(
    ("cell", "input_size", "count"),
    [
        (wmclstm(H), I, 4 * H * (I + H + 1) + 3 * H * H),
        (residual_lstm(H), I, 4 * H * (I + H + 1) + 3 * H + H * H + H * I),
        (residual_lstm(H), H, 4 * H * (2 * H + 1) + 3 * H + H * H),
    ],
)
def test_number_of_parameters(cell, input_size, count):
    assert num_parameters(cell, input_size) == count


def test_the_shortcut_goes_round_the_memory():
    """With an open output gate and W_p = 0 a stack of layers of one size hands the input through."""
    cell = stack(residual_lstm(3), residual_lstm(3))
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), 3))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    params = tuple(p._replace(b=jnp.repeat(jnp.array([0.0, 0.0, 0.0, 50.0]), 3)) for p in params)
    x = jnp.array([[1.0, -2.0, 30.0]])
    y = jax.jit(lambda x: unroll(cell, params, x[None])[1][0])(x)
    np.testing.assert_allclose(y, x)
