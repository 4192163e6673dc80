"""Newton's method and a scan in turn, shape by shape."""

import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.newton.records import SIZES, TIMES, add, read, source
from experiments.newton.report import write_report
from experiments.newton.settings import TimesOptions
from experiments.shared.cells import build_cell
from rnnjax.cell import Cell
from rnnjax.compiling import compiler_options, run_once_options
from rnnjax.newton import Newton, solve
from rnnjax.unrolling import unroll

INPUT_SIZE = 8
BASE = {"seq_len": 1024, "batch_size": 1, "hidden_size": 8}
AXES = {"seq_len": (256, 1024, 4096, 16384), "batch_size": (1, 8, 64), "hidden_size": (2, 8, 32)}
DIAGONAL = ("indrnn", "para_gru")  # of these it is all there is of the Jacobian
MODES = ("forward", "train")
TURN_SECONDS = 0.1  # of calls in each turn of a method
QUANTILES = 0.1, 0.9  # of the ratios of the rounds


class Work(NamedTuple):
    """One thing to be timed."""

    cell: str
    mode: str
    seq_len: int
    batch_size: int
    hidden_size: int


def works(cells: Sequence[str]) -> list[Work]:
    """Every cell at BASE, and with one size at a time along its axis."""
    shapes = [BASE | {name: size} for name, sizes in AXES.items() for size in sizes]
    unique = dict.fromkeys(tuple(shape[name] for name in SIZES) for shape in shapes)
    return [Work(cell, mode, *shape) for mode, shape, cell in product(MODES, unique, dict.fromkeys(cells))]


def run(console: Console, options: TimesOptions, argv: Sequence[str]) -> None:
    """Time what is not timed yet, and write the report."""
    for text in options.cells:
        build_cell(text, BASE["hidden_size"], BASE["seq_len"])
    rows = read(options.out, TIMES)
    there = set() if options.again else {Work(*key) for key in rows[list(Work._fields)].itertuples(index=False)}
    todo = [work for work in works(options.cells) if work not in there]
    made_by = source("experiments.newton.times", argv)
    for count, work in enumerate(todo, 1):
        row = work._asdict() | timed(work, options.rounds) | made_by
        add(options.out, TIMES, [row])
        what = f"{count} of {len(todo)}: {' '.join(map(str, work))}"
        console.print(f"{what}: scan {row['scan_ms']:.3g} ms, Newton {row['ratio']:.2f} times that", markup=False)
    console.print(f"{write_report(options.out)}")


def timed(work: Work, rounds: int) -> dict[str, Any]:
    """Both methods on the same inputs, at the parameters that training starts from."""
    cell = build_cell(work.cell, work.hidden_size, work.seq_len)
    params = cell.init(jax.random.key(0), INPUT_SIZE)
    xs = jax.random.normal(jax.random.key(1), (work.seq_len, work.batch_size, INPUT_SIZE))
    kind: Literal["full", "diagonal"] = "diagonal" if work.cell in DIAGONAL else "full"
    method = Newton(jacobian=kind)
    what_happens = lambda params, xs: solve(cell, params, xs, method=method).record
    record = jax.jit(what_happens, compiler_options=run_once_options())(params, xs)
    calls = {
        "scan": compiled(cell, work.mode, params, xs),
        "newton": compiled(cell, work.mode, params, xs, method=method),
    }
    times: dict[str, list[list[float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(turn(call))
    ratios = [min(a) / min(b) for a, b in zip(times["newton"], times["scan"], strict=True)]
    low, high = np.quantile(ratios, QUANTILES)
    return {
        "jacobian": kind,
        "iterations": int(record.iterations),
        "converged": bool(record.converged),
        **{f"{name}_ms": 1e3 * min(map(min, some)) for name, some in times.items()},
        "ratio": float(np.median(ratios)),
        "ratio_low": float(low),
        "ratio_high": float(high),
        "rounds": rounds,
    }


def compiled(cell: Cell, mode: str, params: Any, xs: Any, **options: Any) -> Callable[[], Any]:
    """A forward pass, or the mean of the squared outputs and its gradient by the parameters; called once already."""

    def forward(params: Any, xs: Any) -> Any:
        return unroll(cell, params, xs, **options)[1]

    train = jax.value_and_grad(lambda params, xs: jnp.mean(forward(params, xs) ** 2))
    program = jax.jit(train if mode == "train" else forward, compiler_options=compiler_options())
    ready = program.lower(params, xs).compile()
    call = lambda: jax.block_until_ready(ready(params, xs))
    call()
    return call


def turn(call: Callable[[], Any]) -> list[float]:
    """The seconds of each call, two at the least; one before them is not counted: caches are another method's."""
    call()
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < TURN_SECONDS:
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return seconds
