"""Rolling origin: forecasts from every point of the test part, each by a model fitted on nothing later than it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from experiments.forecast import baselines as simple
from experiments.forecast.network import Forecaster, Trained, make_pairs
from rnnjax.data.series import Fitted, Transform, make_transform, standard

SCALINGS = ("standard", "minmax")


class Rolling(NamedTuple):
    """Origins are numbers of values known: the forecast from origin o begins with y[o].

    A fit at start s has seen y[:s] and serves the origins from s to the next start. The origins before `first` only
    calibrate prediction intervals.
    """

    y: np.ndarray  # [n]
    first: int  # the first origin of the test part
    origins: np.ndarray  # [O], first - calibration .. n - 1
    starts: np.ndarray  # [fits]
    fit_of: np.ndarray  # [O], index of the fit that serves an origin
    horizon: int

    @property
    def test(self) -> np.ndarray:
        """Which origins belong to the test part."""
        return self.origins >= self.first

    @property
    def targets(self) -> np.ndarray:
        """What comes after each origin, [O, H]; NaN beyond the end."""
        padded = np.append(self.y, np.full(self.horizon, np.nan))
        return padded[self.origins[:, None] + np.arange(self.horizon)]

    @property
    def first_fit(self) -> int:
        """The index of the fit at `first`."""
        return int(np.searchsorted(self.starts, self.first))


class Method(NamedTuple):
    """A way to forecast: forecast(fit, origin, horizon) -> [horizon], in the units of the series."""

    name: str
    forecast: Callable[[int, int, int], np.ndarray]
    num_params: int
    memory: int  # values it needs before its first forecast


class NetworkForecasts(NamedTuple):
    """Of every seed, in the units of the series."""

    rolled: np.ndarray  # [seeds, O, H]
    free: np.ndarray  # [seeds, n - first], free running from the split to the end
    training: np.ndarray  # [seeds, ...], one step ahead up to the split by the fit at it


def make_rolling(y: np.ndarray, first: int, horizon: int, refit: int, calibration: int) -> Rolling:
    """Fits every `refit` values, before `first` and again from it on; with refit = 0 once before it and once at it.

    Raises:
      ValueError: a test part shorter than the horizon, or nothing left before the origins that calibrate.
    """
    n = len(y)
    if n - first < horizon:
        raise ValueError(f"the test part has {n - first} values, fewer than the horizon {horizon}")
    if calibration >= first:
        raise ValueError(f"--calibration {calibration} leaves nothing of the {first} values for training")
    spans = [(first - calibration, first), (first, n)]
    starts = np.concatenate([np.arange(low, high, refit or n) for low, high in spans])
    origins = np.arange(first - calibration, n)
    return Rolling(y, first, origins, starts, np.searchsorted(starts, origins, side="right") - 1, horizon)


def fit_transforms(rolling: Rolling, transform: Transform, on_all: bool = False) -> list[Fitted]:
    """The transform as each fit knows it; `on_all` fits it on the whole series, test part included."""
    return [transform(rolling.y if on_all else rolling.y[:start]) for start in rolling.starts]


def scale(columns: np.ndarray, names: Sequence[str], training: np.ndarray) -> np.ndarray:
    """Further columns [n, K], each less its mean over `training` [m, K] and divided by its standard deviation there.

    Raises:
      ValueError: a column that is constant there.
    """
    scaled = np.empty_like(columns)
    for k, name in enumerate(names):
        try:
            scaled[:, k] = standard(training[:, k]).forward(columns[:, k])
        except ValueError as error:
            raise ValueError(f"--exogenous {name}: {error}") from None
    return scaled


def roll(rolling: Rolling, method: Method) -> np.ndarray:
    """[O, horizon]."""
    pairs = zip(rolling.fit_of, rolling.origins, strict=True)
    return np.stack([method.forecast(fit, origin, rolling.horizon) for fit, origin in pairs])


# --- methods without a network ----------------------------------------------------------------------------------------


def baselines(rolling: Rolling, period: int, autoregressions: Sequence[tuple[int, str]]) -> list[Method]:
    """Persistence, seasonal naive where there is a period, and autoregressions (number of lags, transforms).

    Raises:
      ValueError: a training part too short for one of them, or unknown transforms.
    """
    y, shortest = rolling.y, int(rolling.starts.min())
    if period >= shortest:
        raise ValueError(f"a period of {period} needs a longer training part than {shortest} values")
    methods = [Method("persistence", lambda fit, o, horizon: simple.persistence(y[:o], horizon), 0, 1)]
    if period > 1:
        forecast = lambda fit, o, horizon: simple.seasonal_naive(y[:o], horizon, period)
        methods.append(Method("seasonal naive", forecast, 0, period))
    return methods + [autoregression(rolling, lags, text, period) for lags, text in autoregressions]


def autoregression(rolling: Rolling, lags: int, text: str, period: int) -> Method:
    fitted = fit_transforms(rolling, make_transform(text, period))
    forward = [one.forward(rolling.y) for one in fitted]
    known = [z[: start - one.lost] for one, z, start in zip(fitted, forward, rolling.starts, strict=True)]
    models = [simple.fit_autoregression(z, lags) for z in known]

    def forecast(fit: int, o: int, horizon: int) -> np.ndarray:
        one = fitted[fit]
        return one.inverse(simple.autoregress(models[fit], forward[fit][: o - one.lost], horizon), rolling.y[:o])

    shape = [name for name in text.split(",") if name not in SCALINGS]  # a straight line does not feel the scale
    name = ", ".join([f"autoregression, {lags} lag{'s' if lags > 1 else ''}", *shape])
    return Method(name, forecast, lags + 1, fitted[0].lost + lags)


# --- networks ---------------------------------------------------------------------------------------------------------


def network_forecasts(
    rolling: Rolling,
    fitted: Sequence[Fitted],
    forecaster: Forecaster,
    lags: int,
    num_seeds: int,
    console: Console,
    title: str,
    leave_out: int = 0,
    exogenous: Sequence[np.ndarray] = (),
) -> tuple[NetworkForecasts, Trained]:
    """Train all seeds at all starts side by side, and forecast.

    Args:
      fitted: the transform of each fit.
      leave_out: values at the end of each training part that are no target.
      exogenous: further columns [n, K] as each fit has scaled them.
    """
    y, n = rolling.y, len(rolling.y)
    memory = fitted[0].lost + lags
    num_known = [start - leave_out - fitted[0].lost for start in rolling.starts]
    pairs = make_pairs(
        [one.forward(y) for one in fitted], lags, num_known, [columns[fitted[0].lost :] for columns in exogenous]
    )
    trained = forecaster.train(pairs, num_seeds, console, title)

    def forecast(fits: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
        """By fits [F] from origins [F, K]: [seeds, F, K, horizon]."""
        params = jax.tree.map(lambda leaf: leaf[fits], trained.params)
        z = forecaster.forecast(params, pairs.xs[fits], np.minimum(origins, n) - memory, horizon)
        return np.moveaxis(z, 1, 0)

    def inverse(fit: int, z: np.ndarray, origin: int) -> np.ndarray:
        return fitted[fit].inverse(z, y[:origin])

    fits = np.arange(len(rolling.starts))
    width = np.bincount(rolling.fit_of).max()
    z = forecast(fits, rolling.starts[:, None] + np.arange(width), rolling.horizon)
    rolled = [
        inverse(fit, z[:, fit, origin - rolling.starts[fit]], int(origin))
        for fit, origin in zip(rolling.fit_of, rolling.origins, strict=True)
    ]
    fit, first = rolling.first_fit, rolling.first
    at = np.array([fit])
    free = forecast(at, np.array([[first]]), n - first)[:, 0, 0]
    inside = np.arange(memory + forecaster.warm_up, first)
    one_step = forecast(at, inside[None], 1)[:, 0]
    training = [inverse(fit, one_step[:, i], int(origin)) for i, origin in enumerate(inside)]
    found = np.stack(rolled, axis=1), inverse(fit, free, first), np.concatenate(training, axis=1)
    return NetworkForecasts(*found), trained
