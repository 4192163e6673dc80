"""Many variants at once: a row each, named at the left, the best at the top, and a value by colour.

In every map, as in the start map, what is bright is good: much solved, little loss left, a gradient that lasts.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

PANEL = 2.5  # inches
MANY = 40  # rows; panels of more stand side by side, else in lines of at most MOST_PANELS
MOST_PANELS = 4
NOTHING = "0.88"  # the grey of what was not measured
NOT_RUN = "not run"


class Panel(NamedTuple):
    """One heat map: values [variants, columns], NaN where there is none; infinities take the colour of the end."""

    title: str
    values: np.ndarray
    x: Sequence  # of each column: a number, or a text
    texts: Sequence[Sequence[str]] | None = None  # written into the cells
    notes: Sequence[str] | None = None  # written to the right of each row


def heat_maps(
    panels: Sequence[Panel],
    names: Sequence[str],
    norm: Normalize,
    x_label: str,
    label: str,
    extend: str = "neither",
    low_is_good: bool = False,
) -> Figure:
    """The panels side by side, with one scale of colours; `label` says what it is. What was not run says so."""
    num_lines = 1 if len(names) > MANY else math.ceil(len(panels) / MOST_PANELS)
    num_panels = math.ceil(len(panels) / num_lines)
    row, small = (0.145, 6) if len(names) > MANY else (0.2, 7)
    text = {"fontsize": small, "va": "center"}
    width = 1.2 + 0.016 * (small + 1) * max(map(len, names)) / 1.3 + PANEL * num_panels
    height = 1.1 + (0.9 + row * len(names)) * num_lines
    figure = Figure(figsize=(max(width, 7.0), max(height, 3.6)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_lines, num_panels, squeeze=False, sharey=True)
    colours = colormaps["viridis_r" if low_is_good else "viridis"].with_extremes(bad=NOTHING)
    image = None
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        named = any(isinstance(x, str) for x in panel.x)
        x = np.arange(len(panel.x), dtype=float) if named else np.asarray(panel.x, float)
        shown = np.clip(panel.values, norm.vmin, norm.vmax)
        image = axis.pcolormesh(_edges(x), np.arange(len(names) + 1) - 0.5, shown, norm=norm, cmap=colours)
        if named:
            axis.set_xticks(x, panel.x, fontsize=8)
        else:
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        axis.set_title(panel.title, fontsize=9)
        axis.set_xlabel(x_label, fontsize=9)
        for place, texts in enumerate(panel.texts or ()):
            for column, words in enumerate(texts):
                dark = (norm(shown[place, column]) < 0.6) != low_is_good
                colour = "0.4" if np.isnan(shown[place, column]) else "white" if dark else "black"
                axis.text(x[column], place, words, color=colour, ha="center", **text)
        for place, note in enumerate(panel.notes or ()):
            axis.text(1.02, place, note, transform=axis.get_yaxis_transform(), **text)
        for place in np.flatnonzero(np.isnan(shown).all(axis=1)).tolist() if panel.texts is None else ():
            axis.text(0.5, place, NOT_RUN, transform=axis.get_yaxis_transform(), color="0.4", ha="center", **text)
    labels = [name.replace("$", r"\$") for name in names]
    axes[0, 0].set_yticks(np.arange(len(names)), labels)  # all panels share them
    for axis in axes[:, 0]:
        axis.tick_params(axis="y", labelsize=small + 1)
    axes[0, 0].invert_yaxis()
    bar = figure.colorbar(image, ax=axes, extend=extend, shrink=min(1.0, 5 / figure.get_figheight()), pad=0.02)
    bar.set_label(label, fontsize=9)
    if low_is_good:
        bar.ax.invert_yaxis()  # what is good is at the top of every scale
    return figure


def _edges(x: np.ndarray) -> np.ndarray:
    """Between the columns, and as far beyond the first and the last."""
    if len(x) == 1:
        return np.array([x[0] - 0.5, x[0] + 0.5])
    middles = (x[1:] + x[:-1]) / 2
    return np.concatenate([[2 * x[0] - middles[0]], middles, [2 * x[-1] - middles[-1]]])
