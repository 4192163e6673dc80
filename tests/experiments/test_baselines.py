"""What a forecast has to beat."""

import numpy as np
import pytest

from experiments.forecast import baselines

RNG = np.random.default_rng(0)
Y = 100 + np.arange(60) + 20 * np.sin(np.arange(60) * 2 * np.pi / 12) + RNG.normal(size=60)


def test_naive_forecasts():
    y = np.arange(10.0)
    np.testing.assert_array_equal(baselines.persistence(y, 3), [9, 9, 9])
    np.testing.assert_array_equal(baselines.seasonal_naive(y, 7, 3), [7, 8, 9, 7, 8, 9, 7])
    with pytest.raises(ValueError, match="a period of 12 needs as many values, got 10"):
        baselines.seasonal_naive(y, 1, 12)


def test_an_autoregression_finds_the_recursion_and_goes_on_with_it():
    z = [1.0, -0.5]
    while len(z) < 40:
        z.append(0.3 + 0.9 * z[-1] - 0.5 * z[-2])
    z = np.array(z)
    model = baselines.fit_autoregression(z[:20], 2)
    assert model.intercept == pytest.approx(0.3)
    np.testing.assert_allclose(model.weights, [-0.5, 0.9])
    np.testing.assert_allclose(baselines.autoregress(model, z[:20], 20), z[20:], atol=1e-9)


def test_an_autoregression_is_the_least_squares_one():
    """No other coefficients have smaller residuals: they are orthogonal to what is regressed on."""
    model = baselines.fit_autoregression(Y, 3)
    residuals = np.array([baselines.autoregress(model, Y[:t], 1)[0] - Y[t] for t in range(3, 60)])
    assert residuals.sum() == pytest.approx(0, abs=1e-8)
    np.testing.assert_allclose(residuals @ baselines.windows(Y, 3)[:-1], 0, atol=1e-6)


def test_an_autoregression_needs_more_pairs_than_coefficients():
    with pytest.raises(ValueError, match="on 3 values needs more than 7 of them, got 7"):
        baselines.fit_autoregression(Y[:7], 3)
    baselines.fit_autoregression(Y[:8], 3)
