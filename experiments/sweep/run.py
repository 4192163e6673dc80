"""Runs a sweep into a folder, group by group: every finished group is kept, any interruption survived."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import numpy as np
import pandas as pd

from experiments.shared.provenance import git_commit
from experiments.shared.stopping import WORTH_SAVING_SECONDS, patience
from experiments.sweep.folder import Folder
from experiments.sweep.plan import Group, Plan
from experiments.sweep.program import Program, make_program
from experiments.sweep.rows import Outcome, curves_of, row_of, shared_columns
from rnnjax.tasks import Task
from rnnjax.training.checkpoint import Checkpoints
from rnnjax.training.train import Data, Metrics, State, make_data

CHECKPOINT_SECONDS = 60.0  # a kill loses at most about this much work


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a chunk of training, or, with `finished`, once a group's rows are in runs.csv."""

    group: Group
    step: int
    finished: bool = False
    measured: Metrics | None = None  # in the chunk, by trial; NaN for those that ended before


def run(planned: Plan, folder: Folder) -> Iterator[Progress]:
    """Run what is left, telling of each chunk; the rows of each group go to the folder as soon as it is finished.

    While one group runs, the next one is compiled: where trials are short that is half of the time.
    """
    held_out: dict[tuple, Data] = {}
    git_commit()  # of the code that runs, not of what is there when a long run ends

    def compiled(one: Group) -> tuple[Group, Task, Data, Program]:
        first = one.trials[0]
        key = first.task, first.seq_len, first.num_validation, first.num_test
        task = planned.tasks[key[:2]]
        if key not in held_out:
            held_out.clear()  # one task's data in memory at a time, beside that of the group under way
            held_out[key] = make_data(task, *key[2:])
        return one, task, held_out[key], make_program(one, task, held_out[key])

    with ThreadPoolExecutor(max_workers=1) as compiler:
        coming = [compiler.submit(compiled, one) for one in planned.groups[:1]]
        for one in (*planned.groups[1:], None):
            if not coming:
                break
            ready = coming.pop().result()
            if one is not None:
                coming.append(compiler.submit(compiled, one))
            yield from _run_group(*ready, folder, planned.stage)


def _run_group(one: Group, task: Task, data: Data, program: Program, folder: Folder, stage: str) -> Iterator[Progress]:
    first = one.trials[0]
    num_chunks = first.num_steps // first.eval_every
    state = program.state
    norms_at_start = np.asarray(program.log_gradient_norms(state.params))
    empty = np.full((num_chunks, program.width), np.nan, np.float32)
    metrics = Metrics(empty, empty.copy(), empty.copy())
    done, run_seconds = 0, 0.0

    checkpoints = None
    path = folder.checkpoints(one, program.width)
    if path.exists():
        checkpoints = Checkpoints(path)
        saved = checkpoints.latest(state=jax.device_get(state), curves=metrics)
        if saved is not None:
            done, run_seconds, parts = saved
            state, metrics = program.spread(parts["state"]), Metrics(*map(np.array, parts["curves"]))
    last_save = time.perf_counter()
    unsaved: float | None = None  # since when there is work that no checkpoint has

    def worth_saving() -> bool:
        return unsaved is not None and time.perf_counter() - unsaved > WORTH_SAVING_SECONDS

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
                if asked() or time.perf_counter() - last_save > CHECKPOINT_SECONDS:
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
    shared = shared_columns(one, program, data, run_seconds, stage)
    rows = [row_of(outcome, task, shared) for outcome in outcomes]
    folder.add(rows, pd.concat([curves_of(outcome) for outcome in outcomes], ignore_index=True))
    yield Progress(one, first.num_steps, finished=True)


def _small(state: State) -> State:
    """What is no parameter in a state, on the host."""
    return jax.device_get(state._replace(params=None, optimizer=None, best_params=None))
