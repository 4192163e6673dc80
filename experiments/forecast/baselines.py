"""What a forecast has to beat: persistence, seasonal naive, linear autoregressions."""

from typing import NamedTuple

import numpy as np

from rnnjax.data.series import windows


class Autoregression(NamedTuple):
    """z_t = intercept + Σ_k weights[k] z_{t-K+k}, the oldest of K values first."""

    intercept: float
    weights: np.ndarray  # [K]


def persistence(y: np.ndarray, horizon: int) -> np.ndarray:
    """The last value again and again: [horizon]."""
    return np.full(horizon, y[-1])


def seasonal_naive(y: np.ndarray, horizon: int, period: int) -> np.ndarray:
    """The last period again and again: [horizon].

    Raises:
      ValueError: less than a period is known.
    """
    if len(y) < period:
        raise ValueError(f"a period of {period} needs as many values, got {len(y)}")
    return y[len(y) - period + np.arange(horizon) % period]


def fit_autoregression(z: np.ndarray, lags: int) -> Autoregression:
    """By least squares on all windows of z.

    Raises:
      ValueError: not more windows than coefficients.
    """
    if len(z) - lags <= lags + 1:
        raise ValueError(f"an autoregression on {lags} values needs more than {2 * lags + 1} of them, got {len(z)}")
    rows = windows(z, lags + 1)
    design = np.column_stack([np.ones(len(rows)), rows[:, :-1]])
    solution = np.linalg.lstsq(design, rows[:, -1], rcond=None)[0]
    return Autoregression(float(solution[0]), solution[1:])


def autoregress(model: Autoregression, z: np.ndarray, horizon: int) -> np.ndarray:
    """What follows upon z, each forecast taken as the next value: [horizon]."""
    lags = len(model.weights)
    values = np.concatenate([z[len(z) - lags :], np.zeros(horizon)])
    for h in range(horizon):
        values[lags + h] = model.intercept + model.weights @ values[h : lags + h]
    return values[lags:]
