"""Layer-normalised cells against their paper's equations, and what normalisation does not see."""

import jax
import numpy as np
import pytest

from rnnjax import LSTMCarry, gru_layer_norm, lstm_layer_norm
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters, random_like


def LN(norm, a, epsilon=1e-5):
    deviation = np.sqrt(a.var(axis=-1, keepdims=True) + epsilon)
    return norm.gain * (a - a.mean(axis=-1, keepdims=True)) / deviation + norm.bias


def lstm_reference(params, xs, carry, epsilon=1e-5):
    h, c = carry.h, carry.c
    hs = []
    for x in xs:
        z = LN(params.norm_x, x @ params.W, epsilon) + LN(params.norm_h, h @ params.U, epsilon) + params.b
        i, f, g, o = np.split(z, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(LN(params.norm_c, c, epsilon))
        hs.append(h)
    return LSTMCarry(h, c), np.stack(hs)


def gru_reference(params, xs, h):
    W_gates, W_n = np.split(params.W, [2 * H], 1)
    U_gates, U_n = np.split(params.U, [2 * H], 1)
    hs = []
    for x in xs:
        gates = LN(params.norm_x, x @ W_gates) + LN(params.norm_h, h @ U_gates)
        r, z = np.split(sigmoid(gates), 2, -1)
        n = np.tanh(LN(params.norm_x_n, x @ W_n) + r * LN(params.norm_h_n, h @ U_n))
        h = (1 - z) * h + z * n
        hs.append(h)
    return h, np.stack(hs)


def test_lstm_agrees_with_its_paper():
    agree(lstm_layer_norm(H), lstm_reference)
    agree(lstm_layer_norm(H, epsilon=0.1), lambda *args: lstm_reference(*args, epsilon=0.1))


def test_gru_agrees_with_its_paper():
    agree(gru_layer_norm(H), gru_reference)


@pytest.mark.parametrize(
    ("factory", "count"),
    [(lstm_layer_norm, 4 * H * (I + H + 1) + 18 * H), (gru_layer_norm, 3 * H * (I + H) + 12 * H)],
)
def test_number_of_parameters(factory, count):
    assert num_parameters(factory(H)) == count


def test_the_scale_of_a_matrix_does_not_matter():
    cell = lstm_layer_norm(H, epsilon=0.0)
    params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    larger = params._replace(W=10 * params.W, U=3 * params.U)
    rng = np.random.default_rng(0)
    x, carry = rng.normal(size=(3, I)), LSTMCarry(*rng.normal(size=(2, 3, H)))
    step = jax.jit(lambda p: cell.step(p, carry, cell.project(p, x)))
    (_, y), (_, y_larger) = step(params), step(larger)
    np.testing.assert_allclose(y, y_larger, rtol=1e-4, atol=1e-5)


def test_initial_gains_and_biases():
    params = jax.jit(lambda key: lstm_layer_norm(H).init(key, I))(jax.random.key(0))
    for norm in (params.norm_x, params.norm_h, params.norm_c):
        assert np.all(np.asarray(norm.gain) == 1)
        assert np.all(np.asarray(norm.bias) == 0)
    np.testing.assert_array_equal(params.b, np.repeat([0.0, 1.0, 0.0, 0.0], H))
