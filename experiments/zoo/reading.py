"""The cells of the zoo, ranked by what they learn and by what a step costs."""

import datetime
import statistics
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter
from rich.console import Console
from rich.progress import track

from experiments.shared.cells import build_cell, check_named_by_file
from experiments.shared.numbers import figure, horizon_text, markdown
from experiments.shared.provenance import command, git_commit
from experiments.shared.records import NOT_SAID
from experiments.sweep.page import date_of, made_with, read_config
from experiments.sweep.tables.ranking import (
    longest_solved,
    loss_left,
    pairs,
    ranking as ranked_by_reach,
    reach_text,
    solved_of_run,
)
from experiments.sweep.tables.table import read_runs, summary
from experiments.zoo.options import Options
from rnnjax.compiling import compiler_options
from rnnjax.tasks import make_task
from rnnjax.unrolling import unroll

SEQ_LEN, BATCH_SIZE = 100, 32
MEASURED_AT = ["git_commit", "date", "device"]  # of a timing


def step_milliseconds(cell: str, hidden_size: int, input_size: int, rounds: int) -> float:
    """The median time of one training step (loss and gradient) of SEQ_LEN steps, on one device."""
    made = build_cell(cell, hidden_size, SEQ_LEN)
    params = jax.jit(lambda key: made.init(key, input_size))(jax.random.key(0))
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(SEQ_LEN, BATCH_SIZE, input_size)), jnp.float32)

    def loss(params, xs):
        return jnp.mean(unroll(made, params, xs)[1] ** 2)

    gradient = jax.jit(jax.value_and_grad(loss), compiler_options=compiler_options())
    jax.block_until_ready(gradient(params, xs))
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        jax.block_until_ready(gradient(params, xs))
        seconds.append(time.perf_counter() - begin)
    return 1000 * statistics.median(seconds)


def ranking(cells: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """`experiments.ranking.ranking` of the cells of a summary, and what each costs.

    `horizon` is the median over tasks and lags of the gradient horizon at initialisation, in steps; infinite where it
    lies beyond the lag.
    """
    horizon = cells.groupby("variant")["gradient_horizon"].median().rename("horizon")
    costs = cost.set_index("variant")[["milliseconds", "num_params", "hidden_size"]]
    return ranked_by_reach(cells).join(longest_solved(cells)).join(horizon).join(costs)


def ranking_table(ranked: pd.DataFrame, cells: pd.DataFrame) -> str:
    tasks, num_pairs, longest = cells["task"].unique(), len(pairs(cells)), cells["seq_len"].max()
    header = ["", "cell", *(f"longest T, {task}" for task in tasks), "solved", "loss left", "gradient horizon at start"]
    header += ["ms a training step", "units", "parameters"]
    lines = [
        [
            place,
            name,
            *(reach_text(row[task]) for task in tasks),
            solved_of_run(row, num_pairs),
            f"{figure(100 * row['left'])} %",
            horizon_text(row["horizon"], longest),
            figure(row["milliseconds"]),
            int(row["hidden_size"]),
            int(row["num_params"]),
        ]
        for place, (name, row) in enumerate(ranked.iterrows(), 1)
    ]
    return markdown(header, lines)


def learnt_by_cost(cells: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """A row per variant that was run at the shortest lag of every task: `learnt`, the share of the chance loss that
    training has removed there, a mean over tasks; `milliseconds` of a step; and `longest`, the longest lag solved.

    Lags at which only those that solved the shortest were run are left out of `learnt`: there cells would be compared
    on different pairs.
    """
    shortest = cells[cells["seq_len"] == cells.groupby("task")["seq_len"].transform("min")]
    rows = (
        shortest.assign(learnt=1 - loss_left(shortest)).groupby("variant", sort=False)["learnt"].agg(["mean", "size"])
    )
    rows = rows[rows["size"] == shortest["task"].nunique()].rename(columns={"mean": "learnt"})
    longest = longest_solved(cells).max(axis=1).rename("longest")
    return rows[["learnt"]].join(cost.set_index("variant")["milliseconds"]).join(longest)


def frontier(points: pd.DataFrame) -> list[str]:
    """The variants that nothing cheaper has learnt as much as, the cheapest first."""
    ordered = points.sort_values(["milliseconds", "learnt"], ascending=[True, False])
    before = ordered["learnt"].cummax().shift(fill_value=-np.inf)
    return list(ordered.index[ordered["learnt"] > before])


def reach_by_cost(points: pd.DataFrame, left_out: Sequence[str] = (), seeds: str = "") -> Figure:
    """A point per cell: what it learns against what a step costs, coloured by the longest lag it solves."""
    drawn = Figure(figsize=(9, 6), layout="constrained")
    axis = drawn.subplots()
    lags = sorted(points["longest"].unique())
    colours = colormaps["viridis"](np.linspace(0.05, 0.95, len(lags)))
    for lag, colour in zip(lags, colours, strict=True):
        some = points[points["longest"] == lag]
        label = f"solves T = {lag:.0f} in some task" if lag else "solves none"
        axis.scatter(some["milliseconds"], some["learnt"], color=colour, s=34, edgecolors="0.3", linewidths=0.5,
                     label=f"{label} ({len(some)} cells)", zorder=3)  # fmt: skip
    best = frontier(points)
    axis.plot(points.loc[best, "milliseconds"], points.loc[best, "learnt"], color="0.5", drawstyle="steps-post",
              linewidth=1, zorder=2, label="nothing cheaper has learnt as much")  # fmt: skip
    for name in best:  # up and to the left of them is nothing
        at = points.loc[name, "milliseconds"], points.loc[name, "learnt"]
        where = {"xytext": (-5, 4), "textcoords": "offset points", "ha": "right", "fontsize": 8}
        axis.annotate(name.replace("$", r"\$"), at, **where)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: f"{x:g}" if f"{x:.0e}"[0] in "235" else ""))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.margins(x=0.12)
    axis.set_xlabel(f"ms a training step (T = {SEQ_LEN}, B = {BATCH_SIZE}; left is cheaper)")
    axis.set_ylabel("share of the chance loss removed at the shortest lag,\nmean over tasks (up is better)")
    axis.grid(color="0.92", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.legend(loc="lower right", fontsize=8)
    axis.set_title(f"What a cell learns, and what a step of it costs, at equal parameters{seeds}", fontsize=11)
    if left_out:
        text = textwrap.fill(f"Not run at the shortest lag of every task, so not shown: {', '.join(left_out)}.", 120)
        drawn.supxlabel(text, fontsize=8)
    return drawn


def costs(
    runs: pd.DataFrame, path: Path, rounds: int, again: bool, console: Console, trust_code: bool = False
) -> pd.DataFrame:
    """The time of a training step of every variant: from the file where it has it at this size, else measured."""
    sizes = runs.drop_duplicates("variant")  # the first task's, the others' differ a little
    known: dict[tuple, dict] = {}
    if path.is_file() and not again:
        recorded = pd.read_csv(path, dtype=dict.fromkeys(MEASURED_AT, str)).fillna(NOT_SAID)
        known = {(row["variant"], row["hidden_size"]): row for row in recorded.to_dict("records")}
    missing = [one for one in sizes.itertuples() if (one.variant, one.hidden_size) not in known]
    for one in track(missing, "timing training steps", console=console, disable=not missing):
        cell = ":".join(one.variant.split(" "))
        check_named_by_file(cell, f"{path.parent / 'runs.csv'}", trust_code)
        input_size = make_task(one.task, int(one.seq_len)).input_size
        milliseconds = step_milliseconds(cell, int(one.hidden_size), input_size, rounds)
        known[one.variant, one.hidden_size] = {
            "milliseconds": float(f"{milliseconds:.5g}"),
            "git_commit": git_commit(),
            "date": datetime.date.today().isoformat(),
            "device": jax.devices()[0].device_kind,
        }
    rows = []
    for one in sizes.itertuples():
        timed = known[one.variant, one.hidden_size]
        made = {name: timed.get(name, NOT_SAID) for name in MEASURED_AT}
        same = {"hidden_size": one.hidden_size, "num_params": one.num_params}
        rows.append({"variant": one.variant, "milliseconds": timed["milliseconds"], **same, **made})
    cost = pd.DataFrame(rows)
    cost.to_csv(path, index=False)
    return cost


def timed_at(cost: pd.DataFrame) -> str:
    """When, at which commits and on what the steps were timed."""
    texts = (f"{name.replace('git_', '')} {', '.join(sorted(cost[name].unique()))}" for name in MEASURED_AT)
    return f"- Steps timed: {'; '.join(texts)}"


def run(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Rank the cells of a folder, timing steps where they are not timed yet."""
    folder = options.folder
    runs = read_runs(folder)
    cost = costs(runs, folder / "cost.csv", options.rounds, options.again, console, options.trust_code)
    cells = summary(runs)
    ranked = ranking(cells, cost)
    seeds = " to ".join(map(str, sorted({int(cells["n"].min()), int(cells["n"].max())})))
    points = learnt_by_cost(cells, cost)
    left_out = [name for name in ranked.index if name not in points.index]
    text = (
        "# The zoo, ranked\n\n"
        f"**{what_it_is(runs, cells)}**\n\n"
        f"By reach: the longest lag that more than half of the seeds (n = {seeds}) solve at the learning rate that is "
        "best by validation loss, its mean over tasks; then by the share of the chance loss that is left, averaged "
        "over all (task, lag) pairs. Cells that were not run at every pair come after those with the same reach that "
        "were; – stands for a task not run, 0 for one never solved. The gradient horizon is that at initialisation, "
        f"its median over the pairs. A training step is timed alone, on one device: T = {SEQ_LEN}, B = {BATCH_SIZE}, "
        "a median.\n\n"
        f"```\n{command('experiments.zoo', argv)}\n```\n\n"
        f"{made_with(runs, date_of(folder, read_config(folder)))}\n{timed_at(cost)}\n\n"
        f"{ranking_table(ranked, cells)}\n\n"
        "![What cells learn, and the cost of a step](reach_by_cost.png)\n"
    )
    (folder / "ranking.md").write_text(text, encoding="utf-8")
    reach_by_cost(points, left_out, f" (n = {seeds})").savefig(folder / "reach_by_cost.png", dpi=144)
    console.print(f"{folder / 'ranking.md'}, {folder / 'reach_by_cost.png'}")


def what_it_is(runs: pd.DataFrame, cells: pd.DataFrame) -> str:
    """How many seeds and steps it rests on, and what is missing, in a sentence."""
    seeds = sorted({int(n) for n in cells["n"]})
    texts = [f"{' or '.join(map(str, seeds))} seed{'s' if seeds[-1] > 1 else ''}"]
    if "num_steps" in runs:
        steps = [f"{value:,.0f}" for value in sorted(runs["num_steps"].dropna().unique())]
        texts.append(f"{' or '.join(steps)} training steps")
    pairs_run = [
        f"{task} at {lag}: {len(rows)}" for (task, lag), rows in cells.groupby(["task", "seq_len"], sort=False)
    ]
    texts.append(f"cells that were run, of {cells['variant'].nunique()}, on {'; '.join(pairs_run)}")
    few = " One seed cannot tell places in this order apart." if seeds[0] < 2 else ""
    return f"{', '.join(texts)}.{few}"
