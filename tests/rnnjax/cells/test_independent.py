"""IndRNN against its paper's equation, and its bound."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import IndRNNParams, Uniform, indrnn
from tests.rnnjax.cells.agree import H, I, agree

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def reference(p, xs, h, activation=lambda z: np.maximum(z, 0), bound=np.inf):
    hs = []
    for x in xs:
        h = activation(x @ p.W + np.minimum(np.maximum(p.u, -bound), bound) * h + p.b)
        hs.append(h)
    return h, np.stack(hs)


def test_indrnn():
    agree(indrnn(H), reference)
    agree(indrnn(H, activation=jnp.tanh), lambda p, xs, h: reference(p, xs, h, np.tanh))


def test_indrnn_with_a_bound():
    def beyond(shapes):
        rng = np.random.default_rng(0)
        return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)._replace(u=np.linspace(-2, 2, H))

    agree(indrnn(H, t_max=6), lambda p, xs, h: reference(p, xs, h, bound=2 ** (1 / 6)), params=beyond)
    agree(indrnn(H, t_max=6, max_gain=0.5), lambda p, xs, h: reference(p, xs, h, bound=0.5 ** (1 / 6)), params=beyond)


def test_gradient_over_t_max_steps_is_at_most_max_gain_and_still_reaches_u():
    cell, T = indrnn(3, t_max=50), 50
    params = IndRNNParams(W=np.ones((I, 3), np.float32), u=np.float32([1.5, -1.5, 1.0]), b=np.ones(3, np.float32))

    def last(h, params):
        p, x = cell.prepare(params), jnp.zeros(I)
        return jax.lax.scan(lambda h, _: cell.step(p, h, cell.project(p, x)), h, length=T)[0]

    by_state, by_params = jit(jax.jacobian(last, (0, 1)))(np.ones(3, np.float32), params)
    np.testing.assert_allclose(by_state[0, 0], 2.0, rtol=1e-4)
    assert np.abs(by_state).max() < 2.001
    assert by_params.u[0, 0] > 1


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        ({}, 0.0, 1.0),
        ({"t_max": 10}, 0.0, 2**0.1),
        ({"recurrent": Uniform(0.5**0.1, 2**0.1), "t_max": 10}, 0.5**0.1, 2**0.1),
    ],
)
def test_first_recurrent_weights(options, low, high):
    u = jit(lambda: indrnn(500, **options).init(jax.random.key(0), 1).u)()
    assert low <= u.min() < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < u.max() <= high


def test_parameter_count_and_first_input_weights():
    params = jit(lambda: indrnn(200).init(jax.random.key(0), 10))()
    assert sum(leaf.size for leaf in params) == 200 * (10 + 2)
    assert np.var(params.W) == pytest.approx(2 / 65 / 10, rel=0.1)


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"max_gain, .* must be above 0, got 0"):
        indrnn(H, max_gain=0)
    with pytest.raises(ValueError, match=r"t_max, .* must be at least 1 step, got 0"):
        indrnn(H, t_max=0)
