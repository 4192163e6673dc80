"""The network written by hand for many seeds, and cells beside it: measured, timed, plotted and recorded."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter
from rich.console import Console

from experiments.addition import by_hand, program as addition
from experiments.addition.settings import Options, SeedsOptions
from experiments.shared.cells import variant
from experiments.shared.looks import style
from experiments.shared.numbers import wilson
from experiments.shared.provenance import provenance
from experiments.shared.results import record

PLOT = "share_perfect_by_step.png"
CAPTION = "Share of seeds for which all 16,384 pairs come out right, by training step, with 95 % Wilson intervals."
TEXT = """Two numbers below 128 go in bit by bit, the least significant first, and the bits of their sum come out, 8
steps in all. "by hand" is 16 sigmoid units without biases, weights from uniform(-1, 1), trained by gradient descent at
rate 0.1 on half the squared error, one pair a step. The others are 16 units of a cell of the library, one pair a step
too, on binary cross-entropy; their optimizer and learning rate are columns of `runs.csv`. Every measured step tests all
pairs; the parameters are those of that step, none are chosen. Training draws from the same 16,384 pairs, so nothing
here is held out: the question is whether addition is learnt in full, not whether it carries over.

Preset "timing": `split` says how so many networks by hand were trained, by one vmap or in a loop over seeds of the same
jitted training. Its rows are repetitions, the two ways in turn, compilation left out; the column `load_average` says
how busy the machine was with other work."""


def seconds_of(function: Callable, *arguments) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def trained_by_hand(keys: jax.Array, num_steps: int, every: int) -> tuple[np.ndarray, float]:
    """Share of pairs right [times, seeds] of the network by hand, and the seconds of its training."""
    train = jax.jit(jax.vmap(lambda key: by_hand.train(key, num_steps, every))).lower(keys).compile()
    start = time.perf_counter()
    history = jax.block_until_ready(train(keys))
    seconds = time.perf_counter() - start
    shares = jax.jit(lambda history: jax.lax.map(lambda one: jax.lax.map(by_hand.share_right, one), history))(history)
    return np.asarray(shares).T, seconds


def timings(num_seeds: int, num_steps: int, every: int, repetitions: int) -> list[tuple[str, float]]:
    """(how, seconds) of training so many seeds by one vmap and by a loop over the same jitted training."""
    keys = jax.random.split(jax.random.key(0), num_seeds)
    one = jax.jit(lambda key: by_hand.train(key, num_steps, every))
    every_one = jax.jit(jax.vmap(one))
    ways = {"one vmap": lambda: every_one(keys), "loop over seeds": lambda: [one(key) for key in keys]}
    for run in ways.values():
        jax.block_until_ready(run())
    return [(how, seconds_of(run)) for _ in range(repetitions) for how, run in ways.items()]


def rows_of(what: dict[str, Any], exact: np.ndarray, every: int, at: Sequence[int]) -> list[dict[str, Any]]:
    """A row per metric and seed from the shares of pairs right [times, seeds]."""
    metrics = {f"steps until all pairs right, measured every {every:,}": addition.first_solved(exact, every)}
    for step in at:
        metrics[f"all pairs right at step {step:,}"] = exact[step // every - 1] == 1  # yes or no
        metrics[f"share of pairs right at step {step:,}"] = exact[step // every - 1]
    chance = {metric: 2.0 ** (1 - by_hand.NUM_BITS) for metric in metrics if metric.startswith("share of pairs")}
    return [
        {**what, "metric": metric, "split": "all pairs", "value": values[seed].item(), "seed": seed}
        | {"chance": chance.get(metric, np.nan)}
        for metric, values in metrics.items()
        for seed in range(exact.shape[1])
    ]


def plot(curves: dict[str, np.ndarray], every: int, path: Path) -> None:
    """Share of seeds perfect by step, from the shares of pairs right [times, seeds] of each network."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for (name, exact), look in zip(curves.items(), style(curves).values(), strict=True):
        steps = np.arange(1, len(exact) + 1) * every
        count, n = (exact == 1).sum(axis=1), exact.shape[1]
        low, high = np.array([wilson(c, n) for c in count]).T
        axis.plot(steps, count / n, **look, markersize=4, linewidth=1.4, label=f"{name} (n = {n})")
        axis.fill_between(steps, low, high, color=look["color"], alpha=0.12, linewidth=0)
    axis.set_xlabel("training step (one pair each)")
    axis.set_ylabel("share of seeds, all 16,384 pairs right")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlim(left=0)
    axis.grid(color="0.92", linewidth=0.7)
    axis.set_title(f"Binary addition below 128, 16 hidden units, measured every {every:,} steps", fontsize=11)
    axis.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=144)


def run(console: Console, options: SeedsOptions, argv: Sequence[str]) -> None:
    """Train, measure, time, and record."""
    every, settings = options.eval_every, Options()
    num_pairs = by_hand.LIMIT**2
    common = {
        "dataset": "pairs below 128",
        "num_test": num_pairs,
        "hidden_size": by_hand.HIDDEN_SIZE,
        "batch_size": 1,
        **provenance("experiments.addition.seeds", argv),
    }

    console.print(f"by hand: {options.seeds} seeds, {options.num_steps} steps")
    keys = jax.vmap(jax.random.key)(jnp.arange(options.seeds))
    exact, seconds = trained_by_hand(keys, options.num_steps, every)
    curves = {"by hand": exact}
    size = sum(leaf.size for leaf in by_hand.init(jax.random.key(0)))
    by_hand_columns = {"cell": "sigmoid, no biases", "num_params": size, "num_train": options.num_steps}
    by_hand_columns |= {"optimizer": "sgd", "learning_rate": by_hand.LEARNING_RATE}
    what = {**common, **by_hand_columns, "preset": "by hand", "wall_seconds": round(seconds / options.seeds, 4)}
    at = sorted({min(by_hand.NUM_STEPS, options.num_steps), options.num_steps})
    rows = rows_of(what, exact, every, at)
    console.print(f"    {(exact[-1] == 1).sum()} of {options.seeds} perfect at the end; {seconds:.1f} s of training")

    load = round(os.getloadavg()[0], 2)
    measured = timings(options.timing_seeds, options.num_steps, every, options.repetitions)
    whole = [("one vmap", seconds)]
    for count, times in ((options.timing_seeds, measured), (options.seeds, whole)):
        for i, (how, value) in enumerate(times):
            what = {**common, **by_hand_columns, "preset": "timing", "wall_seconds": value, "load_average": load}
            metric = f"seconds to train {count} seeds, {options.num_steps:,} steps each"
            rows.append({**what, "metric": metric, "split": how, "value": value, "seed": i // 2})
            console.print(f"    {count} seeds, {how}: {value:.2f} s")

    held_out = addition.all_pairs(by_hand.NUM_BITS)
    for cell in options.cell:
        network = addition.make_network(cell, by_hand.NUM_BITS, by_hand.HIDDEN_SIZE, settings.optimizer, 1, every)
        drawing, tell = addition.progress(console, variant(cell), options.cell_steps // every, every)
        with drawing:
            trained = addition.train(
                network, range(options.cell_seeds), settings.learning_rate, options.cell_steps // every, held_out, tell
            )
        curves[variant(cell)] = trained.exact
        what = {
            **common,
            "preset": "cell",
            "cell": variant(cell),
            "num_params": addition.num_params(trained.params),
            "num_train": options.cell_steps,
            "wall_seconds": round(trained.run_seconds / options.cell_seeds, 4),
            "optimizer": settings.optimizer,
            "learning_rate": settings.learning_rate,
        }
        rows += rows_of(what, trained.exact, every, [options.cell_steps])

    folder = options.out
    folder.mkdir(parents=True, exist_ok=True)
    plot(curves, every, folder / PLOT)
    console.print(f"{record(folder, rows, title='Binary addition', text=TEXT, plots={PLOT: CAPTION})}")
