"""Many variants at once, as heat maps."""

import math

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from experiments.shared.numbers import horizon_text, wilson
from experiments.sweep.plots.heat_maps import NOT_RUN, Panel, heat_maps
from experiments.sweep.plots.panels import NORMS, at_longest_lag, bands_of, plain_text, seeds_text, set_title
from experiments.sweep.tables.ranking import pairs, ranking
from experiments.sweep.tables.table import best_rows, summary

LOWEST_LEFT = 1e-3  # share of the chance loss, the lower end of a scale of colours


def success_map(runs: pd.DataFrame, title="") -> Figure:
    """Share of seeds solved and mean test accuracy, variants by lag."""
    rows, cells = best_rows(runs), summary(runs)
    names = list(ranking(cells).index)
    panels = []
    for task in cells["task"].unique():
        here = cells[cells["task"] == task].set_index(["variant", "seq_len"])
        lags = [lag for name, lag in pairs(cells) if name == task]
        wide = lambda values: values.unstack().reindex(index=names, columns=lags)
        counts = wide(here["solved"].astype(str) + "/" + here["n"].astype(str)).fillna(NOT_RUN)
        accuracy = wide(here["test_accuracy"].astype(float))
        percents = accuracy.map(lambda value: NOT_RUN if math.isnan(value) else f"{100 * value:.0f} %")
        seeds = seeds_text(rows[rows["task"] == task])
        for what, values, texts in (
            ("seeds solved", wide(here["solved"] / here["n"]), counts),
            ("mean test accuracy", accuracy, percents),
        ):
            shown = values.to_numpy(float), list(map(str, lags)), texts.to_numpy().tolist()
            panels.append(Panel(f"{task}\n{what}  ({seeds})", *shown))
    figure = heat_maps(panels, list(map(plain_text, names)), Normalize(0, 1), "lag T", "share (bright is good)")
    set_title(figure, title, "seeds solved and test accuracy", "; ".join([_BEST, *_intervals(cells)]), rows)
    return figure


def learning_map(runs: pd.DataFrame, curves: pd.DataFrame, title="") -> Figure | None:
    """Validation loss as a share of chance by training step, a panel per task and lag."""
    rows = best_rows(runs)
    bands = bands_of(rows, curves, "validation_loss")
    if bands.empty:
        return None
    cells = summary(runs)
    names = list(ranking(cells).index)
    panels = []
    for task, lag in pairs(cells):
        here = rows[(rows["task"] == task) & (rows["seq_len"] == lag)]
        values, steps = _by_variant(bands[(bands["task"] == task) & (bands["seq_len"] == lag)], names, np.inf)
        panels.append(Panel(f"{task}, T = {lag}\n({seeds_text(here)})", values / here["chance_loss"].iloc[0], steps))
    label = "validation loss / chance (bright is good)"
    norm = LogNorm(LOWEST_LEFT, 1)
    figure = heat_maps(panels, list(map(plain_text, names)), norm, "training step", label, "both", low_is_good=True)
    set_title(figure, title, "validation loss while training", f"median over seeds; {_BEST}", rows)
    return figure


def norm_map(runs: pd.DataFrame, curves: pd.DataFrame, title="") -> Figure | None:
    """log10 of the gradient norm by lag at each task's longest lag, with the gradient horizon beside each row."""
    rows = best_rows(runs)
    names = list(ranking(summary(runs)).index)
    rows = at_longest_lag(rows)
    bands = {quantity: band for quantity in NORMS if not (band := bands_of(rows, curves, quantity)).empty}
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
            panels.append(
                Panel(f"{task}, T = {lag}\n{NORMS[quantity]}  ({seeds_text(here)})", values, lags, notes=notes)
            )
    every = np.concatenate([panel.values.ravel() for panel in panels])
    norm = Normalize(*np.quantile(every[np.isfinite(every)], [0.02, 0.98])) if np.isfinite(every).any() else Normalize()
    label = "log10 of the gradient norm (bright: it lasts)"
    figure = heat_maps(panels, list(map(plain_text, names)), norm, "lag k = T - t", label, extend="both")
    how = f"median over seeds; {_BEST}; at the right of each row the gradient horizon in steps"
    set_title(figure, title, "gradient norm by lag", how, rows)
    return figure


def _intervals(cells: pd.DataFrame) -> list[str]:
    """What none and all of n seeds say of the share, where n is the same in every cell."""
    if cells["n"].nunique() > 1:
        return []
    n = int(cells["n"].iloc[0])
    return [
        f"95 % (Wilson) of 0/{n}: 0 to {100 * wilson(0, n)[1]:.0f} %, of {n}/{n}: {100 * wilson(n, n)[0]:.0f} to 100 %"
    ]


def _by_variant(bands: pd.DataFrame, names, lost: float) -> tuple[np.ndarray, np.ndarray]:
    """Medians [variants, columns] and their columns; `lost` where half the seeds are lost, NaN without a run."""
    wide = bands.assign(middle=bands["middle"].fillna(lost)).pivot(index="variant", columns="index", values="middle")
    return wide.reindex(names).to_numpy(float), wide.columns.to_numpy()


_BEST = "the best at the top: by the longest lag solved, then by the loss left"
