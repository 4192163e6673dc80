"""What the plots of a sweep share: panels, titles, legends, bands."""

import math
import textwrap

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

MOST_BANDS = 5  # with more variants, bands over each other cannot be told apart
NORMS = {"log10_gradient_norm": "at initialisation", "log10_gradient_norm_trained": "after training"}


def bands_of(rows: pd.DataFrame, curves: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Median, lowest and highest over seeds by variant and index. Lost values are the worst: they are not skipped.

    A trial that stopped before others of its variant keeps its last value.
    """
    worst = np.inf if "loss" in quantity else -np.inf
    curves = curves[curves["quantity"] == quantity]
    names = rows[["trial_id", "task", "seq_len", "variant"]]
    joined = curves.assign(value=curves["value"].astype(float).fillna(worst)).merge(names, on="trial_id")
    order = {name: i for i, name in enumerate(rows["variant"].unique())}
    groups = _held(joined).groupby(["task", "seq_len", "variant", "index"])["value"]
    bands = groups.agg(middle="median", low="min", high="max").reset_index()
    bands["middle"] = bands["middle"].where(np.isfinite(bands["middle"]))  # the line ends where half the seeds are lost
    return bands.sort_values(["variant", "index"], key=lambda c: c.map(order) if c.name == "variant" else c)


def _held(curves: pd.DataFrame) -> pd.DataFrame:
    keys = ["task", "seq_len", "variant"]
    lengths = curves.groupby([*keys, "trial_id"]).size()
    if not (lengths.groupby(keys).nunique() > 1).any():
        return curves
    parts = []
    for _, part in curves.groupby(keys, sort=False):
        wide = part.pivot(index=[*keys, "trial_id"], columns="index", values="value").ffill(axis=1)
        parts.append(wide.melt(ignore_index=False, value_name="value").reset_index())
    return pd.concat(parts, ignore_index=True)


THIN = {"linewidth": 1.4, "markersize": 4.5, "markeredgewidth": 1.0}
SMALL = {"fontsize": 7, "color": "0.35", "ha": "right", "va": "bottom"}
FAINT = {"alpha": 0.15, "linewidth": 0}
LARGE = 1e30  # where a range that has no upper end is drawn to


def at_longest_lag(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at each task's longest lag, of those at which at least half of its variants were run."""
    counts = rows.groupby(["task", "seq_len"])["variant"].nunique()
    most = rows.groupby("task")["variant"].nunique()
    lags = {task: max(lag for (of, lag), count in counts.items() if of == task and 2 * count >= most[task])
            for task in most.index}  # fmt: skip
    return rows[rows["seq_len"] == rows["task"].map(lags)]


def panels_of(rows: pd.DataFrame) -> np.ndarray:
    """(task, lag) of each panel: tasks by lags, or one line of tasks where each has one lag."""
    lags = {task: sorted(rows.loc[rows["task"] == task, "seq_len"].unique()) for task in rows["task"].unique()}
    width = max(map(len, lags.values()))
    lines = [[(task, values[0]) for task, values in lags.items()]] if width == 1 else []
    lines = lines or [[(task, lag) for lag in values] + [None] * (width - len(values)) for task, values in lags.items()]
    panels = np.empty((len(lines), len(lines[0])), object)
    for i, line in enumerate(lines):
        panels[i, :] = [*line]
    return panels


def _columns(width: float, names) -> int:
    """Columns of a legend of that many inches."""
    longest = max((len(name) for name in names), default=1)
    return max(1, min(len(names), int(width / (0.62 + 0.071 * longest))))


def make_figure(width: float, height: float, drawn, extra=()) -> Figure:
    """A figure of that size in inches and room above and below it for the title and the legend."""
    names = [*drawn, *extra]
    width = max(width, 6.4)
    lines = math.ceil(len(names) / _columns(width, names)) if names else 0
    figure = Figure(figsize=(width, height + 0.7 + 0.2 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def add_legend(figure: Figure, drawn, extra=None) -> None:
    handles = {name: Line2D([], [], **look, **THIN) for name, look in drawn.items()} | (extra or {})
    columns = _columns(figure.get_figwidth(), list(handles))
    labels = list(map(plain_text, handles))
    box = {"loc": "outside lower center", "ncols": columns, "frameon": False}
    figure.legend(list(handles.values()), labels, fontsize=8, handlelength=3.2, labelspacing=0.3, **box)


def set_title(figure: Figure, title: str, what: str, how: str, rows: pd.DataFrame) -> None:
    first = f"{title}: {what}" if title else what
    width = int(figure.get_figwidth() / 0.085)  # characters
    words = "; ".join(filter(None, [how, sizes(rows)]))
    num_lines = math.ceil(len(words) / width)
    second = textwrap.fill(words, min(width, len(words) // num_lines + 12))  # lines of about one length
    figure.suptitle(f"{plain_text(first)}\n{second}", fontsize=11)


def seeds_text(rows: pd.DataFrame) -> str:
    """How many seeds a cell has: 'n = 5', or 'n = 3 to 5'."""
    counts = rows.groupby(["task", "seq_len", "variant"]).size()
    return f"n = {counts.min()}" if counts.min() == counts.max() else f"n = {counts.min()} to {counts.max()}"


def sizes(rows: pd.DataFrame) -> str:
    """'hidden 32, batch 32, 1,000 steps', for what the rows tell."""
    words = {"hidden_size": "hidden {}", "num_layers": "layers {}", "batch_size": "batch {}", "num_steps": "{} steps"}
    values = {name: sorted(rows[name].dropna().unique()) for name in words if name in rows}
    return ", ".join(words[name].format(_few(some)) for name, some in values.items() if some)


def _few(values) -> str:
    """'32 or 64', or '8 to 111' where there are many."""
    texts = [f"{value:,.0f}" for value in values]
    return " or ".join(texts) if len(texts) <= 4 else f"{texts[0]} to {texts[-1]}"


def plain_text(text: str) -> str:
    """Text in which matplotlib finds no formula, and no leading underscore, which would hide a label."""
    return (" " + text if text.startswith("_") else text).replace("$", r"\$")
