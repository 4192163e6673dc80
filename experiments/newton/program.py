"""Iterations and exponents of many cells, side by side; the rows of each are kept when it is done."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from rich.console import Console

from experiments.newton.records import AFTER, BEFORE, ITERATIONS, SETTING, add, read, source
from experiments.newton.report import write_report
from experiments.newton.settings import Options
from experiments.shared.cells import build_cell
from experiments.shared.start import num_cores
from rnnjax.cell import Array, Cell
from rnnjax.cells import CELLS
from rnnjax.compiling import run_once_options
from rnnjax.gradients import lyapunov_spectrum, state_size
from rnnjax.newton import Newton, solve
from rnnjax.tasks import make_task
from rnnjax.training.optimizers import Hyper
from rnnjax.training.train import Data, make_data, make_trainer

NUM_EXAMPLES = 4  # sequences that are solved as one batch
HYPER = Hyper(1e-2, clip_norm=1.0)
NUM_VALIDATION = 500


class Found(NamedTuple):
    """What is measured of one cell with parameters of one seed."""

    iterations: Array
    converged: Array
    residual: Array
    growth: Array
    exponent: Array  # the largest, the mean over sequences


def run(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Measure every cell that is not measured yet, and write the report."""
    cells = list(dict.fromkeys(options.cells or CELLS))
    for text in cells:
        build_cell(text, options.hidden_size, options.lag + 1)
    there = set() if options.again else measured(options)
    todo = [text for text in cells if any((text, seed) not in there for seed in range(options.seeds))]
    if len(todo) < len(cells):
        done = len(cells) - len(todo)
        console.print(f"{done} of {len(cells)} measured already, in {options.out}; --again measures anew")
    made_by = source("experiments.newton", argv)
    devices, data = jax.devices(), make_data(make_task("recall", options.lag), NUM_VALIDATION, 1)

    def one(position: int) -> list[dict[str, Any]]:
        with jax.default_device(devices[position % len(devices)]):
            return measure_cell(todo[position], data, options)

    with ThreadPoolExecutor(num_cores()) as workers:
        futures = {workers.submit(one, position): text for position, text in enumerate(todo)}
        try:
            for count, future in enumerate(as_completed(futures), 1):
                add(options.out, ITERATIONS, [row | made_by for row in future.result()])
                console.print(f"{count} of {len(todo)}: {futures[future]}", markup=False)
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
    console.print(f"{write_report(options.out)}")


def measured(options: Options) -> set[tuple[str, int]]:
    """The cells and seeds that the folder holds.

    Raises:
      ValueError: its rows are damaged, or were measured on something else.
    """
    rows = read(options.out, ITERATIONS)
    for name in SETTING:
        if other := sorted(set(rows[name]) - {getattr(options, name)}):
            raise ValueError(
                f"{options.out} holds rows of {name}={other[0]}, not {getattr(options, name)}: give another --out"
            )
    return set(rows[["cell", "seed"]].itertuples(index=False, name=None))


def measure_cell(text: str, data: Data, options: Options) -> list[dict[str, Any]]:
    """A row for each seed, at the start and after training: the parameters at its end, if its loss is finite there."""
    cell = build_cell(text, options.hidden_size, options.lag + 1)
    trainer = make_trainer(make_task("recall", options.lag), cell, steps_per_chunk=options.trained)

    def train(key: Array, data: Data) -> tuple:
        params = trainer.init(key)
        state, metrics = trainer.chunk(trainer.start(params), key, HYPER, data)
        return params, state.best_params, metrics.validation_accuracy, state.broken

    train_one = jax.jit(train, compiler_options=run_once_options())
    measure = jax.jit(lambda key, params: measure_one(cell, key, params, options), compiler_options=run_once_options())
    rows = []
    for seed in range(options.seeds):
        key = jax.random.key(seed)
        before, after, accuracy, broken = train_one(key, data)
        shared = {name: getattr(options, name) for name in SETTING} | {"cell": text, "seed": seed}
        shared |= {"linear": cell.linear, "state_size": state_size(cell, before.recurrent)}
        for at, params in {BEFORE: before, AFTER: after}.items():
            if at == AFTER and broken:
                continue
            found = jax.device_get(measure(key, params.recurrent))._asdict()
            right = float(accuracy) if at == AFTER else float("nan")
            rows.append(shared | {"at": at, "accuracy": right} | {name: value.item() for name, value in found.items()})
    return rows


def measure_one(cell: Cell, key: Array, params: Any, options: Options) -> Found:
    """Newton's method on one batch of long sequences of the task, and the exponent of the same trajectories."""
    task = make_task("recall", options.seq_len - 1)
    assert task.sample is not None  # recall is drawn
    drawn = jax.vmap(task.sample)(jax.random.split(jax.random.fold_in(key, 1), NUM_EXAMPLES))
    xs = jnp.moveaxis(drawn.inputs, 0, 1)
    method = Newton(max_iterations=options.most, fallback=False)
    record = solve(cell, params, xs, method=method).record
    spectrum = lyapunov_spectrum(cell, params, xs, num_exponents=1, burn_in=options.seq_len // 10)
    return Found(record.iterations, record.converged, record.residual, record.growth, spectrum.exponents.mean())
