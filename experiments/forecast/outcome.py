"""One run of experiments.forecast, measured: every method by itself, differences, prediction intervals."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.forecast import scores
from experiments.forecast.data import Series
from experiments.forecast.rolling import NetworkForecasts, Rolling
from experiments.forecast.settings import Settings

COVERAGE = 0.9  # of prediction intervals


class Forecasts(NamedTuple):
    """Of one method."""

    name: str
    seed: int
    test: np.ndarray  # [O, H], from the origins of the test part
    free: np.ndarray  # [n - first], from the split to the end
    training: np.ndarray  # [...], one step ahead up to the split, the last one of y[first - 1]
    num_params: int
    seconds: float


class Measured(NamedTuple):
    metric: str
    split: str
    value: float


class Difference(NamedTuple):
    """Of the network's RMSE to another's; below 0 the network is better."""

    other: str
    horizons: str
    value: float
    low: float  # of the 95 % interval, NaN where there are too few origins for one
    high: float

    @property
    def known(self) -> bool:
        return not math.isnan(self.low)

    @property
    def beats(self) -> bool:
        return self.high < 0

    @property
    def verdict(self) -> str:
        if not self.known:
            return f"too few origins to tell from {self.other}"
        if self.beats:
            return f"beats {self.other}"
        return f"is worse than {self.other}" if self.low > 0 else f"does not beat {self.other}, nor is it worse"


class Intervals(NamedTuple):
    """Prediction intervals over the test part."""

    low: np.ndarray  # [O, H]
    high: np.ndarray
    measured: list[Measured]


class Outcome(NamedTuple):
    preset: str
    series: Series
    settings: Settings
    rolling: Rolling
    mean: Forecasts  # of all networks
    each: list[Forecasts]
    others: list[Forecasts]  # without a network
    intervals: Intervals
    differences: list[Difference]

    def measured(self, forecasts: Forecasts) -> list[Measured]:
        return measure(self.series, self.settings, self.rolling, forecasts)


def make_outcome(
    preset: str,
    series: Series,
    settings: Settings,
    rolling: Rolling,
    networks: NetworkForecasts,
    each: list[Forecasts],
    others: list[Forecasts],
) -> Outcome:
    mean = Forecasts(
        f"mean of {len(each)} {each[0].name}",
        seed=0,
        test=np.mean([f.test for f in each], axis=0),
        free=np.mean([f.free for f in each], axis=0),
        training=np.mean([f.training for f in each], axis=0),
        num_params=sum(f.num_params for f in each),
        seconds=sum(f.seconds for f in each),
    )
    intervals = prediction_intervals(rolling, networks.rolled, settings.transforms)
    found = differences(rolling, mean, others)
    return Outcome(preset, series, settings, rolling, mean, each, others, intervals, found)


def horizons(longest: int) -> dict[str, int]:
    """What is averaged over: its name and the number of steps."""
    one = {"one step ahead": 1}
    return one if longest == 1 else one | {f"1 to {longest} steps ahead": longest}


def free_metric(rolling: Rolling) -> str:
    return f"RMSE, free running {len(rolling.y) - rolling.first} steps"


def measure(series: Series, settings: Settings, rolling: Rolling, forecasts: Forecasts) -> list[Measured]:
    """All measures of one method, those of the test part first."""
    y, first, targets = rolling.y, rolling.first, rolling.targets[rolling.test]
    scale = scores.mase_scale(y[:first], settings.period)
    found = []
    for text, upto in horizons(rolling.horizon).items():
        measures = scores.measures(forecasts.test[:, :upto], targets[:, :upto], scale)
        found += [Measured(f"{name}, {text}", "test", value) for name, value in measures.items()]
    inside = forecasts.training - y[first - len(forecasts.training) : first]
    one_step, last = forecasts.test[:, 0], y[first - 1 : -1]
    found += [
        Measured(free_metric(rolling), "test", scores.rmse(forecasts.free - y[first:])),
        Measured("correlation of forecast and last value", "test", correlation(one_step, last)),
        Measured("correlation of forecast and actual change", "test", correlation(one_step - last, y[first:] - last)),
        Measured("RMSE, one step ahead", "training", scores.rmse(inside)),
    ]
    if settings.published_pairs:
        outside = (one_step - y[first:])[1:-1]
        found.append(Measured("RMSE, one step ahead", "training, published pairs", scores.rmse(inside[:-1])))
        found.append(Measured("RMSE, one step ahead", "test, published pairs", scores.rmse(outside)))
    if series.truth is not None:
        for text, values in (("one step ahead", one_step), ("free running", forecasts.free)):
            value = scores.rmse(values - series.truth[first:])
            found.append(Measured(f"RMSE to the series without noise, {text}", "test", value))
    return found


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """NaN where one of them is constant."""
    return float(np.corrcoef(a, b)[0, 1]) if min(np.ptp(a), np.ptp(b)) > 1e-9 else math.nan


def differences(rolling: Rolling, ours: Forecasts, others: Sequence[Forecasts]) -> list[Difference]:
    targets = rolling.targets[rolling.test]
    return [
        Difference(
            other.name, text, *scores.rmse_difference((ours.test - targets)[:, :upto], (other.test - targets)[:, :upto])
        )
        for text, upto in horizons(rolling.horizon).items()
        for other in others
    ]


def on_scale(transforms: str) -> tuple[Callable, Callable]:
    """To the scale that errors and spreads are measured on, and back: logarithms where the transforms begin so."""
    return (np.log, np.exp) if transforms.startswith("log") else (np.asarray, np.asarray)


def prediction_intervals(rolling: Rolling, rolled: np.ndarray, transforms: str) -> Intervals:
    """Around the mean of the forecasts [seeds, O, H]; see `on_scale`."""
    to, back = on_scale(transforms)
    center, spread = to(rolled.mean(axis=0)), to(rolled).std(axis=0)
    errors = center - to(rolling.targets)
    halves = scores.conformal_widths(errors, spread, COVERAGE)
    test = rolling.test
    low, high = back(center - halves)[test], back(center + halves)[test]
    measured = []
    for text, upto in horizons(rolling.horizon).items():
        share, count = scores.measured_coverage(errors[test, :upto], halves[test, :upto])
        width = high[:, :upto] - low[:, :upto]
        mean = float(np.nanmean(width)) if np.isfinite(width).any() else math.nan
        measured.append(Measured(f"share within the {COVERAGE:.0%} interval, {text}", "test", share))
        measured.append(Measured(f"forecasts with a {COVERAGE:.0%} interval and a target, {text}", "test", count))
        measured.append(Measured(f"mean width of the {COVERAGE:.0%} interval, {text}", "test", mean))
    return Intervals(low, high, measured)
