"""Share solved by the biases a network starts from: the map, and what it shows in a sentence."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from rich.console import Console

from experiments.shared.numbers import wilson
from experiments.start_map import GRU, LSTM, NFG
from experiments.start_map.options import Options
from experiments.sweep.reaches import read_reach
from experiments.sweep.tables.table import KEYS, best_rows, outcomes, read_runs

NEEDED = [*KEYS, "cell", "cell_options", "seed", "solved", "validation_loss", "gradient_horizon"]
PLOT = "start_map.png"
CHRONO = "chrono"
SHUT = -4.0  # input biases from here down start the gate shut: sigmoid(-4) = 0.018
LEFT = 1e-3  # a horizon counts as long if as much of the gradient is left at the lag, as in `gradient_reach`
WHOLE = 0.9  # a reach of this share of the lag counts as all of it
OUTLINES = {
    "horizon": ("white", "gradient horizon: a thousandth is left at the lag", 0.06),
    "reach": ("red", f"reach of at least {WHOLE:g} of the lag", 0.13),
}


class Map(NamedTuple):
    """One cell's starts: where each stands, by the biases on its axes."""

    title: str
    cell: str
    columns: str  # option of the horizontal axis
    rows: str | None = None  # option of the vertical axis, if there are two


MAPS = (
    Map("LSTM", LSTM, "input_bias", "forget_bias"),
    Map("GRU", GRU, "update_bias"),
    Map("no forget gate (NFG)", NFG, "input_bias"),
)


def starts(runs: pd.DataFrame, reach: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row per task, lag and start of the maps: the options, solved of n at the chosen rate, horizon and reach.

    Raises:
      ValueError: no run of these cells, or options that are no mapping of texts.
    """
    rows = best_rows(runs[runs["cell"].isin([one.cell for one in MAPS])])
    if rows.empty:
        raise ValueError(f"no run of {', '.join(one.cell for one in MAPS)}: is this a folder of the start_map sweep?")
    rows = rows.assign(solved=outcomes(rows, "solved"))
    groups = rows.groupby([*KEYS, "cell", "cell_options"], sort=False)
    found = groups.agg(
        solved=("solved", "sum"), n=("solved", "size"), horizon=("gradient_horizon", "median")
    ).reset_index()
    options = [_options(text) for text in found["cell_options"]]
    for name in {one.columns for one in MAPS} | {one.rows for one in MAPS if one.rows}:
        found[name] = [one.get(name) for one in options]
    median = pd.Series(np.nan, found.index)
    if reach is not None:
        by_start = reach.groupby(KEYS)["reach"].median()
        median = pd.Series(by_start.reindex(pd.MultiIndex.from_frame(found[KEYS])).to_numpy(), found.index)
    return found.assign(reach=median)


def _options(text: str) -> dict[str, str]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"cell_options {text!r} is not a mapping of options")
    return {str(key): str(value) for key, value in found.items()}


def is_long(found: pd.DataFrame) -> pd.Series:
    """Where the gradient horizon h leaves a thousandth of the gradient at the lag T: exp(-T / h) >= 1e-3."""
    return found["horizon"] >= found["seq_len"] / -math.log(LEFT)


def order(biases: Sequence[str]) -> list[str]:
    """Biases by their size, chrono last."""
    return sorted({bias for bias in biases if isinstance(bias, str)}, key=_size)


def _size(bias: str) -> float:
    return math.inf if bias == CHRONO else abs(float(bias))


def sentence(found: pd.DataFrame) -> str:
    """What the map of the LSTM shows, task by task: starts with a long horizon, by the input gate and by reach."""
    parts = []
    long = found[(found["cell"] == LSTM) & is_long(found)]
    for task, rows in long.groupby("task", sort=False):
        shut = rows["input_bias"].map(lambda bias: bias == CHRONO or float(bias) <= SHUT)
        is_open = rows["input_bias"].map(lambda bias: bias != CHRONO and float(bias) == 0)
        groups = [("input gate shut", rows[shut]), ("input gate open", rows[is_open])]
        if rows["reach"].notna().any():
            groups += [("long reach", rows[rows["reach"] >= WHOLE]), ("short reach", rows[rows["reach"] < WHOLE])]
        text = ", ".join(f"{_share(some)} with {name}" for name, some in groups if len(some))
        text = f"{task} is solved by {text}"
        parts.append(text)
    if not parts:
        return "No LSTM starts with a gradient horizon that is long for its lag."
    return (
        "Of LSTMs that start with a gradient horizon long enough (a thousandth of the gradient left at the lag), "
        + "; ".join(parts)
        + "."
    )


def _share(rows: pd.DataFrame) -> str:
    """'92 % (66 of 72 runs; 83 to 96 %)', the interval Wilson's."""
    solved, n = int(rows["solved"].sum()), int(rows["n"].sum())
    low, high = wilson(solved, n)
    return f"{100 * solved / n:.0f} % ({solved} of {n} runs; {100 * low:.0f} to {100 * high:.0f} %)"


def start_maps(found: pd.DataFrame) -> Figure:
    """Heat maps of the share solved, a column per lag, for each task a row per cell; outlined where gradients last."""
    drawn = [(task, one) for task in found["task"].unique() for one in MAPS if _has(found, task, one)]
    lags = sorted(found["seq_len"].unique())
    heights = [len(order(found.loc[found["cell"] == one.cell, one.rows])) if one.rows else 1 for _, one in drawn]
    heights = [0.3 * height + 0.75 for height in heights]
    figure = Figure(figsize=(1.7 + 2.9 * len(lags), 1.1 + sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(drawn), len(lags), squeeze=False, height_ratios=heights)
    image = None
    for (task, one), axes in zip(drawn, grid, strict=True):
        of_cell = found[found["cell"] == one.cell]
        names, across = order(of_cell[one.columns]), order(of_cell[one.rows]) if one.rows else [""]
        for lag, axis in zip(lags, axes, strict=True):
            rows = of_cell[(of_cell["task"] == task) & (of_cell["seq_len"] == lag)]
            image = _panel(axis, rows, one, names, across, f"{one.title}, {task}, T = {lag}")
    figure.colorbar(image, ax=grid, label="share of seeds that solve the task", shrink=min(1.0, 4 / sum(heights)))
    lines = [Line2D([], [], color=colour, linewidth=2, label=label) for colour, label, _ in OUTLINES.values()]
    if found["reach"].isna().all():
        lines = lines[:1]
    figure.legend(handles=lines, loc="outside lower center", ncols=min(2, len(lags)), fontsize=8, facecolor="0.6")
    return figure


def _has(found: pd.DataFrame, task: str, one: Map) -> bool:
    return bool(((found["task"] == task) & (found["cell"] == one.cell)).any())


def _panel(
    axis: Axes, rows: pd.DataFrame, one: Map, names: Sequence[str], across: Sequence[str], title: str
) -> AxesImage:
    """One heat map of the biases `names` by `across`, with solved/n written in; grey where a start was not run."""
    share, long = np.full((len(across), len(names)), np.nan), is_long(rows)
    spans = {name: np.zeros(share.shape, bool) for name in OUTLINES}
    colours = colormaps["viridis"].with_extremes(bad="0.88")
    for row in rows.itertuples():
        place = across.index(getattr(row, one.rows) if one.rows else ""), names.index(getattr(row, one.columns))
        share[place] = row.solved / row.n
        spans["horizon"][place] = long[row.Index]
        spans["reach"][place] = row.reach >= WHOLE
        colour = "white" if share[place] < 0.6 else "black"
        axis.text(place[1], place[0], f"{int(row.solved)}/{row.n}", ha="center", va="center", fontsize=6, color=colour)
    image = axis.imshow(share, cmap=colours, vmin=0, vmax=1, origin="lower", aspect="auto")
    for name, (colour, _, inset) in OUTLINES.items():
        axis.add_collection(LineCollection(_outline(spans[name], inset), colors=colour, linewidths=1.6))
    axis.set_xticks(range(len(names)), names, fontsize=7)
    axis.set_yticks(range(len(across)) if one.rows else [], across if one.rows else [], fontsize=7)
    axis.set_xlabel(one.columns.replace("_", " "), fontsize=8)
    axis.set_ylabel(one.rows.replace("_", " ") if one.rows else "", fontsize=8)
    axis.set_title(title if len(rows) else f"{title}: not run", fontsize=8)
    return image


def _outline(inside: np.ndarray, inset: float) -> list[list[tuple[float, float]]]:
    """The border of the cells that are true, drawn a little within them: segments of (x, y)."""
    padded = np.pad(inside, 1)
    half, segments = 0.5 - inset, []
    for y, x in np.argwhere(inside):
        free = {(dy, dx): not padded[1 + y + dy, 1 + x + dx] for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))}
        for dy, dx in (side for side, is_free in free.items() if is_free):
            # along the side, as far as the next side of this cell if that is drawn too, else to the neighbour
            ends = [(half if free[dx * sign, dy * sign] else 0.5) * sign for sign in (-1, 1)]
            segments.append([(x + dx * half + dy * end, y + dy * half + dx * end) for end in ends])
    return segments


def write_start_map(folder) -> tuple[Path, str]:
    """Draw the map of a results folder; the path of the picture, and the sentence that stands above it."""
    folder = Path(folder)
    found = starts(read_runs(folder, NEEDED), read_reach(folder))
    figure = start_maps(found)
    figure.savefig(folder / PLOT, dpi=144)
    return folder / PLOT, sentence(found)


def run(console: Console, options: Options) -> None:
    """Draw the map, and say the sentence."""
    path, text = write_start_map(options.folder)
    console.print(text, markup=False)
    console.print(f"{path}", markup=False)
