"""What is seen of Newton's method: iterations against exponents, and time against that of a scan."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from experiments.newton.records import AFTER, BEFORE, SIZES
from experiments.shared.looks import COLORS, style

ITERATIONS_PLOT, TIMES_PLOT = "iterations.png", "times.png"
NAMED = ("elman", "irnn", "gru", "lstm", "indrnn", "exprnn", "cornn", "lem", "mut1", "rhn", "urnn", "para_gru", "slstm")
LEAST_EXPONENT = -1.0  # what lies below, -inf too, is drawn here
TITLES = {"seq_len": "steps T", "batch_size": "sequences B", "hidden_size": "units H"}


def plot_iterations(
    cells: pd.DataFrame, correlations: Mapping[str, tuple[float, float, float, int]], most: int, path: Path
) -> None:
    """A panel for each time, a dot for each cell."""
    times = [at for at in (BEFORE, AFTER) if at in set(cells["at"])]
    figure = Figure(figsize=(5.6 * len(times), 4.9), layout="constrained")
    for axis, at in zip(figure.subplots(1, len(times), sharey=True, squeeze=False)[0], times, strict=True):
        some = cells[(cells["at"] == at) & cells["exponent"].notna()]
        draw(axis, some.assign(exponent=some["exponent"].clip(lower=LEAST_EXPONENT)), most)
        title = at.capitalize()
        if at in correlations:
            value, low, high, count = correlations[at]
            title += f": rank correlation {value:.2f} [{low:.2f}, {high:.2f}], {count} cells"
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(f"largest Lyapunov exponent, per step (at the left edge {LEAST_EXPONENT:g} and below)")
    figure.axes[0].set_ylabel("iterations of Newton's method")
    dot: dict[str, Any] = {"linestyle": "none", "markersize": 6}
    handles = [
        Line2D([], [], marker="o", color=COLORS[0], label="nonlinear cell", **dot),
        Line2D([], [], marker="^", color=COLORS[3], label="no trajectory found with every seed", **dot),
        Line2D([], [], marker="o", color="0.6", markerfacecolor="white", label="linear in its carry", **dot),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, dpi=144)


def draw(axis: Axes, cells: pd.DataFrame, most: int) -> None:
    lost = (cells["converged"] < cells["seeds"]) & ~cells["linear"]
    kinds: dict[str, tuple[pd.Series, dict[str, Any]]] = {
        "linear": (cells["linear"], {"marker": "o", "facecolor": "white", "edgecolor": "0.6"}),
        "found": (~cells["linear"] & ~lost, {"marker": "o", "facecolor": COLORS[0], "edgecolor": "none", "alpha": 0.8}),
        "lost": (lost, {"marker": "^", "facecolor": COLORS[3], "edgecolor": "none", "alpha": 0.9}),
    }
    for which, look in kinds.values():
        axis.scatter(cells.loc[which, "exponent"], cells.loc[which, "iterations"], s=30, **look)
    for _, one in cells[cells["cell"].isin(NAMED)].iterrows():
        axis.annotate(
            one["cell"], (one["exponent"], one["iterations"]), (4, 3), textcoords="offset points", fontsize=7.5
        )
    axis.axvline(0, color="0.7", linewidth=1)
    axis.axhline(most, color="0.7", linewidth=1, linestyle=":")
    axis.set_yscale("log")
    axis.set_ylim(0.8, 1.4 * most)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.set_yticks([n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= most])
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(color="0.93", linewidth=0.7)
    axis.set_axisbelow(True)


def plot_times(times: pd.DataFrame, path: Path) -> None:
    """A panel for each size: how many times as long as a scan, the other sizes being those that most rows have."""
    base = {name: times[name].mode().iloc[0] for name in SIZES}
    looks = style(times["cell"].unique())
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(SIZES), sharey=True), SIZES, strict=True):
        others = [other for other in SIZES if other != name]
        here = times[np.logical_and.reduce([times[other] == base[other] for other in others])]
        for (cell, mode), some in here.groupby(["cell", "mode"], sort=False):
            look = looks[cell] | {"linestyle": "-" if mode == "forward" else (0, (3, 1.5)), "markersize": 4.5}
            some = some.sort_values(name)
            axis.fill_between(some[name], some["ratio_low"], some["ratio_high"], color=look["color"], alpha=0.12)
            axis.plot(some[name], some["ratio"], **look)
        axis.axhline(1, color="0.3", linewidth=1)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            one.set_minor_formatter(NullFormatter())
        axis.set_xticks(sorted(here[name].unique()))
        letters = dict(zip(SIZES, "TBH", strict=True))
        axis.set_title(", ".join(f"{letters[other]} = {base[other]:,}" for other in others), fontsize=9)
        axis.set_xlabel(TITLES[name])
        axis.grid(color="0.93", linewidth=0.7)
    figure.axes[0].set_ylabel("times as long as a scan (below 1: Newton wins)")
    handles = [Line2D([], [], label=cell, **(look | {"linestyle": "-"})) for cell, look in looks.items()]
    handles += [
        Line2D([], [], color="0.3", label="forward"),
        Line2D([], [], color="0.3", linestyle="--", label="training"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
    figure.savefig(path, dpi=144)
