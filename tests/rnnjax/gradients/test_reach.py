"""Reach: theory where there is one, intervals, and what gates do to it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import elman, gru, lstm
from rnnjax.cell import Cell, name
from rnnjax.gradients import (
    forget_bias_for,
    forget_gate_rate,
    gates,
    gradient_by_lag,
    gradient_horizon,
    growth_rate,
    histogram,
    horizon_interval,
    keeping_gates,
    linear_rate,
    mean_by_lag,
    mean_field_rate,
    mean_field_variance,
    saturation,
    time_constants,
)

# --- theory ----------------------------------------------------------------------------------------------------------


def test_rates_of_linear_cells_and_gates():
    assert linear_rate(0.5) == -math.log(2)
    assert linear_rate(0.6 - 0.8j) == pytest.approx(0.0, abs=1e-15)
    assert linear_rate(0.0) == -math.inf
    assert forget_gate_rate(0.0) == pytest.approx(-math.log(2))
    for steps in (10.0, 1000.0):
        gate = 1 / (1 + math.exp(-forget_bias_for(steps)))
        assert 1 / (1 - gate) == pytest.approx(steps)
        assert -1 / forget_gate_rate(forget_bias_for(steps)) == pytest.approx(steps - 0.5, rel=1e-2)
    with pytest.raises(ValueError, match="steps=1 must be above 1"):
        forget_bias_for(1)


def test_mean_field_theory_by_hand():
    """A linear network: q* = s / (1 - g²) and χ = g². A tanh network without input is critical at g = 1."""
    linear = {"activation": lambda z: z}
    assert mean_field_variance(0.5, 3.0, **linear) == pytest.approx(4.0)
    assert mean_field_rate(0.5, 3.0, **linear, derivative=np.ones_like) == pytest.approx(math.log(0.5))
    assert mean_field_variance(0.9) < 1e-10
    assert mean_field_rate(0.9) == pytest.approx(math.log(0.9), abs=1e-9)
    assert mean_field_rate(1.5) > 0 > mean_field_rate(1.5, 1.0)  # input drives units into saturation


def test_an_orthogonal_linear_network_keeps_the_norm():
    """At every lag of 1000, to 1e-5, in float64."""
    with jax.enable_x64(True):
        U = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
        cell = elman(16, activation=lambda z: z)
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), cell.init(jax.random.key(0), 2))._replace(U=U)
        v = np.random.default_rng(1).normal(size=16)
        v /= np.linalg.norm(v)
        by_lag = jax.jit(lambda params, xs: gradient_by_lag(cell, params, xs, lambda ys: ys[-1] @ v))
        log_norms = by_lag(params, np.random.default_rng(2).normal(size=(1000, 2, 2)))
        assert log_norms.dtype == np.float64
        np.testing.assert_allclose(np.exp(log_norms), 1.0, rtol=0, atol=1e-5)


def scaled_normal(gain):
    return lambda key, shape, dtype: gain / math.sqrt(shape[0]) * jax.random.normal(key, shape, dtype)


@pytest.mark.parametrize(("gain", "input_variance"), [(0.5, 0.1), (0.9, 0.3), (1.0, 1.0)])
def test_a_random_tanh_network_decays_as_mean_field_theory_says(gain, input_variance):
    """The theoretical rate lies within the measured interval, over 8 seeds; inputs are of one length, as in theory."""
    T, B, I, H, num_lags = 30, 4, 16, 128, 16
    cell = elman(H, recurrent_init=scaled_normal(gain), kernel_init=scaled_normal(math.sqrt(input_variance)))

    def one_seed(key):
        key_cell, key_xs, key_loss = jax.random.split(key, 3)
        xs = jax.random.normal(key_xs, (T, B, I))
        xs = xs / jnp.linalg.norm(xs, axis=-1, keepdims=True) * math.sqrt(I)
        v = jax.random.normal(key_loss, (B, H))
        return gradient_by_lag(cell, cell.init(key_cell, I), xs, lambda ys: jnp.sum(ys[-1] * v, axis=-1))

    log_norms = jax.jit(jax.vmap(one_seed))(jax.random.split(jax.random.key(0), 8))
    found = horizon_interval(log_norms[:, :num_lags])
    theory = -1 / mean_field_rate(gain, input_variance)
    assert found.low < theory < found.high
    assert found.steps == pytest.approx(theory, rel=0.03)


# --- horizon ---------------------------------------------------------------------------------------------------------


def powers(factors, num_lags=100):
    return np.arange(1, num_lags + 1)[:, None] * np.log(factors)


def test_the_interval_over_seeds_is_students_on_rates():
    factors = np.array([0.85, 0.9, 0.95])
    found = horizon_interval(np.stack([powers([f, f]) for f in factors]))
    rates = np.log(factors)
    half = 4.302653 * rates.std(ddof=1) / math.sqrt(3)  # 2 degrees of freedom
    np.testing.assert_allclose(found[:3], [-1 / rates.mean(), -1 / (rates.mean() - half), math.inf], rtol=1e-6)
    assert rates.mean() + half > 0  # which is why the upper end is infinite
    assert (found.num_seeds, found.num_examples, found.censored) == (3, 2, False)


def test_the_interval_over_examples_is_a_bootstrap():
    rng = np.random.default_rng(0)
    one = powers(np.full(30, 0.9)) + 0.05 * rng.normal(size=(100, 30)).cumsum(axis=0)
    found = horizon_interval(one)
    assert found.steps == pytest.approx(gradient_horizon(mean_by_lag(one)).steps, rel=1e-4)
    assert found.low < found.steps < found.high
    assert found.high - found.low < 4
    assert horizon_interval(one) == found
    same = horizon_interval(powers(np.full(5, 0.9)))
    np.testing.assert_allclose(same[:3], -1 / math.log(0.9), rtol=1e-6)
    assert math.isnan(horizon_interval(powers([0.9])).low)


def test_growing_and_flat_are_told_apart_by_the_rate():
    rates = [horizon_interval(powers([factor, factor])).rate for factor in (0.9, 1.0, 1.1)]
    np.testing.assert_allclose(rates, np.log([0.9, 1.0, 1.1]), atol=1e-12)


def test_a_horizon_of_gradients_that_are_gone_or_not_finite():
    gone = np.full((2, 20, 3), -np.inf)
    assert horizon_interval(gone).steps == 0
    broken = np.stack([powers([0.9]), np.full((100, 1), math.nan)])
    assert math.isnan(horizon_interval(broken).steps)
    assert math.isnan(horizon_interval(broken[1]).steps)
    with pytest.raises(ValueError, match=r"must be \[seeds, T, examples\] or \[T, examples\], got shape \(4,\)"):
        horizon_interval(np.zeros(4))


def test_the_growth_rate_is_the_slope():
    assert growth_rate(powers([0.9])[:, 0]) == pytest.approx(math.log(0.9))
    assert growth_rate(powers([1.1])[:, 0]) == pytest.approx(math.log(1.1))
    assert growth_rate(np.full(8, -np.inf)) == -math.inf


# --- gates -----------------------------------------------------------------------------------------------------------


def test_histogram_and_saturation():
    values = jnp.array([[[0.05, 0.5]], [[0.95, 0.55]]])  # [T, B, H]
    shares, edges = histogram(values, bins=10)
    np.testing.assert_allclose(shares, [0.25, 0, 0, 0, 0, 0.5, 0, 0, 0, 0.25], atol=1e-6)
    np.testing.assert_allclose(edges, np.linspace(0, 1, 11), atol=1e-6)
    low, high = saturation(values)
    np.testing.assert_allclose(low, [0.5, 0])
    np.testing.assert_allclose(high, [0.5, 0])


def test_time_constants_are_of_the_path():
    values = np.full((6, 2, 3), [0.5, 0.9, 1.0], np.float32)
    np.testing.assert_allclose(time_constants(values), [2, 10, np.inf], rtol=1e-5)
    np.testing.assert_allclose(time_constants(values, keeps=False), [2, 1 / 0.9, 1], rtol=1e-5)
    mixed = np.array([0.25, 1.0], np.float32).reshape(2, 1, 1)  # a path through both keeps 1/4: a half a step
    np.testing.assert_allclose(time_constants(mixed), [2.0])


def test_chrono_spreads_the_time_constants_of_an_lstm():
    cell = lstm(200, forget_bias=forget_bias_for(50.0), recurrent_init=jax.nn.initializers.zeros)
    params = cell.init(jax.random.key(0), 2)
    found = gates(cell, params, jnp.zeros((3, 1, 2)))
    assert set(found) == {"forget_gate", "input_gate", "output_gate"}
    np.testing.assert_allclose(time_constants(found["forget_gate"]), 50.0, rtol=1e-4)


def writing() -> Cell:
    """Two units of h' = (1 - u) h + u x, the gate named `write_gate`, beside one that decides nothing."""

    def step(p, h, z):
        u = name(jax.nn.sigmoid(z), "write_gate")
        name(jax.nn.sigmoid(z[..., ::-1] ** 2), "idle_gate")
        h = (1 - u) * h + u * z
        return h, h

    return Cell(2, lambda key, I: (), lambda p, B: jnp.zeros((*B, 2)), lambda p, x: x, step)


def test_which_gate_keeps_is_found_by_measurement():
    xs = jax.random.normal(jax.random.key(0), (12, 2, 2))
    (found,) = keeping_gates(writing(), (), xs)
    assert (found.label, found.keeps) == ("write_gate", False)
    assert found.correlation == pytest.approx(-1.0, abs=1e-5)
    for cell, label in ((lstm(6), "forget_gate"), (gru(6), "update_gate")):
        (found,) = keeping_gates(cell, cell.init(jax.random.key(1), 2), 2 * xs)
        assert (found.label, found.keeps) == (label, True)
    cell = elman(6)
    assert keeping_gates(cell, cell.init(jax.random.key(1), 2), xs) == []
