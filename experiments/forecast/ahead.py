"""What comes after the last value of a series: forecasts by networks fitted on all of it, with prediction intervals."""

import csv
import io
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from experiments.forecast import scores
from experiments.forecast.data import Series
from experiments.forecast.outcome import COVERAGE, on_scale
from experiments.forecast.plots import TITLE, date_axis
from experiments.forecast.rolling import NetworkForecasts, Rolling
from experiments.forecast.saved_model import Model, save, save_errors
from experiments.forecast.settings import Settings
from experiments.shared.numbers import figure
from rnnjax.data.dated_series import shown
from rnnjax.files import write_whole

BEFORE = 48  # values of the series shown before
ENDING = "-ahead.png"  # of the plot's name


class Ahead(NamedTuple):
    """Of N steps."""

    steps: np.ndarray  # [N], numbers of the values, where the first one of the series has 1
    dates: np.ndarray | None  # [N], datetime64[s]
    values: np.ndarray  # [N], the mean of all networks
    low: np.ndarray  # [N], ends of the interval; NaN where too few errors are known for one
    high: np.ndarray

    def labels(self) -> list[str]:
        """Dates where there are dates, else numbers of the values."""
        return [str(step) for step in self.steps] if self.dates is None else [shown(date) for date in self.dates]


def fit_all(
    series: Series,
    settings: Settings,
    rolling: Rolling,
    networks: NetworkForecasts,
    console: Console,
    folder: Path | None = None,
) -> Model:
    """Networks fitted once more, on all values; kept where there is a folder.

    Their intervals are to be made of the errors that the rolling forecasts made, whose networks knew less.

    Raises:
      ValueError: the folder holds another model.
    """
    to, _ = on_scale(settings.transforms)
    errors = to(networks.rolled.mean(axis=0)) - to(rolling.targets)
    model = Model(settings, series, errors, to(networks.rolled).std(axis=0), None)
    config = None
    if folder is not None:
        config = save(folder, settings, series)
        save_errors(folder, model)
    trained = model.forecaster.train(
        model.pairs(series), settings.seeds, console, "on all values", folder=folder, config=config
    )
    return model._replace(params=trained.params)


def look_ahead(model: Model, series: Series, count: int) -> Ahead:
    """What comes after the series that a model was fitted on, or another; see `scores.conformal_widths`."""
    each = model.forecast(series, count)
    values = each.mean(axis=0)
    to, back = on_scale(model.settings.transforms)
    errors = np.concatenate([model.errors[:, :count], np.full((1, count), np.nan)])
    spread = np.concatenate([model.spread[:, :count], to(each).std(axis=0)[None]])
    halves = scores.conformal_widths(errors, spread, COVERAGE)[-1]
    steps = len(series.y) + 1 + np.arange(count)
    return Ahead(steps, series.dates_ahead(count), values, back(to(values) - halves), back(to(values) + halves))


def show(console: Console, ahead: Ahead) -> None:
    """A line a step."""
    console.print(f"what comes next, with its {COVERAGE:.0%} interval:", markup=False)
    for label, value, low, high in zip(ahead.labels(), ahead.values, ahead.low, ahead.high, strict=True):
        interval = "too few errors known for one" if np.isnan(low) else f"{figure(low)} to {figure(high)}"
        console.print(f"  {label}  {figure(value)}  ({interval})", markup=False)


def write(path: Path, ahead: Ahead) -> None:
    """A CSV of date or step, forecast, low and high, the ends of the interval empty where there is none."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["step" if ahead.dates is None else "date", "forecast", "low", "high"])
    for label, *values in zip(ahead.labels(), ahead.values, ahead.low, ahead.high, strict=True):
        rows.writerow([label, *("" if np.isnan(value) else f"{value:.10g}" for value in values)])
    write_whole(path, text.getvalue())


def draw(path: Path, series: Series, ahead: Ahead) -> None:
    """The last values and what comes next, over their dates where there are dates."""
    plot = Figure(figsize=(9, 4.5), layout="constrained")
    axis = plot.subplots()
    dated = ahead.dates is not None
    known = series.dates[-BEFORE:] if dated else (np.arange(len(series.y)) + 1)[-BEFORE:]
    coming = ahead.dates if dated else ahead.steps
    axis.plot(known, series.y[-BEFORE:], color="black", linewidth=1.2, label="the series")
    (line,) = axis.plot(coming, ahead.values, linewidth=1.4, marker=".", label="what comes next")
    text = f"{COVERAGE:.0%} interval, split conformal"
    axis.fill_between(coming, ahead.low, ahead.high, color=line.get_color(), alpha=0.2, linewidth=0, label=text)
    if dated:
        date_axis(axis)
    else:
        axis.set_xlabel("number of the value")
    axis.set_ylabel(series.unit)
    axis.set_title(textwrap.fill(f"{series.name}: the next {len(coming)} steps", TITLE), fontsize=11)
    axis.grid(color="0.92", linewidth=0.7)
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom, top + 0.2 * (top - bottom))  # the legend stands above
    axis.legend(frameon=False, fontsize=8, loc="upper left", ncols=3)
    plot.savefig(path, dpi=144)
