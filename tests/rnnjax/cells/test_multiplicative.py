"""mLSTM and multiplicative integration against their papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import LSTMCarry, mi_gru, mi_lstm, mi_rnn, multiplicative_lstm
from rnnjax.initializers import glorot_uniform
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters


def multiplicative_lstm_reference(params, xs, carry):
    (W_i, W_f, W_g, W_o), (U_i, U_f, U_g, U_o) = np.split(params.W, 4, 1), np.split(params.U, 4, 1)
    b_i, b_f, b_g, b_o = np.split(params.b, 4)
    h, c = carry.h, carry.c
    hs = []
    for x in xs:
        m = (x @ params.W_m) * (h @ params.U_m)
        i = sigmoid(x @ W_i + m @ U_i + b_i)
        f = sigmoid(x @ W_f + m @ U_f + b_f)
        o = sigmoid(x @ W_o + m @ U_o + b_o)
        c = f * c + i * np.tanh(x @ W_g + m @ U_g + b_g)
        h = o * np.tanh(c)
        hs.append(h)
    return LSTMCarry(h, c), np.stack(hs)


def integrations(mi, gates):
    """One function (W x, U h) -> alpha * W x * U h + beta_1 * U h + beta_2 * W x + b for each gate."""
    vectors = zip(*(np.split(v, gates) for v in (mi.alpha, mi.beta_1, mi.beta_2, mi.b)), strict=True)

    def one(alpha, beta_1, beta_2, b):
        return lambda p, q: alpha * p * q + beta_1 * q + beta_2 * p + b

    return [one(*v) for v in vectors]


def mi_rnn_reference(params, xs, h):
    (mi,) = integrations(params.mi, 1)
    hs = []
    for x in xs:
        h = np.tanh(mi(x @ params.W, h @ params.U))
        hs.append(h)
    return h, np.stack(hs)


def mi_lstm_reference(params, xs, carry):
    mi = integrations(params.mi, 4)
    W, U = np.split(params.W, 4, 1), np.split(params.U, 4, 1)
    h, c = carry.h, carry.c
    hs = []
    for x in xs:
        i, f, g, o = (mi[k](x @ W[k], h @ U[k]) for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
    return LSTMCarry(h, c), np.stack(hs)


def mi_gru_reference(params, xs, h):
    mi_r, mi_z, mi_n = integrations(params.mi, 3)
    W_r, W_z, W_n = np.split(params.W, 3, 1)
    U_r, U_z = np.split(params.U, 2, 1)
    hs = []
    for x in xs:
        r = sigmoid(mi_r(x @ W_r, h @ U_r))
        z = sigmoid(mi_z(x @ W_z, h @ U_z))
        n = np.tanh(mi_n(x @ W_n, (r * h) @ params.U_n))
        h = (1 - z) * h + z * n
        hs.append(h)
    return h, np.stack(hs)


@pytest.mark.parametrize(
    ("factory", "reference"),
    [
        (multiplicative_lstm, multiplicative_lstm_reference),
        (mi_rnn, mi_rnn_reference),
        (mi_lstm, mi_lstm_reference),
        (mi_gru, mi_gru_reference),
    ],
)
def test_agrees_with_its_paper(factory, reference):
    agree(factory(H), reference)


@pytest.mark.parametrize(
    ("factory", "count"),
    [
        (multiplicative_lstm, 4 * H * (I + H + 1) + H * (I + H)),
        (mi_rnn, H * (I + H + 4)),
        (mi_lstm, 4 * H * (I + H + 4)),
        (mi_gru, 3 * H * (I + H + 4)),
    ],
)
def test_number_of_parameters(factory, count):
    assert num_parameters(factory(H)) == count


def test_without_the_product_it_is_elman():
    """alpha = 0, beta = 1."""
    cell = mi_rnn(H, alpha=0.0, beta=1.0, recurrent_init=glorot_uniform)
    params = jax.jit(lambda key: cell.init(key, I))(jax.random.key(0))
    x, h = np.random.default_rng(0).normal(size=(2, 3, H)).astype(np.float32)
    h_new, _ = jax.jit(lambda h, x: cell.step(params, h, cell.project(params, x)))(h, x[:, :I])
    np.testing.assert_allclose(h_new, np.tanh(x[:, :I] @ params.W + h @ params.U), atol=1e-6)


def test_initial_vectors():
    mi = jax.jit(lambda key: mi_lstm(H, alpha=1.5, beta=0.25, forget_bias=3.0).init(key, I).mi)(jax.random.key(0))
    np.testing.assert_array_equal(mi.b, jnp.repeat(jnp.array([0.0, 3.0, 0.0, 0.0]), H))
    assert [float(v) for v in (mi.alpha[0], mi.beta_1[0], mi.beta_2[0])] == [1.5, 0.25, 0.25]
