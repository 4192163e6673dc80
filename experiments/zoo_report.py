"""python -m experiments.zoo_report: rank the cells of results/zoo by what they learn and by what a step costs.

Training steps are timed here, one cell after another, at the sizes the zoo ran them with; the sweep's own seconds
are not used, for it compiles the next program while one runs. Writes cost.csv, ranking.md and reach_by_cost.png.
"""

import argparse
import statistics
import sys
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

from experiments.record import command
from experiments.spec import build_cell
from experiments.start import start
from experiments.table import figure, horizon_text, markdown, read_runs, summary
from rnnjax.parallel import compiler_options
from rnnjax.tasks import make_task
from rnnjax.unroll import unroll

SEQ_LEN, BATCH_SIZE = 100, 32
FLAT = 1e4  # steps; a gradient that does not fall is drawn here


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


def ranking(runs: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """One row per variant, the best first: (task, lag) pairs that most seeds solve, then share of chance loss left.

    `left` is the median test loss over the chance loss, clipped at 1 and averaged over tasks and lags; `reach` the
    median over them of the gradient horizon at initialisation, in steps.
    """
    cells = summary(runs)
    cells["most"] = cells["solved"] > cells["n"] / 2
    cells["left"] = (cells["test_loss"] / cells["chance_loss"]).clip(upper=1.0).fillna(1.0)
    longest = cells[cells["most"]].groupby(["variant", "task"])["seq_len"].max().unstack()
    ranked = cells.groupby("variant", sort=False).agg(
        solved=("most", "sum"), of=("most", "size"), left=("left", "mean"), reach=("gradient_horizon", "median")
    )
    ranked = ranked.join(longest).join(cost.set_index("variant")[["milliseconds", "num_params", "hidden_size"]])
    return ranked.sort_values(["solved", "left"], ascending=[False, True])


def ranking_table(ranked: pd.DataFrame, tasks: Sequence[str]) -> str:
    header = ["", "cell", "solved", *(f"longest T, {task}" for task in tasks), "loss left", "gradient horizon at start"]
    header += ["ms a training step", "units", "parameters"]
    lines = [
        [
            place,
            name,
            f"{int(row['solved'])} of {int(row['of'])}",
            *("–" if pd.isna(row.get(task)) else int(row[task]) for task in tasks),
            f"{100 * row['left']:.1f} %",
            horizon_text(row["reach"], FLAT),
            figure(row["milliseconds"]),
            int(row["hidden_size"]),
            int(row["num_params"]),
        ]
        for place, (name, row) in enumerate(ranked.iterrows(), 1)
    ]
    return markdown(header, lines)


def reach_by_cost(ranked: pd.DataFrame) -> Figure:
    """Every cell by the time of a training step and by how much of the chance loss it leaves; colour is reach."""
    drawn = Figure(figsize=(11, 8), layout="constrained")
    axis = drawn.subplots()
    reach = np.log10(ranked["reach"].clip(lower=1, upper=FLAT).fillna(1))
    points = axis.scatter(ranked["milliseconds"], ranked["left"], c=reach, cmap="viridis", s=28, zorder=3)
    for name, row in ranked.iterrows():
        place = (row["milliseconds"], row["left"])
        axis.annotate(name, place, fontsize=6.5, xytext=(3, 2), textcoords="offset points")
    axis.set_xscale("log")
    axis.set_xlabel(f"milliseconds a training step (T = {SEQ_LEN}, B = {BATCH_SIZE}, equal parameters)")
    axis.set_ylabel("test loss left, as a share of chance, mean over tasks and lags (lower is better)")
    axis.grid(color="0.92", linewidth=0.7)
    drawn.colorbar(points, ax=axis, label="log10 of the gradient horizon at initialisation, in steps")
    return drawn


def run(console: Console, args: argparse.Namespace, argv: Sequence[str]) -> None:
    folder = Path(args.folder)
    runs = read_runs(folder)
    sizes = runs.drop_duplicates("variant")  # the first task's, the others' differ a little
    rows = []
    for one in track(list(sizes.itertuples()), "timing training steps", console=console):
        cell = ":".join(one.variant.split(" "))
        input_size = make_task(one.task, int(one.seq_len)).input_size
        milliseconds = step_milliseconds(cell, int(one.hidden_size), input_size, args.rounds)
        rows.append({"variant": one.variant, "milliseconds": milliseconds, "hidden_size": one.hidden_size,
                     "num_params": one.num_params})  # fmt: skip
    cost = pd.DataFrame(rows)
    cost.to_csv(folder / "cost.csv", index=False, float_format="%.5g")
    ranked = ranking(runs, cost)
    tasks, seeds = list(runs["task"].unique()), runs.groupby("variant")["seed"].nunique().min()
    text = (
        "# The zoo, ranked\n\n"
        f"By the (task, lag) pairs that more than half of the {seeds} or more seeds solve (at the learning rate "
        "that is best by validation loss), then by the share of the chance loss that "
        "is left, averaged over all pairs. The gradient horizon is that at initialisation, its median over the pairs. "
        f"A training step is timed alone, on one device: T = {SEQ_LEN}, B = {BATCH_SIZE}, median of {args.rounds}.\n\n"
        f"```\n{command('experiments.zoo_report', argv)}\n```\n\n{ranking_table(ranked, tasks)}\n\n"
        "![Loss left against the cost of a step](reach_by_cost.png)\n"
    )
    (folder / "ranking.md").write_text(text, encoding="utf-8")
    reach_by_cost(ranked).savefig(folder / "reach_by_cost.png", dpi=144)
    console.print(f"{folder / 'ranking.md'}, {folder / 'reach_by_cost.png'}")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m experiments.zoo_report", description=__doc__.splitlines()[0])
    p.add_argument("folder", nargs="?", default="results/zoo", metavar="DIR", help="default results/zoo")
    p.add_argument("--rounds", type=int, default=9, help="timed steps of each cell (default 9)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    return start(run, parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
