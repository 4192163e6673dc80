"""Bistable cells against their paper's equations, and two stable states in one neuron."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import br, nbr, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters


def reference(params, xs, h):
    W_a, W_c, W_n = np.split(params.W, 3, 1)
    b_a, b_c = np.split(params.b, 2)
    hs = []
    for x in xs:
        if hasattr(params, "U"):
            U_a, U_c = np.split(params.U, 2, 1)
            seen_a, seen_c = h @ U_a, h @ U_c
        else:
            w_a, w_c = np.split(params.w, 2)
            seen_a, seen_c = w_a * h, w_c * h
        a = 1 + np.tanh(x @ W_a + seen_a + b_a)
        c = sigmoid(x @ W_c + seen_c + b_c)
        h = c * h + (1 - c) * np.tanh(x @ W_n + a * h)
        hs.append(h)
    return h, np.stack(hs)


@pytest.mark.parametrize("factory", [br, nbr])
def test_agrees_with_its_paper(factory):
    agree(factory(H), reference)


@pytest.mark.parametrize(("factory", "count"), [(br, 3 * H * I + 4 * H), (nbr, 3 * H * I + 2 * H * H + 2 * H)])
def test_number_of_parameters(factory, count):
    assert num_parameters(factory(H)) == count


def test_initial_values_of_the_feedback():
    params = jax.jit(lambda key: br(H, feedback_bias=2.0, update_bias=-1.0).init(key, I))(jax.random.key(0))
    assert np.all(np.asarray(params.w) == 1)
    np.testing.assert_array_equal(params.b, np.repeat([2.0, -1.0], H))


def test_feedback_above_one_remembers_a_sign_and_below_one_forgets_it():
    """Without input, h = tanh(a h) is at rest at 0 alone where a < 1, and at ± a value of its own where a > 1."""
    cell = br(2)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(lambda: cell.init(jax.random.key(0), 1)))
    params = params._replace(b=jnp.array([1.0, -1.0, 0.0, 0.0]))  # a = 1.76 in the first neuron, 0.24 in the second
    starts = jnp.array([[0.01, 0.9], [-0.01, -0.9]])
    h, _ = jax.jit(lambda h: unroll(cell, params, jnp.zeros((200, 2, 1)), h))(starts)
    a = 1 + np.tanh(1.0)
    np.testing.assert_allclose(h[:, 0], np.tanh(a * h[:, 0]), atol=1e-6)
    np.testing.assert_allclose(h[0, 0], -h[1, 0])
    assert h[0, 0] > 0.8
    np.testing.assert_allclose(h[:, 1], 0, atol=1e-6)
