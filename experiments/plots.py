"""The three plots of a sweep: learning curves, success by lag, gradient norm by lag.

Each function returns a matplotlib Figure; write_plots saves them as PNG. A variant has the same colour, line and
marker in all of them: eight colours that colour-blind readers can tell apart, then again with another line and marker.
Where a sweep has more than MOST_LINES variants, each of the three is a heat map with a named row a variant.
"""

import math
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from experiments.heat_maps import Panel, heat_maps
from experiments.ranking import pairs, ranking
from experiments.table import best_rows, horizon_text, summary

# Okabe and Ito's palette without its yellow, which is too light for a line, and with a dark red
COLORS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000", "#882255"]
LINES = ["-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*"]
CHANCE = {"color": "0.45", "linestyle": ":", "linewidth": 1.4}
MOST_LINES = 16  # with more variants, lines cannot be told apart
MOST_BANDS = 5  # with more variants, bands over each other cannot be told apart
LOWEST_LOG10 = -32  # a gradient norm below 1e-30 is no longer counted in gradient_horizon
LOWEST_LEFT = 1e-3  # share of the chance loss, the lower end of a scale of colours
NORMS = {"log10_gradient_norm": "at initialisation", "log10_gradient_norm_trained": "after training"}
QUANTITIES = ["validation_loss", *NORMS]


def style(variants) -> dict[str, dict]:
    """How each variant is drawn, in all plots."""
    return {
        name: {
            "color": COLORS[i % len(COLORS)],
            "linestyle": LINES[i // len(COLORS) % len(LINES)],
            "marker": MARKERS[i % len(MARKERS)],
            "markerfacecolor": COLORS[i % len(COLORS)] if i // len(COLORS) % 2 == 0 else "white",
        }
        for i, name in enumerate(variants)
    }


def write_plots(folder, runs: pd.DataFrame, curves: pd.DataFrame | None, title="") -> list[Path]:
    """Draws what the data allows into the folder and returns the paths, in reading order."""
    many = best_rows(runs)["variant"].nunique() > MOST_LINES
    figures = {"success_by_lag.png": (success_map if many else success_by_lag)(runs, title)}
    if curves is not None:
        figures["learning_curves.png"] = (learning_map if many else learning_curves)(runs, curves, title)
        figures["gradient_norm_by_lag.png"] = (norm_map if many else gradient_norm_by_lag)(runs, curves, title)
    paths = []
    for name, figure in figures.items():
        path = Path(folder) / name
        if figure is None:
            path.unlink(missing_ok=True)
            continue
        figure.savefig(path, dpi=144)
        paths.append(path)
    return paths


# --- learning curves -------------------------------------------------------------------------------------------------


def learning_curves(runs: pd.DataFrame, curves: pd.DataFrame, title="") -> Figure | None:
    """Validation loss by training step, a panel per task and lag. None if no such curve was stored."""
    rows = best_rows(runs)
    bands = _bands(rows, curves, "validation_loss")
    if bands.empty:
        return None
    drawn = style(rows["variant"].unique())
    panels = _panels(rows)
    height, width = panels.shape
    figure = _figure(4.4 * width, 3.1 * height, drawn, extra=["chance"])
    filled = rows["variant"].nunique() <= MOST_BANDS
    how = "median and range over seeds" + ("" if filled else " (ranges of the last step, to the right)")
    _title(figure, title, "validation loss while training", how, rows)
    axes = figure.subplots(height, width, squeeze=False)
    for axis, key in zip(axes.flat, panels.flat, strict=True):
        if key is None:
            axis.set_axis_off()
            continue
        here = rows[(rows["task"] == key[0]) & (rows["seq_len"] == key[1])]
        axis.set_title(f"{key[0]}, T = {key[1]}  ({_seeds(here)})", fontsize=10)
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
    _legend(figure, drawn, extra={"chance": Line2D([], [], **CHANCE)})
    return figure


def _curves(axis, panel: pd.DataFrame, drawn, filled: bool) -> None:
    """Medians, with their range as a band; where bands would hide each other, as bars beside the last step."""
    last = panel["index"].max()
    for i, (name, band) in enumerate(panel.groupby("variant", sort=False)):
        color = drawn[name]["color"]
        every = max(1, len(band) // 6)
        marks = (i * every // len(drawn), every)
        axis.plot(band["index"], band["middle"], **drawn[name], **_THIN, markevery=marks, zorder=3)
        if filled:
            axis.fill_between(band["index"], band["low"], band["high"].clip(upper=_LARGE), color=color, **_FAINT)
        else:
            end = band.iloc[-1]
            x = last * (1.03 + 0.2 * (i + 0.5) / len(drawn))
            axis.vlines(x, end["low"], min(end["high"], _LARGE), color=color, linewidth=1.2, alpha=0.6)
            axis.plot([x], [end["middle"]], **{**drawn[name], "linestyle": "none"}, markersize=3)
    if not filled:
        axis.axvline(1.015 * last, color="0.8", linewidth=0.8)
    axis.set_xlim(-0.02 * last, last * (1.02 if filled else 1.25))


def _bands(rows: pd.DataFrame, curves: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Median, lowest and highest over seeds by variant and index. Lost values are the worst: they are not skipped."""
    worst = np.inf if "loss" in quantity else -np.inf
    curves = curves[curves["quantity"] == quantity]
    names = rows[["trial_id", "task", "seq_len", "variant"]]
    joined = curves.assign(value=curves["value"].astype(float).fillna(worst)).merge(names, on="trial_id")
    order = {name: i for i, name in enumerate(rows["variant"].unique())}
    groups = joined.groupby(["task", "seq_len", "variant", "index"])["value"]
    bands = groups.agg(middle="median", low="min", high="max").reset_index()
    bands["middle"] = bands["middle"].where(np.isfinite(bands["middle"]))  # the line ends where half the seeds are lost
    return bands.sort_values(["variant", "index"], key=lambda c: c.map(order) if c.name == "variant" else c)


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


# --- success by lag --------------------------------------------------------------------------------------------------


def success_by_lag(runs: pd.DataFrame, title="") -> Figure:
    """Share of seeds solved by lag with its 95 % Wilson interval; success_at_one_lag where no task has two lags."""
    rows, cells = best_rows(runs), summary(runs)
    if cells.groupby("task")["seq_len"].nunique().max() == 1:
        return success_at_one_lag(rows, cells, title)
    drawn = style(rows["variant"].unique())
    tasks = cells["task"].unique()
    width = max(5.6, 0.09 * len(drawn) * cells["seq_len"].nunique())
    figure = _figure(width * len(tasks), 3.8, drawn)
    _title(figure, title, "seeds solved by lag", "bars: 95 % Wilson intervals", rows)
    axes = figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
    for axis, task in zip(axes, tasks, strict=True):
        axis.set_title(f"{task}  ({_seeds(rows[rows['task'] == task])})", fontsize=10)
        _points_by_lag(axis, cells[cells["task"] == task], drawn)
        _shares(axis)
    axes[0].set_ylabel("share of seeds solved")
    _legend(figure, drawn)
    return figure


def success_at_one_lag(rows: pd.DataFrame, cells: pd.DataFrame, title="") -> Figure:
    """Share of seeds solved, and below it the mean test accuracy, variants side by side."""
    drawn = style(rows["variant"].unique())
    tasks = cells["task"].unique()
    figure = _figure(max(4.4, 0.34 * len(drawn)) * len(tasks), 5.4, {})
    what = "seeds solved and test accuracy"
    _title(figure, title, what, "bars: 95 % intervals (Wilson above, bootstrap below)", rows)
    axes = figure.subplots(2, len(tasks), squeeze=False, sharey=True, sharex=True)
    for (above, below), task in zip(axes.T, tasks, strict=True):
        here = cells[cells["task"] == task].set_index("variant")
        seeds = _seeds(rows[rows["task"] == task])
        above.set_title(f"{task}, T = {here['seq_len'].iloc[0]}  ({seeds})", fontsize=10)
        below.axhline(here["chance_accuracy"].iloc[0], **CHANCE)
        below.text(len(drawn) - 0.45, here["chance_accuracy"].iloc[0], "chance", **_SMALL)
        for x, (name, look) in enumerate(drawn.items()):
            if name not in here.index:
                continue
            cell = here.loc[name]
            _point(above, x, cell["solved"] / cell["n"], cell["solved_low"], cell["solved_high"], look)
            _point(below, x, *cell[["test_accuracy", "test_accuracy_low", "test_accuracy_high"]], look)
        _shares(above)
        _shares(below)
        below.set_xlim(-0.6, len(drawn) - 0.4)
        names = list(map(_plain, drawn))
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


# --- gradient norm by lag --------------------------------------------------------------------------------------------


def gradient_norm_by_lag(runs: pd.DataFrame, curves: pd.DataFrame, title="") -> Figure | None:
    """log10 of the gradient norm by lag at each task's longest lag: at initialisation solid, after training dashed."""
    rows = best_rows(runs)
    rows = rows[rows["seq_len"] == rows.groupby("task")["seq_len"].transform("max")]
    bands = {quantity: band for quantity in NORMS if not (band := _bands(rows, curves, quantity)).empty}
    if not bands:
        return None
    cells = summary(rows).set_index(["task", "variant"])
    drawn = style(best_rows(runs)["variant"].unique())
    tasks = rows["task"].unique()
    rows_of_legend = max(rows.groupby("task")["variant"].nunique())
    height = max(3.0, 0.19 * rows_of_legend + 0.9)
    figure = _figure(4.0 * len(bands) + 3.6, height * len(tasks), {})
    _title(figure, title, "gradient norm by lag", "median over seeds", rows)
    axes = figure.subplots(len(tasks), len(bands), squeeze=False, sharey="row")
    for line, task in zip(axes, tasks, strict=True):
        here = rows[rows["task"] == task]
        for axis, (quantity, band) in zip(line, bands.items(), strict=True):
            axis.set_title(f"{task}, T = {here['seq_len'].iloc[0]}, {NORMS[quantity]}  ({_seeds(here)})", fontsize=10)
            solid = quantity == "log10_gradient_norm"
            _norms(axis, band[band["task"] == task], drawn, "-" if solid else (0, (3, 1)))
        lowest = min(axis.dataLim.y0 for axis in line)
        if lowest < LOWEST_LOG10:
            line[0].set_ylim(bottom=LOWEST_LOG10)
        _horizons(line[-1], cells.loc[task], here, drawn, trained="log10_gradient_norm_trained" in bands)
    figure.supxlabel("lag k = T - t  (steps back from the end)", fontsize=10)
    figure.supylabel("log10 of the gradient norm", fontsize=10)
    return figure


def _norms(axis, band: pd.DataFrame, drawn, line) -> None:
    for i, (name, values) in enumerate(band.groupby("variant", sort=False)):
        every = max(1, len(values) // 5)
        look = {**drawn[name], "linestyle": line, "markevery": (i * every // len(drawn), every)}
        axis.plot(values["index"], values["middle"], **look, **_THIN)
    axis.grid(color="0.92", linewidth=0.7)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _horizons(axis, cells: pd.DataFrame, rows: pd.DataFrame, drawn, trained: bool) -> None:
    """The legend beside the panels of a task, with each variant's gradient horizon."""
    seq_len = rows["seq_len"].iloc[0]
    names = [name for name in drawn if name in cells.index]
    handles = [Line2D([], [], **{**drawn[name], "linestyle": "-"}, **_THIN) for name in names]
    labels = []
    for name in names:
        ends = [horizon_text(cells.loc[name, "gradient_horizon"], seq_len)]
        if trained:
            ends.append(horizon_text(cells.loc[name, "gradient_horizon_trained"], seq_len))
        labels.append(f"{_plain(name)}:  {' → '.join(ends)}")
    title = "gradient horizon in steps" + (",\ninitial → trained" if trained else "")
    box = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02), "frameon": False, "borderaxespad": 0}
    axis.legend(handles, labels, title=title, fontsize=8, title_fontsize=8, alignment="left", handlelength=3, **box)


# --- many variants ----------------------------------------------------------------------------------------------------


def success_map(runs: pd.DataFrame, title="") -> Figure:
    """Share of seeds solved and mean test accuracy, variants by lag."""
    rows, cells = best_rows(runs), summary(runs)
    names = list(ranking(cells).index)
    panels = []
    for task in cells["task"].unique():
        here = cells[cells["task"] == task].set_index(["variant", "seq_len"])
        lags = [lag for name, lag in pairs(cells) if name == task]
        wide = lambda values: values.unstack().reindex(index=names, columns=lags)
        counts = wide(here["solved"].astype(str) + "/" + here["n"].astype(str)).fillna("")
        accuracy = wide(here["test_accuracy"].astype(float))
        percents = accuracy.map(lambda value: "" if math.isnan(value) else f"{100 * value:.0f} %")
        seeds = _seeds(rows[rows["task"] == task])
        for what, values, texts in (
            ("seeds solved", wide(here["solved"] / here["n"]), counts),
            ("mean test accuracy", accuracy, percents),
        ):
            shown = values.to_numpy(float), list(map(str, lags)), texts.to_numpy().tolist()
            panels.append(Panel(f"{task}\n{what}  ({seeds})", *shown))
    figure = heat_maps(panels, list(map(_plain, names)), Normalize(0, 1), "lag T", "share")
    _title(figure, title, "seeds solved and test accuracy", _BEST, rows)
    return figure


def learning_map(runs: pd.DataFrame, curves: pd.DataFrame, title="") -> Figure | None:
    """Validation loss as a share of chance by training step, a panel per task and lag."""
    rows = best_rows(runs)
    bands = _bands(rows, curves, "validation_loss")
    if bands.empty:
        return None
    cells = summary(runs)
    names = list(ranking(cells).index)
    panels = []
    for task, lag in pairs(cells):
        here = rows[(rows["task"] == task) & (rows["seq_len"] == lag)]
        values, steps = _by_variant(bands[(bands["task"] == task) & (bands["seq_len"] == lag)], names, np.inf)
        panels.append(Panel(f"{task}, T = {lag}\n({_seeds(here)})", values / here["chance_loss"].iloc[0], steps))
    label = "validation loss as a share of chance (lower is better)"
    norm = LogNorm(LOWEST_LEFT, 1)
    figure = heat_maps(panels, list(map(_plain, names)), norm, "training step", label, extend="both")
    _title(figure, title, "validation loss while training", f"median over seeds; {_BEST}", rows)
    return figure


def norm_map(runs: pd.DataFrame, curves: pd.DataFrame, title="") -> Figure | None:
    """log10 of the gradient norm by lag at each task's longest lag, with the gradient horizon beside each row."""
    rows = best_rows(runs)
    names = list(ranking(summary(runs)).index)
    rows = rows[rows["seq_len"] == rows.groupby("task")["seq_len"].transform("max")]
    bands = {quantity: band for quantity in NORMS if not (band := _bands(rows, curves, quantity)).empty}
    if not bands:
        return None
    cells = summary(rows).set_index(["task", "variant"])
    panels = []
    for task in rows["task"].unique():
        here, horizons = rows[rows["task"] == task], cells.loc[task].reindex(names)
        lag = here["seq_len"].iloc[0]
        for quantity, band in bands.items():
            values, lags = _by_variant(band[band["task"] == task], names, -np.inf)
            horizon = horizons[quantity.replace("log10_gradient_norm", "gradient_horizon")]
            notes = [
                horizon_text(steps, lag) if name in cells.loc[task].index else "" for name, steps in horizon.items()
            ]
            panels.append(Panel(f"{task}, T = {lag}\n{NORMS[quantity]}  ({_seeds(here)})", values, lags, notes=notes))
    every = np.concatenate([panel.values.ravel() for panel in panels])
    norm = Normalize(*np.quantile(every[np.isfinite(every)], [0.02, 0.98])) if np.isfinite(every).any() else Normalize()
    label = "log10 of the gradient norm"
    figure = heat_maps(panels, list(map(_plain, names)), norm, "lag k = T - t", label, extend="both")
    how = f"median over seeds; {_BEST}; at the right of each row the gradient horizon in steps"
    _title(figure, title, "gradient norm by lag", how, rows)
    return figure


def _by_variant(bands: pd.DataFrame, names, lost: float) -> tuple[np.ndarray, np.ndarray]:
    """Medians [variants, columns] and their columns; `lost` where half the seeds are lost, NaN without a run."""
    wide = bands.assign(middle=bands["middle"].fillna(lost)).pivot(index="variant", columns="index", values="middle")
    return wide.reindex(names).to_numpy(float), wide.columns.to_numpy()


# --- shared ----------------------------------------------------------------------------------------------------------

_BEST = "the best at the top: by the longest lag solved, then by the loss left"
_THIN = {"linewidth": 1.4, "markersize": 4.5, "markeredgewidth": 1.0}
_SMALL = {"fontsize": 7, "color": "0.35", "ha": "right", "va": "bottom"}
_FAINT = {"alpha": 0.15, "linewidth": 0}
_LARGE = 1e30  # where a range that has no upper end is drawn to


def _panels(rows: pd.DataFrame) -> np.ndarray:
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


def _figure(width: float, height: float, drawn, extra=()) -> Figure:
    """A figure of that size in inches and room above and below it for the title and the legend."""
    names = [*drawn, *extra]
    width = max(width, 6.4)
    lines = math.ceil(len(names) / _columns(width, names)) if names else 0
    figure = Figure(figsize=(width, height + 0.7 + 0.2 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _legend(figure: Figure, drawn, extra=None) -> None:
    handles = {name: Line2D([], [], **look, **_THIN) for name, look in drawn.items()} | (extra or {})
    columns = _columns(figure.get_figwidth(), list(handles))
    labels = list(map(_plain, handles))
    box = {"loc": "outside lower center", "ncols": columns, "frameon": False}
    figure.legend(list(handles.values()), labels, fontsize=8, handlelength=3.2, labelspacing=0.3, **box)


def _title(figure: Figure, title: str, what: str, how: str, rows: pd.DataFrame) -> None:
    first = f"{title}: {what}" if title else what
    width = int(figure.get_figwidth() / 0.085)  # characters
    second = "\n".join(textwrap.wrap("; ".join(filter(None, [how, sizes(rows)])), width))
    figure.suptitle(f"{_plain(first)}\n{second}", fontsize=11)


def _seeds(rows: pd.DataFrame) -> str:
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


def _plain(text: str) -> str:
    """Text in which matplotlib finds no formula, and no leading underscore, which would hide a label."""
    return (" " + text if text.startswith("_") else text).replace("$", r"\$")
