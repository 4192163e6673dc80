"""Norm of the gradient by lag."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.shared.looks import style
from experiments.shared.numbers import horizon_text
from experiments.sweep.plots.panels import (
    FAINT,
    NORMS,
    THIN,
    at_longest_lag,
    bands_of,
    make_figure,
    plain_text,
    seeds_text,
    set_title,
)
from experiments.sweep.tables.table import best_rows, summary

LOWEST_LOG10 = -32  # a gradient norm below 1e-30 is no longer counted in gradient_horizon


def gradient_norm_by_lag(runs: pd.DataFrame, curves: pd.DataFrame, title="") -> Figure | None:
    """log10 of the gradient norm by lag at each task's longest lag: at initialisation solid, after training dashed."""
    rows = best_rows(runs)
    rows = at_longest_lag(rows)
    bands = {quantity: band for quantity in NORMS if not (band := bands_of(rows, curves, quantity)).empty}
    if not bands:
        return None
    cells = summary(rows).set_index(["task", "variant"])
    drawn = style(best_rows(runs)["variant"].unique())
    tasks = rows["task"].unique()
    rows_of_legend = max(rows.groupby("task")["variant"].nunique())
    height = max(3.0, 0.19 * rows_of_legend + 0.9)
    figure = make_figure(4.0 * len(bands) + 3.6, height * len(tasks), {})
    set_title(figure, title, "gradient norm by lag", "median and range over seeds", rows)
    axes = figure.subplots(len(tasks), len(bands), squeeze=False, sharey="row")
    for line, task in zip(axes, tasks, strict=True):
        here = rows[rows["task"] == task]
        for axis, (quantity, band) in zip(line, bands.items(), strict=True):
            axis.set_title(
                f"{task}, T = {here['seq_len'].iloc[0]}, {NORMS[quantity]}  ({seeds_text(here)})", fontsize=10
            )
            solid = quantity == "log10_gradient_norm"
            _norms(axis, band[band["task"] == task], drawn, "-" if solid else (0, (3, 1)))
        lowest = min(axis.dataLim.y0 for axis in line)
        if lowest < LOWEST_LOG10:
            line[0].set_ylim(LOWEST_LOG10, max(axis.dataLim.y1 for axis in line) + 1)
        _horizons(line[-1], cells.loc[task], here, drawn, trained="log10_gradient_norm_trained" in bands)
    figure.supxlabel("lag k = T - t  (steps back from the end)", fontsize=10)
    figure.supylabel("log10 of the gradient norm", fontsize=10)
    return figure


def _norms(axis, band: pd.DataFrame, drawn, line) -> None:
    for i, (name, values) in enumerate(band.groupby("variant", sort=False)):
        every = max(1, len(values) // 5)
        look = {**drawn[name], "linestyle": line, "markevery": (i * every // len(drawn), every)}
        axis.plot(values["index"], values["middle"], **look, **THIN)
        low = values["low"].clip(lower=LOWEST_LOG10)
        axis.fill_between(values["index"], low, values["high"], color=look["color"], **FAINT)
    axis.grid(color="0.92", linewidth=0.7)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _horizons(axis, cells: pd.DataFrame, rows: pd.DataFrame, drawn, trained: bool) -> None:
    """The legend beside the panels of a task, with each variant's gradient horizon."""
    seq_len = rows["seq_len"].iloc[0]
    names = [name for name in drawn if name in cells.index]
    handles = [Line2D([], [], **{**drawn[name], "linestyle": "-"}, **THIN) for name in names]
    labels = []
    for name in names:
        ends = [horizon_text(cells.loc[name, "gradient_horizon"], seq_len)]
        if trained:
            ends.append(horizon_text(cells.loc[name, "gradient_horizon_trained"], seq_len))
        labels.append(f"{plain_text(name)}:  {' → '.join(ends)}")
    title = "gradient horizon in steps" + (",\ninitial → trained" if trained else "")
    box = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02), "frameon": False, "borderaxespad": 0}
    axis.legend(handles, labels, title=title, fontsize=8, title_fontsize=8, alignment="left", handlelength=3, **box)
