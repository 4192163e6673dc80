"""Validation loss by training step."""

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from experiments.shared.looks import CHANCE, style
from experiments.sweep.plots.panels import (
    FAINT,
    LARGE,
    MOST_BANDS,
    THIN,
    add_legend,
    bands_of,
    make_figure,
    panels_of,
    seeds_text,
    set_title,
)
from experiments.sweep.tables.table import best_rows


def learning_curves(runs: pd.DataFrame, curves: pd.DataFrame, title="") -> Figure | None:
    """Validation loss by training step, a panel per task and lag. None if no such curve was stored."""
    rows = best_rows(runs)
    bands = bands_of(rows, curves, "validation_loss")
    if bands.empty:
        return None
    drawn = style(rows["variant"].unique())
    panels = panels_of(rows)
    height, width = panels.shape
    figure = make_figure(4.4 * width, 3.1 * height, drawn, extra=["chance"])
    filled = rows["variant"].nunique() <= MOST_BANDS
    how = "median and range over seeds" + ("" if filled else " (ranges of the last step, to the right)")
    set_title(figure, title, "validation loss while training", how, rows)
    axes = figure.subplots(height, width, squeeze=False)
    for axis, key in zip(axes.flat, panels.flat, strict=True):
        if key is None:
            axis.set_axis_off()
            continue
        here = rows[(rows["task"] == key[0]) & (rows["seq_len"] == key[1])]
        axis.set_title(f"{key[0]}, T = {key[1]}  ({seeds_text(here)})", fontsize=10)
        chance = here["chance_loss"].iloc[0]
        axis.axhline(chance, **CHANCE)
        panel = bands[(bands["task"] == key[0]) & (bands["seq_len"] == key[1])]
        _curves(axis, panel, drawn, filled)
        _loss_scale(axis, panel, chance)
        ticks = MaxNLocator(4, integer=True).tick_values(0, last := panel["index"].max())
        axis.set_xticks([tick for tick in ticks if 0 <= tick <= last])
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axis.grid(color="0.92", linewidth=0.7)
    for axis in axes[-1]:
        axis.set_xlabel("training step")
    figure.supylabel("validation loss", fontsize=10)
    add_legend(figure, drawn, extra={"chance": Line2D([], [], **CHANCE)})
    return figure


def _curves(axis, panel: pd.DataFrame, drawn, filled: bool) -> None:
    """Medians, with their range as a band; where bands would hide each other, as bars beside the last step."""
    last = panel["index"].max()
    for i, (name, band) in enumerate(panel.groupby("variant", sort=False)):
        color = drawn[name]["color"]
        every = max(1, len(band) // 6)
        marks = (i * every // len(drawn), every)
        axis.plot(band["index"], band["middle"], **drawn[name], **THIN, markevery=marks, zorder=3)
        if filled:
            axis.fill_between(band["index"], band["low"], band["high"].clip(upper=LARGE), color=color, **FAINT)
        else:
            end = band.iloc[-1]
            x = last * (1.03 + 0.2 * (i + 0.5) / len(drawn))
            axis.vlines(x, end["low"], min(end["high"], LARGE), color=color, linewidth=1.2, alpha=0.6)
            axis.plot([x], [end["middle"]], **{**drawn[name], "linestyle": "none"}, markersize=3)
    if not filled:
        axis.axvline(1.015 * last, color="0.8", linewidth=0.8)
    axis.set_xlim(-0.02 * last, last * (1.02 if filled else 1.25))


def _loss_scale(axis, panel: pd.DataFrame, chance: float) -> None:
    """Logarithmic where the losses span more than a decade; a run that explodes does not set the upper end."""
    middle = panel["middle"].dropna()
    if middle.empty:
        return
    low, high = panel["low"].min(), middle.max()
    if not math.isnan(chance):
        low, high = min(low, chance), min(max(high, 1.3 * chance), 10 * chance)
    if low > 0 and high > 10 * low:
        axis.set_yscale("log")
        axis.set_ylim(low / 1.5, high * 1.5)
    elif high > low:
        axis.set_ylim(min(0, low), 1.08 * high)
