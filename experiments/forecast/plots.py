"""The plot of experiments.forecast: one step ahead with an interval, and free running from the split on."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from experiments.shared.looks import style

BEFORE = 24  # values of the training part shown before the split
TITLE = 90  # characters of a line that fit above a plot


def date_axis(axis: Axes) -> None:
    """Dates below an axis, each said as shortly as its neighbours allow."""
    locator = AutoDateLocator()
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def plot(
    path: Path,
    title: str,
    unit: str,
    y: np.ndarray,
    first: int,
    one_step: np.ndarray,
    interval: tuple[np.ndarray, np.ndarray],
    free: Mapping[str, np.ndarray],
    interval_text: str,
    truth: np.ndarray | None = None,
    dates: np.ndarray | None = None,
) -> Figure:
    """Two panels, one above the other, written to the path.

    Args:
      y: the series [n], of which the first `first` values are the training part.
      one_step: forecasts of y[first:] one step ahead.
      interval: its lower and upper ends, NaN where there is none.
      free: by name, forecasts of y[first:] from the split alone.
      interval_text: what the interval is.
      truth: y without noise.
      dates: of y, datetime64 [n]; None where it has none, and values are numbered from 1.
    """
    figure = Figure(figsize=(9, 7), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    time = np.arange(1, 1 + len(y)) if dates is None else dates
    tests, shown = time[first:], slice(max(first - BEFORE, 0), None)
    split = time[first - 1] + (time[first] - time[first - 1]) / 2
    for axis in (above, below):
        axis.plot(time[shown], y[shown], color="black", linewidth=1.2, label="the series")
        axis.axvline(split, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_ylabel(unit)
        axis.grid(color="0.92", linewidth=0.7)
    looks = style(free)
    color = next(iter(looks.values()))["color"]
    above.plot(tests, one_step, color=color, linewidth=1.4, label="forecast")
    above.fill_between(tests, *interval, color=color, alpha=0.2, linewidth=0, label=interval_text)
    figure.suptitle(textwrap.fill(title, TITLE), fontsize=12)
    above.set_title("one step ahead", fontsize=11)
    if truth is not None:
        for axis in (above, below):
            axis.plot(tests, truth[first:], color="0.5", linewidth=1.4, linestyle="--", label="without noise")
    for name, values in free.items():
        below.plot(tests, values, color=looks[name]["color"], linestyle=looks[name]["linestyle"], label=name)
    low, high = min(y[shown]), max(y[shown])
    above.set_ylim(low - 0.2 * (high - low), high + 0.4 * (high - low))  # the legend stands above
    below.set_ylim(low - 0.3 * (high - low), high + 0.6 * (high - low))  # whatever a forecast runs away to
    below.set_title("free running, all of it from the values before the dotted line", fontsize=11)
    if dates is None:
        below.set_xlabel("number of the value")
    else:
        date_axis(below)
    for axis in (above, below):
        axis.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    figure.savefig(path, dpi=144)
    return figure
