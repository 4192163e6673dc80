"""The intersection RNN against its paper's equations, with and without the map of the input."""

import jax
import numpy as np
import pytest

from rnnjax import intersection_rnn
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree


def reference(p, xs, h):
    W_gy, W_gh, W_y, W_h = np.split(p.W, 4, 1)
    U_gy, U_gh, U_y, U_h = np.split(p.U, 4, 1)
    b_gy, b_gh, b_y, b_h = np.split(p.b, 4)
    ys = []
    for x in xs:
        if x.shape[-1] != H:
            x = x @ p.P + p.b_P
        y_in = np.maximum(0, x @ W_y + h @ U_y + b_y)
        h_in = np.tanh(x @ W_h + h @ U_h + b_h)
        g_y = sigmoid(x @ W_gy + h @ U_gy + b_gy)
        g_h = sigmoid(x @ W_gh + h @ U_gh + b_gh)
        ys.append(g_y * x + (1 - g_y) * y_in)
        h = g_h * h + (1 - g_h) * h_in
    return h, np.stack(ys)


@pytest.mark.parametrize("input_size", [I, H])
def test_agrees_with_its_paper(input_size):
    agree(intersection_rnn(H), reference, input_size=input_size)


@pytest.mark.parametrize(("input_size", "more"), [(I, H * (I + 1)), (H, 0)])
def test_number_of_parameters(input_size, more):
    params = jax.eval_shape(lambda: intersection_rnn(H).init(jax.random.key(0), input_size))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 4 * H * (2 * H + 1) + more


def test_initial_biases_of_depth_and_time():
    cells = [intersection_rnn(H), intersection_rnn(H, depth_bias=2.0, forget_bias=3.0)]
    default, given = jax.jit(lambda key: [cell.init(key, I).b for cell in cells])(jax.random.key(0))
    np.testing.assert_array_equal(default, np.repeat([1.0, 1.0, 0.0, 0.0], H))
    np.testing.assert_array_equal(given, np.repeat([2.0, 3.0, 0.0, 0.0], H))
