"""The page of `python -m experiments.gradients`: gradients, Jacobians, exponents and gates of all cells."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.gradients.measure import AFTER, BEFORE, NUM_BINS, OfCell, Setting
from experiments.gradients.report import LOG10, horizon, horizon_with_interval, jacobian_quantiles
from experiments.shared.cells import variant
from experiments.shared.looks import style

PAGE, TRAINING = "gradients.png", "training_step_by_lag.png"
LINES = {BEFORE: "-", AFTER: (0, (3, 1))}
THEORY = {"linestyle": (0, (1, 1.2)), "linewidth": 1.8, "alpha": 0.9}
LOWEST = -32.0  # below it a gradient no longer counts in the horizon
FAINT = {"alpha": 0.15, "linewidth": 0}


def write_page(folder: Path, found: Mapping[str, OfCell], setting: Setting) -> list[str]:
    """Draw the page, and where there was training the matrix of training step by lag; the names of the files."""
    figures = {PAGE: page(found, setting)}
    if setting.trained:
        figures[TRAINING] = training(found, setting)
    for name, figure in figures.items():
        FigureCanvasAgg(figure)
        figure.savefig(folder / name, dpi=130)
    if not setting.trained:
        (folder / TRAINING).unlink(missing_ok=True)  # of an earlier run
    return list(figures)


def page(found: Mapping[str, OfCell], setting: Setting) -> Figure:
    """Six panels, one colour a cell; at initialisation solid, after training dashed, theory dotted."""
    looks = {text: {"color": look["color"]} for text, look in style(found).items()}
    figure = Figure(figsize=(15, 8.4 + 0.2 * len(found)), layout="constrained")
    axes = figure.subplots(2, 3)
    panels = (norms, jacobians, exponents, gate_values, time_constants, convergence)
    for axis, panel in zip(axes.T.flat[[0, 2, 4, 1, 3, 5]], panels, strict=True):
        panel(axis, found, setting, looks)
        axis.grid(color="0.92", linewidth=0.7)
        axis.set_axisbelow(True)
    where = f"{setting.inputs} inputs" if setting.task is None else f"task {setting.task.name}"
    sizes = f"{setting.hidden_size} units, {setting.num_steps} steps, {setting.num_seeds} seeds"
    figure.suptitle(f"How far the gradient travels: {where}, {sizes}; bands: range over seeds", fontsize=12)
    handles = [Line2D([], [], **looks[text], linewidth=2) for text in found]
    labels = [
        f"{variant(text)}: horizon "
        + " → ".join(horizon_with_interval(horizon(m, setting), setting.num_steps) for m in of_cell.measured.values())
        for text, of_cell in found.items()
    ]
    if any(of_cell.theory for of_cell in found.values()):
        handles.append(Line2D([], [], color="0.3", **THEORY))
        labels.append("theory: mean field, or the path through the gate that keeps alone")
    if setting.trained:
        handles.append(Line2D([], [], color="0.3", linestyle=LINES[AFTER]))
        labels.append(f"after {setting.trained} training steps")
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def norms(axis, found: Mapping[str, OfCell], setting: Setting, looks: dict) -> None:
    """log10 of the gradient norm by lag, and what theory says from lag 1 on."""
    for text, of_cell in found.items():
        for time, m in of_cell.measured.items():
            _band(axis, np.arange(1, m.mean_by_lag.shape[1] + 1), LOG10 * m.mean_by_lag, LINES[time], looks[text])
        start = LOG10 * np.median(of_cell.measured[BEFORE].mean_by_lag[:, 0])
        for logs in of_cell.theory.values():
            axis.plot(1 + np.arange(len(logs)), start + LOG10 * (logs - logs[0]), **looks[text], **THEORY)
    axis.set_ylim(max(axis.get_ylim()[0], LOWEST), axis.dataLim.y1 + 0.5)
    _name(axis, "Gradient by the carry", "lag k = T - t", "log10 of its norm")


def jacobians(axis, found: Mapping[str, OfCell], setting: Setting, looks: dict) -> None:
    """Singular values at a short and a long lag, a row a cell: a bar from the 5 % quantile to the largest, a dot at the
    median; after training the dot is hollow."""
    lags = np.array(setting.lags)
    wanted = np.log(np.maximum([setting.num_steps / 50, setting.num_steps / 5], 1))
    places = [int(np.abs(np.log(lags) - log_lag).argmin()) for log_lag in wanted]
    names, row = [], 0.0
    for text, of_cell in found.items():
        for time, m in of_cell.measured.items():
            ends = {name: LOG10 * np.median(values, axis=0) for name, values in jacobian_quantiles(m).items()}
            names.append((row, variant(text) if time == BEFORE else "trained"))
            for place, offset, alpha in zip(places, (-0.16, 0.16), (0.45, 1.0), strict=True):
                low, middle, high = (max(ends[name][place], LOWEST) for name in ("5 %", "median", "max"))
                axis.plot(
                    [low, high], [row + offset] * 2, linewidth=3, alpha=alpha, solid_capstyle="butt", **looks[text]
                )
                face = looks[text]["color"] if time == BEFORE else "white"
                axis.plot([middle], [row + offset], "o", markersize=5, alpha=alpha, markerfacecolor=face, **looks[text])
            row += 1.0 if time != list(of_cell.measured)[-1] else 1.3
    axis.axvline(0, color="0.3", linewidth=0.8)
    axis.set_yticks([place for place, _ in names], [name.replace("$", r"\$") for _, name in names], fontsize=7)
    axis.set_ylim(row - 0.7, -0.6)
    axis.set_xlim(left=max(axis.get_xlim()[0], LOWEST))
    pale, full = (lags[place] for place in places)
    title = f"Jacobian ∂carry(T) / ∂carry(T-k): k = {pale} pale, k = {full} full"
    _name(axis, title, "log10 of singular values: 5 %, median (dot), largest; 0 keeps", "")


def exponents(axis, found: Mapping[str, OfCell], setting: Setting, looks: dict) -> None:
    """The Lyapunov spectrum by rank."""
    lowest = 0.0
    for text, of_cell in found.items():
        for time, m in of_cell.measured.items():
            values = m.lyapunov.mean(axis=1)
            share = (0.5 + np.arange(values.shape[1])) / values.shape[1]
            _band(axis, share, values, LINES[time], looks[text])
            middle = np.median(values, axis=0)
            lowest = min(lowest, np.quantile(middle[np.isfinite(middle)], 0.1) if np.isfinite(middle).any() else 0.0)
    axis.axhline(0, color="0.3", linewidth=0.8)
    axis.set_ylim(bottom=1.3 * lowest - 0.05)
    _name(axis, "Lyapunov spectrum", "rank, as a share of the exponents", "exponent per step")


def convergence(axis, found: Mapping[str, OfCell], setting: Setting, looks: dict) -> None:
    """The estimate of the largest exponent by the number of steps it rests on."""
    ends = []
    for text, of_cell in found.items():
        for time, m in of_cell.measured.items():
            values = m.running.mean(axis=-1)
            _band(axis, 1 + np.arange(values.shape[1]), values, LINES[time], looks[text])
            ends += [values[:, len(values[0]) // 10 :].min(), values[:, len(values[0]) // 10 :].max()]
    ends = [end for end in ends if np.isfinite(end)]
    if ends:
        room = 0.15 * (max(ends) - min(ends)) + 0.01
        axis.set_ylim(min(ends) - room, max(ends) + room)
    axis.set_xscale("log")
    _name(axis, "Largest exponent so far", "steps", "exponent per step")


def time_constants(axis, found: Mapping[str, OfCell], setting: Setting, looks: dict) -> None:
    """1 / (1 - f) of the gate that keeps, units in rising order."""
    for text, of_cell in found.items():
        for one in of_cell.keeping[:1]:
            for time, m in of_cell.measured.items():
                steps = m.time_constants[one.label]
                share = (0.5 + np.arange(steps.shape[1])) / steps.shape[1]
                _band(axis, share, np.minimum(steps, 1e9), LINES[time], looks[text])
    axis.set_yscale("log")
    _name(axis, "Time constants of the gate that keeps", "unit by rank, as a share", "1 / (1 - f) in steps")
    _nothing(axis, found)


def gate_values(axis, found: Mapping[str, OfCell], setting: Setting, looks: dict) -> None:
    """How the values of the gate that keeps are spread; 1 keeps."""
    edges = np.linspace(0, 1, NUM_BINS + 1)
    for text, of_cell in found.items():
        for one in of_cell.keeping[:1]:
            for time, m in of_cell.measured.items():
                shares = m.histograms[one.label].mean(axis=0)
                axis.stairs(shares if one.keeps else shares[::-1], edges, linestyle=LINES[time], **looks[text])
    _name(axis, "Values of the gate that keeps", "f (1 keeps)", "share of time, units and examples")
    _nothing(axis, found)


def _nothing(axis, found: Mapping[str, OfCell]) -> None:
    if not any(of_cell.keeping for of_cell in found.values()):
        axis.text(0.5, 0.5, "no gate that keeps was found", ha="center", transform=axis.transAxes, color="0.4")


def training(found: Mapping[str, OfCell], setting: Setting) -> Figure:
    """log10 of the gradient norm by lag and training step, median over seeds: a panel a cell."""
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    figure = Figure(figsize=(1.2 + 4.2 * columns, 3.4 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    images = {text: np.maximum(LOG10 * np.median(of_cell.matrix, axis=0), LOWEST) for text, of_cell in found.items()}
    every = np.concatenate([image.ravel() for image in images.values()])
    norm = Normalize(np.nanmin(every), np.nanmax(every))
    drawn = None
    for axis, (text, image) in zip(axes.flat, images.items(), strict=False):
        steps = np.linspace(0, setting.trained, len(image))
        drawn = axis.pcolormesh(np.arange(1, image.shape[1] + 1), steps, image, norm=norm, shading="nearest")
        _name(axis, variant(text), "lag k = T - t", "training step")
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    figure.colorbar(drawn, ax=axes, label="log10 of the gradient norm")
    figure.suptitle("The gradient by the carry while training", fontsize=12)
    return figure


def _band(axis, x: np.ndarray, values: np.ndarray, line, look: dict) -> None:
    """Median over seeds [S, N] and their range."""
    axis.plot(x, np.median(values, axis=0), linestyle=line, linewidth=1.5, **look)
    if len(values) > 1:
        finite = np.where(np.isfinite(values), values, np.nan)
        axis.fill_between(x, finite.min(axis=0), finite.max(axis=0), **look, **FAINT)


def _name(axis, title: str, x: str, y: str) -> None:
    axis.set_title(title.replace("$", r"\$"), fontsize=10)
    axis.set_xlabel(x, fontsize=9)
    axis.set_ylabel(y, fontsize=9)
