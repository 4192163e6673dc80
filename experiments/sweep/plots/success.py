"""Share of seeds that solve a task, by lag."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.shared.looks import CHANCE, style
from experiments.sweep.plots.panels import SMALL, add_legend, make_figure, plain_text, seeds_text, set_title
from experiments.sweep.tables.table import best_rows, summary


def success_by_lag(runs: pd.DataFrame, title="") -> Figure:
    """Share of seeds solved by lag with its 95 % Wilson interval; success_at_one_lag where no task has two lags."""
    rows, cells = best_rows(runs), summary(runs)
    if cells.groupby("task")["seq_len"].nunique().max() == 1:
        return success_at_one_lag(rows, cells, title)
    drawn = style(rows["variant"].unique())
    tasks = cells["task"].unique()
    width = max(5.6, 0.09 * len(drawn) * cells["seq_len"].nunique())
    figure = make_figure(width * len(tasks), 3.8, drawn)
    set_title(figure, title, "seeds solved by lag", "bars: 95 % Wilson intervals", rows)
    axes = figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
    for axis, task in zip(axes, tasks, strict=True):
        axis.set_title(f"{task}  ({seeds_text(rows[rows['task'] == task])})", fontsize=10)
        _points_by_lag(axis, cells[cells["task"] == task], drawn)
        _shares(axis)
    axes[0].set_ylabel("share of seeds solved")
    add_legend(figure, drawn)
    return figure


def success_at_one_lag(rows: pd.DataFrame, cells: pd.DataFrame, title="") -> Figure:
    """Share of seeds solved, and below it the mean test accuracy, variants side by side."""
    drawn = style(rows["variant"].unique())
    tasks = cells["task"].unique()
    figure = make_figure(max(4.4, 0.34 * len(drawn)) * len(tasks), 5.4, {})
    what = "seeds solved and test accuracy"
    set_title(figure, title, what, "bars: 95 % intervals (Wilson above, bootstrap below)", rows)
    axes = figure.subplots(2, len(tasks), squeeze=False, sharey=True, sharex=True)
    for (above, below), task in zip(axes.T, tasks, strict=True):
        here = cells[cells["task"] == task].set_index("variant")
        seeds = seeds_text(rows[rows["task"] == task])
        above.set_title(f"{task}, T = {here['seq_len'].iloc[0]}  ({seeds})", fontsize=10)
        below.axhline(here["chance_accuracy"].iloc[0], **CHANCE)
        below.text(len(drawn) - 0.45, here["chance_accuracy"].iloc[0], "chance", **SMALL)
        for x, (name, look) in enumerate(drawn.items()):
            if name not in here.index:
                continue
            cell = here.loc[name]
            _point(above, x, cell["solved"] / cell["n"], cell["solved_low"], cell["solved_high"], look)
            _point(below, x, *cell[["test_accuracy", "test_accuracy_low", "test_accuracy_high"]], look)
        _shares(above)
        _shares(below)
        below.set_xlim(-0.6, len(drawn) - 0.4)
        names = list(map(plain_text, drawn))
        below.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes[0, 0].set_ylabel("share of seeds solved")
    axes[1, 0].set_ylabel("mean test accuracy")
    return figure


def _point(axis, x, value, low, high, look) -> None:
    axis.plot([x], [value], **{**look, "linestyle": "none"}, markersize=7, zorder=3)
    if not math.isnan(low):
        axis.vlines(x, low, high, color=look["color"], linewidth=1.6, alpha=0.6)


def _shares(axis) -> None:
    axis.set_ylim(-0.06, 1.06)
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.grid(axis="y", color="0.92", linewidth=0.7)
    axis.set_axisbelow(True)


def _points_by_lag(axis, here: pd.DataFrame, drawn) -> None:
    """Lags side by side at equal distance, the variants of one lag beside each other within its band."""
    lags = sorted(here["seq_len"].unique())
    names = [name for name in drawn if name in set(here["variant"])]
    half = min(0.36, 0.04 * (len(names) - 1))
    offsets = np.linspace(-half, half, len(names))
    for i in range(0, len(lags), 2):
        axis.axvspan(i - 0.5, i + 0.5, color="0.965", linewidth=0, zorder=0)
    for name, offset in zip(names, offsets, strict=True):
        rows = here[here["variant"] == name].sort_values("seq_len")
        x = np.array([lags.index(lag) for lag in rows["seq_len"]]) + offset
        share = (rows["solved"] / rows["n"]).to_numpy(float)
        look = drawn[name]
        axis.vlines(x, rows["solved_low"], rows["solved_high"], color=look["color"], linewidth=1.1, alpha=0.45)
        axis.plot(x, share, **{**look, "linestyle": "none"}, markersize=5, zorder=3)
        axis.plot(x, share, color=look["color"], linestyle=look["linestyle"], linewidth=0.9, alpha=0.6)
    axis.set_xlim(-0.5, len(lags) - 0.5)
    axis.set_xticks(range(len(lags)), map(str, lags))
    axis.set_xlabel("lag T")
