"""python -m experiments.remedies_report [DIR]: rank the remedies; does reach at the start predict what is learnt?

Reads the runs of the sweep `remedies`; writes remedies.md and reach_and_success.png beside them.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from scipy import stats

from experiments.record import command
from experiments.start import start
from experiments.table import KEYS, best_rows, figure, horizon_text, markdown, read_runs, summary

FLAT = 1e4  # steps; a gradient that does not fall is drawn here
RESAMPLES = 2000
REACHES = {"gradient_horizon": "at the start", "gradient_horizon_trained": "after training"}


def settings(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per (task, lag, variant) at its chosen learning rate: `left`, the median test loss as a share of chance,
    at most 1, and medians over seeds of both horizons, in steps as measured (one beyond the lag is a number too)."""
    cells = summary(runs)
    cells["left"] = (cells["test_loss"] / cells["chance_loss"]).clip(upper=1.0).fillna(1.0)
    reach = best_rows(runs).groupby(KEYS)[list(REACHES)].median().reset_index()
    return cells.drop(columns=list(REACHES)).merge(reach, on=KEYS)


def correlation(cells: pd.DataFrame, reach: str) -> dict[str, float]:
    """Spearman's rank correlation of the reach, as a share of the lag, with what is learnt (1 - left), over all rows.

    `low` and `high` end its 95 % interval by a bootstrap over variants, since the rows of one variant are not
    independent; `p` is the two-sided p-value that takes them as such; `within` is the mean over (task, lag) of the
    correlation among the variants there, which no difference in difficulty between lags enters.
    """
    rows = cells.dropna(subset=[reach]).assign(share=lambda r: r[reach] / r["seq_len"], learnt=lambda r: 1 - r["left"])
    if len(rows) < 3 or rows["share"].nunique() < 2 or rows["learnt"].nunique() < 2:
        raise ValueError("a correlation needs three settings or more that differ in reach and in what they learn")
    found = stats.spearmanr(rows["share"], rows["learnt"])
    parts = [part[["share", "learnt"]].to_numpy() for _, part in rows.groupby("variant")]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        both = np.concatenate([parts[i] for i in rng.integers(len(parts), size=len(parts))])
        drawn.append(_spearman(both[:, 0], both[:, 1]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    within = [_spearman(part["share"], part["learnt"]) for _, part in rows.groupby(["task", "seq_len"])]
    return {"rho": found.statistic, "p": found.pvalue, "low": low, "high": high, "n": len(rows),
            "variants": len(parts), "within": float(np.nanmean(within))}  # fmt: skip


def _spearman(a, b) -> float:
    """Pearson's correlation of ranks; NaN where all are equal."""
    a, b = stats.rankdata(a), stats.rankdata(b)
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else math.nan


def ranking(cells: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, the best first: (task, lag) pairs that most seeds solve, then the share of chance left."""
    most = cells.assign(most=cells["solved"] > cells["n"] / 2)
    ranked = most.groupby("variant", sort=False).agg(
        solved=("most", "sum"), of=("most", "size"), left=("left", "mean"), diverged=("diverged", "sum"),
        **{reach: (reach, "median") for reach in REACHES},
    )  # fmt: skip
    return ranked.sort_values(["solved", "left"], ascending=[False, True])


def ranking_table(cells: pd.DataFrame, ranked: pd.DataFrame) -> str:
    pairs = list(dict.fromkeys(zip(cells["task"], cells["seq_len"], strict=True)))
    by_key = cells.set_index(["variant", "task", "seq_len"])
    header = ["", "remedy", "solved", "loss left", *(f"{task} {lag}" for task, lag in pairs)]
    header += [f"horizon {when}" for when in REACHES.values()] + ["diverged"]
    lines = []
    for place, (name, row) in enumerate(ranked.iterrows(), 1):
        found = [by_key.loc[(name, *pair)] if (name, *pair) in by_key.index else None for pair in pairs]
        texts = [
            "–" if one is None else f"{one['solved']:.0f}/{one['n']:.0f} · {100 * one['left']:.0f} %" for one in found
        ]
        horizons = [horizon_text(row[reach], FLAT) for reach in REACHES]
        solved = f"{row['solved']:.0f} of {row['of']:.0f}"
        lines.append([place, name, solved, f"{100 * row['left']:.0f} %", *texts, *horizons, f"{row['diverged']:.0f}"])
    return markdown(header, lines)


def scatter(cells: pd.DataFrame, rho: float) -> Figure:
    """Every (variant, task, lag): the reach at the start, as a share of the lag, against the loss that is left."""
    drawn = Figure(figsize=(11, 8), layout="constrained")
    axis = drawn.subplots()
    share = (cells["gradient_horizon"].clip(0.1, FLAT) / cells["seq_len"]).fillna(0.1)
    lags = sorted(cells["seq_len"].unique())
    for task, marker in zip(cells["task"].unique(), "os^Dv", strict=False):
        for number, lag in enumerate(lags):
            here = (cells["task"] == task) & (cells["seq_len"] == lag)
            colour = f"C{number}"
            axis.scatter(
                share[here], cells.loc[here, "left"], marker=marker, c=colour, s=30, label=f"{task}, T = {lag}"
            )
            for x, y, name in zip(share[here], cells.loc[here, "left"], cells.loc[here, "variant"], strict=True):
                axis.annotate(name, (x, y), fontsize=5, xytext=(3, 2), textcoords="offset points", color="0.4")
    axis.set_xscale("log")
    axis.set_xlabel("gradient horizon at initialisation, as a share of the lag T")
    axis.set_ylabel("test loss left, as a share of chance (lower is better)")
    axis.set_title(f"Spearman's correlation of reach with what is learnt: {rho:.2f} (n = {len(cells)})", fontsize=10)
    axis.grid(color="0.92", linewidth=0.7)
    axis.legend(fontsize=7)
    return drawn


def run(console: Console, args: argparse.Namespace, argv: Sequence[str]) -> None:
    folder = Path(args.folder)
    runs = read_runs(folder)
    cells = settings(runs)
    found = {when: correlation(cells, reach) for reach, when in REACHES.items()}
    lines = []
    for when, c in found.items():
        lines.append([when, f"{c['rho']:.2f} [{c['low']:.2f}, {c['high']:.2f}]", figure(c["p"]), f"{c['within']:.2f}",
                      c["n"], c["variants"]])  # fmt: skip
    header = ["reach", "Spearman's rho [95 %]", "p", "mean within task and lag", "n", "variants"]
    text = (
        "# Remedies, ranked\n\n"
        f"```\n{command('experiments.remedies_report', argv)}\n```\n\n"
        "By the (task, lag) pairs that more than half of the seeds solve, at the learning rate that is best by "
        "validation loss, then by the share of the chance loss that is left, averaged over all pairs. By pair: seeds "
        "solved / n and share of the chance loss left (median over seeds). Gradient horizons, in steps, are medians "
        f"over the pairs.\n\n{ranking_table(cells, ranking(cells))}\n\n"
        "## Does reach predict what is learnt?\n\n"
        "The rank correlation, over all remedies, tasks and lags, of the gradient horizon as a share of the lag with "
        "the share of the chance loss that training has removed. Interval: bootstrap over remedies. The p-value takes "
        "all n as independent, which they are not quite.\n\n"
        f"{markdown(header, lines)}\n\n![Reach at the start against the loss that is left](reach_and_success.png)\n"
    )
    (folder / "remedies.md").write_text(text, encoding="utf-8")
    scatter(cells, found["at the start"]["rho"]).savefig(folder / "reach_and_success.png", dpi=144)
    console.print(f"{folder / 'remedies.md'}, {folder / 'reach_and_success.png'}")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m experiments.remedies_report", description=__doc__.splitlines()[0])
    p.add_argument("folder", nargs="?", default="results/remedies", metavar="DIR", help="default results/remedies")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input."""
    return start(run, parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
