"""Leaky units and the unit with delayed feedback against their papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Chrono, TauGRUCarry, leaky, tau_gru
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree


def leaky_reference(p, xs, h, activation=np.tanh):
    alpha, hs = 1 - sigmoid(p.keep), []
    for x in xs:
        h = alpha * activation(x @ p.W + h @ p.U + p.b) + (1 - alpha) * h
        hs.append(h)
    return h, np.stack(hs)


def test_leaky():
    agree(leaky(H), leaky_reference)
    agree(leaky(H, activation=jax.nn.relu), lambda p, xs, h: leaky_reference(p, xs, h, lambda z: np.maximum(z, 0)))


@pytest.mark.parametrize("options", [{"delay": 1}, {"delay": 3}, {"delay": 4, "alpha": 0.5, "beta": 0.7}])
def test_tau_gru(options):
    delay, alpha, beta = options["delay"], options.get("alpha", 1.0), options.get("beta", 1.0)

    def reference(p, xs, carry):
        (U_1, U_2, U_3, U_4), (b_1, b_2, b_3, b_4) = np.split(p.W, 4, 1), np.split(p.b, 4)
        W_1, W_3, W_4 = np.split(p.U, 3, 1)
        hs = [*np.moveaxis(carry.past, 1, 0), carry.h]
        for n, x in enumerate(xs, delay):
            u = np.tanh(hs[n] @ W_1 + x @ U_1 + b_1)
            z = np.tanh(hs[n - delay] @ p.U_delayed + x @ U_2 + b_2)
            g = sigmoid(hs[n] @ W_3 + x @ U_3 + b_3)
            a = sigmoid(hs[n] @ W_4 + x @ U_4 + b_4)
            hs.append((1 - g) * hs[n] + g * (beta * u + alpha * a * z))
        past = np.stack(hs[-1 - delay : -1], axis=1)
        return TauGRUCarry(hs[-1], past), np.stack(hs[delay + 1 :])

    agree(tau_gru(H, **options), reference)


def test_a_leaky_unit_forgets_with_its_time_constant():
    cell = leaky(200, keep_bias=Chrono(50))

    def run():
        params = cell.init(jax.random.key(0), 1)
        p = cell.prepare(params._replace(U=jnp.zeros_like(params.U)))
        return params.keep, jax.lax.scan(lambda h, _: cell.step(p, h, 0.0), jnp.ones(200), length=10)[0]

    keep, h = jax.device_get(jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})())
    tau = 1 + np.exp(keep)
    assert 2 <= tau.min() < 4
    assert 48 < tau.max() <= 50.001
    np.testing.assert_allclose(h, (1 - 1 / tau) ** 10, rtol=1e-4)


@pytest.mark.parametrize(("cell", "count"), [(leaky(H), H * (I + H + 2)), (tau_gru(H), 4 * H * (I + H + 1))])
def test_parameter_count(cell, count):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in params) == count


def test_tau_gru_refuses_a_delay():
    with pytest.raises(ValueError, match="delay must be a whole number of at least 1, got 0"):
        tau_gru(H, delay=0)
