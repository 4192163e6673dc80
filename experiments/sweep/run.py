"""Runs a sweep into a folder, group by group: every finished group is kept, any interruption survived."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from experiments.shared.provenance import git_commit
from experiments.shared.stopping import WORTH_SAVING_SECONDS, patience
from experiments.sweep.record.folder import Folder
from experiments.sweep.record.rows import Outcome, curves_of, row_of, shared_columns
from experiments.sweep.trials.plan import Group, Plan
from experiments.sweep.trials.program import Program, make_program
from rnnjax.tasks import Task
from rnnjax.training.checkpoint import Checkpoints
from rnnjax.training.train import Data, Metrics, State, make_data

CHECKPOINT_SECONDS = 60.0  # a kill loses at most about this much work


class Result(NamedTuple):
    """What a finished group leaves."""

    rows: list[dict[str, Any]]  # of runs.csv, one for each trial
    curves: pd.DataFrame
    error: str = ""  # why it failed, where it did: the rows say so, too


@dataclass(frozen=True)
class Progress:
    """Where a group stands after a chunk of training, or, with a result, at its end."""

    group: Group
    step: int
    result: Result | None = None
    measured: Metrics | None = None  # in the chunk, by trial; NaN for those that ended before
    node: str = ""  # which machine of a cluster it runs on

    @property
    def finished(self) -> bool:
        return self.result is not None


# What runs the groups of a plan, in any order and on any machine, given the folder for their checkpoints, and tells of
# what came to pass since it last did. Each group ends in one Progress with a result.
Runner = Callable[[Plan, Path], Iterator[list[Progress]]]


def run(planned: Plan, folder: Folder, runner: Runner | None = None) -> Iterator[Progress]:
    """Run what is left, telling of each chunk; the rows of each group go to the folder before it is told of."""
    git_commit()  # of the code that runs, not of what is there when a long run ends
    for some in (runner or run_here)(planned, folder.checkpoints):
        if results := [progress.result for progress in some if progress.result is not None]:
            rows = [row for result in results for row in result.rows]
            folder.add(rows, pd.concat([result.curves for result in results], ignore_index=True))
        yield from some


def run_here(planned: Plan, checkpoints: Path) -> Iterator[list[Progress]]:
    """Run group after group on the devices of this process.

    While one group runs, the next one is compiled: where trials are short that is half of the time.
    """
    held_out: dict[tuple, Data] = {}

    def compiled(one: Group) -> tuple[Group, Task, Program]:
        first = one.trials[0]
        key = first.task, first.seq_len, first.num_validation, first.num_test
        task = planned.tasks[key[:2]]
        if key not in held_out:
            held_out.clear()  # one task's data in memory at a time, beside that of the group under way
            held_out[key] = make_data(task, *key[2:])
        return one, task, make_program(one, task, held_out[key])

    with ThreadPoolExecutor(max_workers=1) as compiler:
        coming = [compiler.submit(compiled, one) for one in planned.groups[:1]]
        for one in (*planned.groups[1:], None):
            if not coming:
                break
            ready = coming.pop().result()
            if one is not None:
                coming.append(compiler.submit(compiled, one))
            for progress in run_group(*ready, planned.stage, checkpoints, CHECKPOINT_SECONDS):
                yield [progress]


def run_group(
    one: Group, task: Task, program: Program, stage: str, folder: Path | None, every: float
) -> Iterator[Progress]:
    """Run a group, or go on with it from its checkpoint in `folder`, where one is kept `every` so many seconds.

    At another width (another number of devices) it starts anew.
    """
    first = one.trials[0]
    num_chunks = first.num_steps // first.eval_every
    state = program.state
    norms_at_start = np.asarray(program.log_gradient_norms(state.params))
    empty = np.full((num_chunks, program.width), np.nan, np.float32)
    metrics = Metrics(empty, empty.copy(), empty.copy())
    done, run_seconds = 0, 0.0

    checkpoints = None
    path = folder and folder / f"{one.id}-{program.width}"
    if path is not None and path.exists():
        checkpoints = Checkpoints(path)
        saved = checkpoints.latest(state=jax.device_get(state), curves=metrics)
        if saved is not None:
            done, run_seconds, parts = saved
            state, metrics = program.spread(parts["state"]), Metrics(*map(np.array, parts["curves"]))
    last_save = time.perf_counter()
    unsaved: float | None = None  # since when there is work that no checkpoint has

    def worth_saving() -> bool:
        return path is not None and unsaved is not None and time.perf_counter() - unsaved > WORTH_SAVING_SECONDS

    with patience(worth_saving) as asked:
        try:
            while done < num_chunks and not (first.stop_when_solved and _small(state).ended.all()) and not asked():
                start = time.perf_counter()
                state, new = program.chunk(state)
                measured = jax.device_get(new)
                for series, values in zip(metrics, measured, strict=True):
                    series[done] = values
                done += 1
                run_seconds += time.perf_counter() - start
                unsaved = unsaved or time.perf_counter()
                if path is not None and (asked() or time.perf_counter() - last_save > every):
                    checkpoints = checkpoints or Checkpoints(path)
                    checkpoints.save(done, run_seconds, state=state, curves=metrics)
                    last_save, unsaved = time.perf_counter(), None
                yield Progress(one, done * first.eval_every, measured=measured)
        finally:
            if checkpoints is not None:
                checkpoints.close()

    start = time.perf_counter()
    test_loss, test_accuracy = jax.device_get(program.test(state.best_params))
    ended = _small(state)
    evaluations = ended.step // first.eval_every  # of each trial, until it ended
    norms_at_end = np.asarray(program.log_gradient_norms(state.best_params))
    run_seconds += time.perf_counter() - start
    outcomes = [
        Outcome(
            trial=trial,
            metrics=Metrics(*(series[: evaluations[i], i] for series in metrics)),
            test_loss=float(test_loss[i]),
            test_accuracy=float(test_accuracy[i]),
            diverged=bool(ended.diverged[i]),
            norms_at_start=norms_at_start[i],
            norms_at_end=norms_at_end[i],
        )
        for i, trial in enumerate(one.trials)
    ]
    shared = shared_columns(one, task, program, run_seconds, stage)
    rows = [row_of(outcome, task, shared) for outcome in outcomes]
    curves = pd.concat([curves_of(outcome) for outcome in outcomes], ignore_index=True)
    yield Progress(one, first.num_steps, Result(rows, curves))


def _small(state: State) -> State:
    """What is no parameter in a state, on the host."""
    return jax.device_get(state._replace(params=None, optimizer=None, best_params=None))
