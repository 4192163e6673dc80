"""Many variants at once: a row each, named at the left, the best at the top, and a value by colour."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

ROW, PANEL = 0.145, 2.5  # inches
NOTHING = "0.88"  # the grey of what was not measured
SMALL = {"fontsize": 6, "va": "center"}


class Panel(NamedTuple):
    """One heat map: values [variants, columns], NaN where there is none; infinities take the colour of the end."""

    title: str
    values: np.ndarray
    x: Sequence  # of each column: a number, or a text
    texts: Sequence[Sequence[str]] | None = None  # written into the cells
    notes: Sequence[str] | None = None  # written to the right of each row


def heat_maps(
    panels: Sequence[Panel], names: Sequence[str], norm: Normalize, x_label: str, label: str, extend: str = "neither"
) -> Figure:
    """The panels side by side, with one scale of colours; `label` says what it is."""
    width = 1.2 + 0.085 * max(map(len, names)) + PANEL * len(panels)
    figure = Figure(figsize=(max(width, 7.0), 1.9 + ROW * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    colours = colormaps["viridis"].with_extremes(bad=NOTHING)
    image = None
    for axis, panel in zip(axes, panels, strict=True):
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
        for row, texts in enumerate(panel.texts or ()):
            for column, text in enumerate(texts):
                colour = "white" if norm(shown[row, column]) < 0.6 else "black"
                axis.text(x[column], row, text, color=colour, ha="center", **SMALL)
        for row, note in enumerate(panel.notes or ()):
            axis.text(1.02, row, note, transform=axis.get_yaxis_transform(), **SMALL)
    axes[0].set_yticks(np.arange(len(names)), [name.replace("$", r"\$") for name in names], fontsize=7)
    axes[0].invert_yaxis()
    figure.colorbar(image, ax=axes, label=label, extend=extend, shrink=min(1.0, 6 / figure.get_figheight()), pad=0.02)
    return figure


def _edges(x: np.ndarray) -> np.ndarray:
    """Between the columns, and as far beyond the first and the last."""
    if len(x) == 1:
        return np.array([x[0] - 0.5, x[0] + 0.5])
    middles = (x[1:] + x[:-1]) / 2
    return np.concatenate([[2 * x[0] - middles[0]], middles, [2 * x[-1] - middles[-1]]])
