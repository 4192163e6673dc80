"""Reach: one number for how far a gradient travels, and an interval for it."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from rnnjax.cell import Array

SMALLEST = 1e-30  # gradients below this carry no information about the slope
RESAMPLES = 999
CONFIDENCE = 0.95


def mean_by_lag(log_norms: Array, lengths: Array | None = None) -> Array:
    """log of the gradient's norm at each lag, averaged over the examples that reach it: [T] from [T, *B].

    Args:
      log_norms: as `gradient_by_lag` returns them.
      lengths: [*B], those given there; without them every example reaches every lag.
    """
    num_lags = len(log_norms)
    log_norms = jnp.reshape(log_norms, (num_lags, -1))
    reached = jnp.full(num_lags, log_norms.shape[1])
    if lengths is not None:
        reached = jnp.sum(jnp.arange(1, num_lags + 1)[:, None] <= jnp.ravel(lengths), axis=1)
    return jax.nn.logsumexp(log_norms, axis=1) - jnp.log(jnp.maximum(reached, 1))


class Horizon(NamedTuple):
    """How many steps it takes the gradient to fall by a factor e."""

    steps: float  # infinite where the gradient does not fall
    censored: bool  # longer than the sequence it was measured on, so an extrapolation


def growth_rate(log_norms: Array | np.ndarray) -> float:
    """The slope of the logarithms [T] of norms d_k against the lag k = 1..T, in natural logarithms per step.

    By least squares over the lags k >= T/4 with d_k > 1e-30 (over all such lags, should fewer than two of them reach
    T/4: the gradient is gone before); -inf if fewer than two lags have any gradient, NaN if a norm is NaN or infinite.
    """
    log_d = np.asarray(log_norms, np.float64)
    if not (log_d < np.inf).all():
        return math.nan
    num_lags = len(log_d)
    lags = np.arange(1, num_lags + 1)
    visible = log_d > np.log(SMALLEST)
    late = visible & (lags >= num_lags / 4)
    chosen = late if late.sum() >= 2 else visible
    if chosen.sum() < 2:
        return -math.inf
    return float(np.polyfit(lags[chosen], log_d[chosen], 1)[0])


def steps_of(rate: float) -> float:
    """The horizon -1/rate that belongs to a growth rate; infinite where nothing falls, 0 where all is gone at once."""
    if math.isnan(rate):
        return math.nan
    return -1.0 / rate if rate < 0 else math.inf


def gradient_horizon(log_norms: Array) -> Horizon:
    """The horizon of the logarithms [T] of the gradient's norms d_k at lags k = 1..T, as `mean_by_lag` returns them.

    It is -1 / `growth_rate`: infinite if the slope is not negative, 0 if fewer than two lags have any gradient, NaN if
    a norm is NaN or infinite.
    """
    steps = steps_of(growth_rate(log_norms))
    return Horizon(steps, censored=bool(steps > len(log_norms)))


class HorizonInterval(NamedTuple):
    """A horizon with its 95 % interval; NaN ends where there is one seed with one example."""

    steps: float
    low: float
    high: float
    censored: bool
    num_seeds: int
    num_examples: int  # of each seed
    rate: float  # the growth rate; above 0 where the gradient grows, where `steps` is infinite as for one that is flat


def horizon_interval(log_norms: Array | np.ndarray) -> HorizonInterval:
    """The horizon over seeds and data, from log norms [seeds, T, examples] or of one seed [T, examples].

    Over several seeds: growth rates are fitted seed by seed to the mean over the examples, and their mean has the
    interval of Student's t; if every seed drew data of its own, as it should, that covers both. Of a single seed:
    examples are resampled (percentile bootstrap, 999 resamples, fixed key). Rates are averaged, not horizons, for those
    may be infinite; the ends of the interval are the horizons of its rates.

    Raises:
      ValueError: an array that is neither [seeds, T, examples] nor [T, examples].
    """
    norms = np.asarray(log_norms, np.float64)
    if norms.ndim == 2:
        norms = norms[None]
    if norms.ndim != 3:
        raise ValueError(f"log_norms must be [seeds, T, examples] or [T, examples], got shape {norms.shape}")
    num_seeds, num_lags, num_examples = norms.shape
    if num_seeds > 1:
        rates = np.array([growth_rate(_mean(one)) for one in norms])
        rate, (low, high) = float(np.mean(rates)), student(rates)
    else:
        rate = growth_rate(_mean(norms[0]))
        low, high = _resampled(norms[0])
    steps = steps_of(rate)
    ends = steps_of(low), steps_of(high)
    return HorizonInterval(steps, *ends, bool(steps > num_lags), num_seeds, num_examples, rate)


def student(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean by Student's t; NaN where there are fewer than two values or one is not finite."""
    values = np.asarray(values, np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan, math.nan
    half = stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def _mean(log_norms: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """log of the mean norm over examples [T, N], each counted as often as `counts` [N] says."""
    highest = log_norms.max(axis=1, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0.0)
    norms = np.exp(log_norms - highest)
    total = norms.mean(axis=1) if counts is None else norms @ counts / counts.sum()
    with np.errstate(divide="ignore"):
        return np.log(total) + highest[:, 0]


def _resampled(log_norms: np.ndarray) -> tuple[float, float]:
    num_examples = log_norms.shape[1]
    if num_examples < 2 or not (log_norms < np.inf).all():
        return math.nan, math.nan
    counts = np.random.default_rng(0).multinomial(num_examples, [1 / num_examples] * num_examples, RESAMPLES)
    rates = [growth_rate(_mean(log_norms, one)) for one in counts]
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="nearest")
    return float(low), float(high)
