"""Remedies ranked, and whether reach at the start predicts what is learnt."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter
from rich.console import Console

from experiments.remedies.options import Options
from experiments.shared.numbers import horizon_text, markdown, rank_correlation
from experiments.shared.provenance import command
from experiments.sweep.page import date_of, made_with, read_config
from experiments.sweep.tables.ranking import longest_solved, loss_left, pairs, ranking, reach_text, solved_of_run
from experiments.sweep.tables.table import KEYS, best_rows, read_runs, summary

FLAT = 10_000  # steps; a gradient with a longer horizon does not fall
RESAMPLES = 2000
REACHES = {"gradient_horizon": "at the start", "gradient_horizon_trained": "after training"}


def settings(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per (task, lag, variant) at its chosen learning rate: `left`, the median test loss as a share of chance,
    at most 1, and medians over seeds of both horizons, in steps as measured (one beyond the lag is a number too)."""
    cells = summary(runs)
    cells["left"] = loss_left(cells)
    reach = best_rows(runs).groupby(KEYS)[list(REACHES)].median().reset_index()
    return cells.drop(columns=list(REACHES)).merge(reach, on=KEYS)


def correlation(cells: pd.DataFrame, reach: str) -> dict[str, float] | None:
    """Spearman's rank correlation of the reach, as a share of the lag, with what is learnt (1 - left).

    `within` is the mean over (task, lag) of the correlation among the variants there, which no difference in
    difficulty between lags enters; `rho` is that over all rows, which it does enter. `low` and `high`, and `rho_low`
    and `rho_high`, end their 95 % intervals by a bootstrap that draws whole variants, since the rows of one variant
    are not independent. None where there are not three settings yet that differ in reach and in what they learn.
    """
    rows = cells.dropna(subset=[reach]).assign(share=lambda r: r[reach] / r["seq_len"], learnt=lambda r: 1 - r["left"])
    if len(rows) < 3 or rows["share"].nunique() < 2 or rows["learnt"].nunique() < 2:
        return None
    place = rows.groupby(["task", "seq_len"]).ngroup()
    parts = [np.column_stack([place[part.index], part["share"], part["learnt"]]) for _, part in rows.groupby("variant")]
    rng = np.random.default_rng(0)
    drawn = [_both(np.concatenate([parts[i] for i in rng.integers(len(parts), size=len(parts))]))
             for _ in range(RESAMPLES)]  # fmt: skip
    (low, rho_low), (high, rho_high) = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    within, rho = _both(np.concatenate(parts))
    return {"within": within, "low": low, "high": high, "rho": rho, "rho_low": rho_low, "rho_high": rho_high,
            "n": len(rows), "variants": len(parts)}  # fmt: skip


def _both(rows: np.ndarray) -> tuple[float, float]:
    """The mean correlation within a place, and that over all rows; of rows (place, share, learnt)."""
    places = [rows[rows[:, 0] == place] for place in np.unique(rows[:, 0])]
    found = np.array([rank_correlation(some[:, 1], some[:, 2]) for some in places])
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else math.nan, float(rank_correlation(rows[:, 1], rows[:, 2]))


def ranking_table(cells: pd.DataFrame) -> str:
    """A line per variant, the best first, with every (task, lag) pair; a dash where one was not run."""
    every, longest = pairs(cells), longest_solved(cells)
    of_variant = cells.groupby("variant").agg(diverged=("diverged", "sum"), **{r: (r, "median") for r in REACHES})
    by_key = cells.set_index(["variant", "task", "seq_len"])
    header = ["", "remedy", *(f"longest T, {task}" for task in longest), "solved", "loss left"]
    header += [f"{task} {lag}" for task, lag in every]
    header += [f"horizon {when}" for when in REACHES.values()] + ["diverged"]
    lines = []
    for place, (name, row) in enumerate(ranking(cells).join(of_variant).iterrows(), 1):
        found = [by_key.loc[(name, *pair)] if (name, *pair) in by_key.index else None for pair in every]
        texts = [
            "–" if one is None else f"{one['solved']:.0f}/{one['n']:.0f} · {100 * one['left']:.0f} %" for one in found
        ]
        horizons = [horizon_text(row[reach], FLAT) for reach in REACHES]
        reached = [reach_text(longest.loc[name, task]) for task in longest]
        lines.append([place, name, *reached, solved_of_run(row, len(every)), f"{100 * row['left']:.0f} %",
                      *texts, *horizons, f"{row['diverged']:.0f}"])  # fmt: skip
    return markdown(header, lines)


def scatter(cells: pd.DataFrame, found: dict[str, float] | None) -> Figure:
    """A panel for each task and lag: a point a variant, its reach at the start against what it learns."""
    tasks, lags = list(cells["task"].unique()), sorted(cells["seq_len"].unique())
    size = 1 + 3.4 * len(lags), 1.6 + 2.7 * len(tasks)
    drawn = Figure(figsize=(max(size[0], 7.5), size[1]), layout="constrained")
    axes = drawn.subplots(len(tasks), len(lags), squeeze=False, sharex=True, sharey=True)
    low, strip, high = 1e-2, 3e2, 3e3  # of the horizon as a share of the lag; what does not fall stands in the strip
    image = None
    for line, task in zip(axes, tasks, strict=True):
        for axis, lag in zip(line, lags, strict=True):
            here = cells[(cells["task"] == task) & (cells["seq_len"] == lag)].sort_values("left")
            flat = here["gradient_horizon"] >= FLAT
            share = (here["gradient_horizon"].fillna(0) / lag).clip(low, 0.7 * strip)
            share[flat] = np.geomspace(1.25 * strip, 0.8 * high, int(flat.sum())) if flat.sum() > 1 else 3 * strip
            image = axis.scatter(share, 1 - here["left"], c=here["solved"] / here["n"], cmap="viridis", vmin=0, vmax=1,
                                 s=34, alpha=0.85, edgecolors="0.3", linewidths=0.5, zorder=3)  # fmt: skip
            axis.axvspan(strip, high, color="0.95", zorder=0)
            axis.axvline(1, color="0.4", linestyle=":", linewidth=1)
            known = here.dropna(subset="gradient_horizon")
            rho = rank_correlation(known["gradient_horizon"], 1 - known["left"])
            axis.set_title(f"{task}, T = {lag}: rho {rho:.2f}", fontsize=10)
            axis.set_xscale("log")
            axis.grid(color="0.92", linewidth=0.7)
            axis.set_axisbelow(True)
    axes[0, 0].set_xlim(0.7 * low, high)
    axes[0, 0].set_ylim(-0.05, 1.05)
    ticks = {0.01: "≤ 0.01", 0.1: "0.1", 1: "1", 10: "10", 3 * strip: "does\nnot fall"}
    axes[0, 0].set_xticks(list(ticks), list(ticks.values()))
    axes[0, 0].xaxis.set_minor_locator(NullLocator())
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1))
    drawn.supxlabel("gradient horizon at initialisation, as a share of the lag (dotted: all of it)", fontsize=10)
    drawn.supylabel("share of the chance loss that training removes", fontsize=10)
    drawn.colorbar(image, ax=axes, label="share of seeds that solve the task", shrink=0.7, pad=0.02)
    title = "Does the gradient horizon at the start tell what is learnt?"
    if found:
        title += (
            f" Within task and lag rho {found['within']:.2f} [{found['low']:.2f}, {found['high']:.2f}], "
            f"n = {found['variants']} variants"
        )
    drawn.suptitle(title, fontsize=11)
    return drawn


def run(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Rank the remedies of a folder."""
    folder = options.folder
    runs = read_runs(folder)
    cells = settings(runs)
    found = {when: correlation(cells, reach) for reach, when in REACHES.items()}
    lines = []
    for when, c in found.items():
        if c is None:
            lines.append([when, *["–"] * 4])
            continue
        within = f"{c['within']:.2f} [{c['low']:.2f}, {c['high']:.2f}]"
        rho = f"{c['rho']:.2f} [{c['rho_low']:.2f}, {c['rho_high']:.2f}]"
        lines.append([when, within, rho, c["n"], c["variants"]])
    header = ["reach", "rho within task and lag [95 %]", "over all rows [95 %]", "rows", "n (variants)"]
    text = (
        "# Remedies, ranked\n\n"
        f"```\n{command('experiments.remedies', argv)}\n```\n\n"
        f"{made_with(runs, date_of(folder, read_config(folder)))}\n\n"
        "By reach: the longest lag that more than half of the seeds solve at the learning rate that is best by "
        "validation loss, its mean over tasks; then by the share of the chance loss that is left, averaged over all "
        "(task, lag) pairs. Remedies that were not run at every pair come after those with the same reach that were. "
        "By pair: seeds solved / n and share of the chance loss left (median over seeds). Gradient horizons, in "
        f"steps, are medians over the pairs.\n\n{ranking_table(cells)}\n\n"
        "## Does reach predict what is learnt?\n\n"
        "Spearman's rank correlation of the gradient horizon as a share of the lag with the share of the chance loss "
        "that training has removed: among the variants at one task and lag, its mean over these; and over all rows, "
        "into which it enters as well that longer lags are harder. Intervals: bootstrap over variants, whose rows are "
        "not independent of each other, so that n is their number.\n\n"
        f"{markdown(header, lines)}\n\n![Reach at the start against the loss that is left](reach_and_success.png)\n"
    )
    (folder / "remedies.md").write_text(text, encoding="utf-8")
    scatter(cells, found["at the start"]).savefig(folder / "reach_and_success.png", dpi=144)
    console.print(f"{folder / 'remedies.md'}, {folder / 'reach_and_success.png'}")
