"""Remedies ranked, and whether reach at the start predicts what is learnt."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from rich.console import Console
from scipy import stats

from experiments.remedies.options import Options
from experiments.shared.numbers import figure, horizon_text, markdown
from experiments.shared.provenance import command
from experiments.sweep.ranking import longest_solved, loss_left, pairs, ranking, reach_text, solved_of_run
from experiments.sweep.table import KEYS, best_rows, read_runs, summary

FLAT = 10_000  # steps; a gradient that does not fall is drawn here
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
    """Spearman's rank correlation of the reach, as a share of the lag, with what is learnt (1 - left), over all rows.

    `low` and `high` end its 95 % interval by a bootstrap over variants, since the rows of one variant are not
    independent; `p` is the two-sided p-value that takes them as such; `within` is the mean over (task, lag) of the
    correlation among the variants there, which no difference in difficulty between lags enters. None where there are
    not three settings yet that differ in reach and in what they learn.
    """
    rows = cells.dropna(subset=[reach]).assign(share=lambda r: r[reach] / r["seq_len"], learnt=lambda r: 1 - r["left"])
    if len(rows) < 3 or rows["share"].nunique() < 2 or rows["learnt"].nunique() < 2:
        return None
    found = stats.spearmanr(rows["share"], rows["learnt"])
    parts = [part[["share", "learnt"]].to_numpy() for _, part in rows.groupby("variant")]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        both = np.concatenate([parts[i] for i in rng.integers(len(parts), size=len(parts))])
        drawn.append(_spearman(both[:, 0], both[:, 1]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    within = [_spearman(part["share"], part["learnt"]) for _, part in rows.groupby(["task", "seq_len"])]
    within = [rho for rho in within if not math.isnan(rho)]
    return {"rho": found.statistic, "p": found.pvalue, "low": low, "high": high, "n": len(rows),
            "variants": len(parts), "within": float(np.mean(within)) if within else math.nan}  # fmt: skip


def _spearman(a, b) -> float:
    """Pearson's correlation of ranks; NaN where all are equal."""
    a, b = stats.rankdata(a), stats.rankdata(b)
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else math.nan


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
    """Every (variant, task, lag): the reach at the start, as a share of the lag, against the loss that is left."""
    drawn = Figure(figsize=(11, 8), layout="constrained")
    axis = drawn.subplots()
    share = (cells["gradient_horizon"].clip(0.1, FLAT) / cells["seq_len"]).fillna(0.1)
    lags = sorted(cells["seq_len"].unique())
    names = []  # and where they belong
    for task, marker in zip(cells["task"].unique(), "os^Dv", strict=False):
        for number, lag in enumerate(lags):
            here = (cells["task"] == task) & (cells["seq_len"] == lag)
            colour = f"C{number}"
            axis.scatter(
                share[here], cells.loc[here, "left"], marker=marker, c=colour, s=30, label=f"{task}, T = {lag}"
            )
            names += zip(cells.loc[here, "variant"], share[here], cells.loc[here, "left"], strict=True)
    axis.set_xscale("log")
    axis.set_xlabel("gradient horizon at initialisation, as a share of the lag T")
    axis.set_ylabel("test loss left, as a share of chance (lower is better)")
    if found:
        what = f"Spearman's correlation of reach with what is learnt: {found['rho']:.2f} (n = {found['n']})"
        axis.set_title(what, fontsize=10)
    axis.grid(color="0.92", linewidth=0.7)
    axis.legend(fontsize=7)
    FigureCanvasAgg(drawn).draw()
    _annotate(axis, names)
    return drawn


def _annotate(axis, names: list[tuple[str, float, float]]) -> None:
    """Each name beside its point, but for those that would cover another."""
    size = 6
    taken: list[Bbox] = []
    for name, x, y in names:
        left, low = axis.transData.transform((x, y))
        box = Bbox.from_bounds(left, low, 0.75 * size * len(name), 1.3 * size)
        if not any(box.overlaps(other) for other in taken):
            taken.append(box)
            axis.annotate(name, (x, y), fontsize=size, xytext=(3, 2), textcoords="offset points", color="0.3")


def run(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Rank the remedies of a folder."""
    folder = options.folder
    runs = read_runs(folder)
    cells = settings(runs)
    found = {when: correlation(cells, reach) for reach, when in REACHES.items()}
    lines = []
    for when, c in found.items():
        if c is None:
            lines.append([when, *["–"] * 5])
            continue
        rho = f"{c['rho']:.2f} [{c['low']:.2f}, {c['high']:.2f}]"
        lines.append([when, rho, figure(c["p"]), figure(round(c["within"], 2)), c["n"], c["variants"]])
    header = ["reach", "Spearman's rho [95 %]", "p", "mean within task and lag", "n", "variants"]
    text = (
        "# Remedies, ranked\n\n"
        f"```\n{command('experiments.remedies', argv)}\n```\n\n"
        "By reach: the longest lag that more than half of the seeds solve at the learning rate that is best by "
        "validation loss, its mean over tasks; then by the share of the chance loss that is left, averaged over all "
        "(task, lag) pairs. Remedies that were not run at every pair come after those with the same reach that were. "
        "By pair: seeds solved / n and share of the chance loss left (median over seeds). Gradient horizons, in "
        f"steps, are medians over the pairs.\n\n{ranking_table(cells)}\n\n"
        "## Does reach predict what is learnt?\n\n"
        "The rank correlation, over all remedies, tasks and lags, of the gradient horizon as a share of the lag with "
        "the share of the chance loss that training has removed. Interval: bootstrap over remedies. The p-value takes "
        "all n as independent, which they are not quite.\n\n"
        f"{markdown(header, lines)}\n\n![Reach at the start against the loss that is left](reach_and_success.png)\n"
    )
    (folder / "remedies.md").write_text(text, encoding="utf-8")
    scatter(cells, found["at the start"]).savefig(folder / "reach_and_success.png", dpi=144)
    console.print(f"{folder / 'remedies.md'}, {folder / 'reach_and_success.png'}")
