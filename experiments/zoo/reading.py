"""The cells of the zoo, ranked by what they learn and by what a step costs."""

import datetime
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from experiments.shared.cells import build_cell, check_named_by_file
from experiments.shared.numbers import figure, horizon_text, markdown
from experiments.shared.provenance import command, git_commit
from experiments.shared.records import NOT_SAID
from experiments.sweep.page import date_of, made_with, read_config
from experiments.sweep.tables.ranking import (
    longest_solved,
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
LEAST_LEFT = 1e-5  # share of the chance loss; what leaves less is drawn here
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


def frontier(ranked: pd.DataFrame) -> list[str]:
    """The variants that no better one undercuts: each is cheaper than all that stand above it."""
    cheapest = ranked["milliseconds"].cummin()
    return list(ranked.index[(ranked["milliseconds"] <= cheapest) & ~cheapest.duplicated()])


def reach_by_cost(ranked: pd.DataFrame) -> Figure:
    """A line per cell, the best at the top: its reach, the loss it leaves, what a step costs, and where it started."""
    panels = {
        "reach": "longest lag solved,\nmean over tasks",
        "left": "loss left, as a share of chance\n(lower is better)",
        "milliseconds": f"ms a training step\n(T = {SEQ_LEN}, B = {BATCH_SIZE})",
        "horizon": "gradient horizon at\ninitialisation, in steps",
    }
    drawn = Figure(figsize=(12, 1.8 + 0.15 * len(ranked)), layout="constrained")
    axes = drawn.subplots(1, len(panels), sharey=True)
    place, best = np.arange(len(ranked)), frontier(ranked)
    colours = ["C3" if name in best else "0.45" for name in ranked.index]
    beyond = 2 * ranked["horizon"].where(np.isfinite(ranked["horizon"])).max()  # drawn here if infinite
    shown = ranked.assign(
        left=ranked["left"].clip(lower=LEAST_LEFT), horizon=ranked["horizon"].clip(0.1, beyond if beyond > 0 else 1.0)
    )
    for axis, (column, label) in zip(axes, panels.items(), strict=True):
        axis.scatter(shown[column], place, c=colours, s=14, zorder=3)
        axis.set_xlabel(label, fontsize=9)
        axis.set_xscale("linear" if column == "reach" else "log")
        axis.grid(color="0.92", linewidth=0.7)
        axis.set_axisbelow(True)
    axes[0].set_yticks(place, ranked.index, fontsize=7)
    axes[0].set_ylim(len(ranked) - 0.4, -0.6)
    for tick, colour in zip(axes[0].get_yticklabels(), colours, strict=True):
        tick.set_color("C3" if colour == "C3" else "0.1")
    what = "Reach against cost, at equal parameters. Red: cheaper than every cell above it."
    drawn.suptitle(f"{what} Horizons beyond the lag stand at the right edge.", fontsize=10)
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
    text = (
        "# The zoo, ranked\n\n"
        f"By reach: the longest lag that more than half of the seeds (n = {seeds}) solve at the learning rate that is "
        "best by validation loss, its mean over tasks; then by the share of the chance loss that is left, averaged "
        "over all (task, lag) pairs. Cells that were not run at every pair come after those with the same reach that "
        "were; – stands for a task not run, 0 for one never solved. The gradient horizon is that at initialisation, "
        f"its median over the pairs. A training step is timed alone, on one device: T = {SEQ_LEN}, B = {BATCH_SIZE}, "
        "a median.\n\n"
        f"```\n{command('experiments.zoo', argv)}\n```\n\n{ranking_table(ranked, cells)}\n\n"
        "![Reach, loss left and the cost of a step](reach_by_cost.png)\n"
    )
    (folder / "ranking.md").write_text(text, encoding="utf-8")
    reach_by_cost(ranked).savefig(folder / "reach_by_cost.png", dpi=144)
    console.print(f"{folder / 'ranking.md'}, {folder / 'reach_by_cost.png'}")
