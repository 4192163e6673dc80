"""Runs a sweep into a folder, group by group: every finished group is kept, any interruption survived."""

import json
import math
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from experiments.folder import CURVES, Folder
from experiments.programs import Group, Program, group, make_program
from experiments.spec import Sweep, Trial, parse_cell
from rnnjax.checkpoint import Checkpoints
from rnnjax.errors import unknown
from rnnjax.gradients import Horizon, gradient_horizon
from rnnjax.tasks import Task, make_task
from rnnjax.train import HELD_OUT_SEED, OPTIMIZERS, Data, Metrics, make_data, steps_to_solve

CHECKPOINT_SECONDS = 60.0  # a kill loses at most about this much work


@dataclass(frozen=True)
class Plan:
    """What is left to run of a sweep, checked and grouped."""

    groups: tuple[Group, ...]
    tasks: dict[tuple[str, int | None], Task]

    @property
    def num_trials(self) -> int:
        return sum(len(one.trials) for one in self.groups)

    def seconds(self, one: Group) -> float:
        """A rough cost of a group on a small machine: compilation, and operations at the rate small scans reach.

        A training step is taken as three forward passes of two operations a parameter and time step.
        """
        first = one.trials[0]
        task = self.tasks[first.task, first.seq_len]
        held_out = first.num_validation if task.splits is None else len(task.splits["validation"].inputs)
        evaluations = first.num_steps // first.eval_every * held_out / 3
        sequences = len(one.trials) * (first.num_steps * first.batch_size + evaluations)
        return 6.0 + 6.0 * sequences * task.num_steps * one.num_params / 4e10


def plan(sweep: Sweep, finished: frozenset[str] = frozenset(), data_dir: str | None = None) -> Plan:
    """Check every trial of a sweep before anything runs, and group those that are not finished.

    Raises:
      ValueError: an unknown task, cell, optimizer or option, or a value that does not fit.
    """
    trials = sweep.trials()
    for trial in trials:
        _check(trial)
    tasks = {}
    for trial in trials:
        key = trial.task, trial.seq_len
        if key not in tasks:
            tasks[key] = make_task(*key, data_dir)
    return Plan(tuple(group(trials, tasks, finished)), tasks)


def _check(trial: Trial) -> None:
    if trial.optimizer not in OPTIMIZERS:
        raise ValueError(unknown("optimizer", trial.optimizer, OPTIMIZERS))
    for field in ("hidden_size", "num_layers", "batch_size", "num_steps", "eval_every", "num_validation", "num_test"):
        if getattr(trial, field) < 1:
            raise ValueError(f"{field}={getattr(trial, field)} must be at least 1")
    if not 0 < trial.learning_rate < math.inf:
        raise ValueError(f"learning_rate={trial.learning_rate} must be above 0, and finite")
    for field in ("clip_norm", "clip_value"):
        if not getattr(trial, field) > 0:
            raise ValueError(f"{field}={getattr(trial, field)} must be above 0")
    for field in ("l1", "l2"):
        if not 0 <= getattr(trial, field) < math.inf:
            raise ValueError(f"{field}={getattr(trial, field)} must be 0 or above, and finite")
    if not 0 <= trial.seed < HELD_OUT_SEED:
        raise ValueError(f"seed={trial.seed} must be 0 or above, and below {HELD_OUT_SEED}")
    if trial.num_steps % trial.eval_every:
        raise ValueError(f"num_steps={trial.num_steps} must be a multiple of eval_every={trial.eval_every}")


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a chunk of training, or, with `finished`, once a group's rows are in runs.csv."""

    group: Group
    step: int
    finished: bool = False


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
            yield from _run_group(*ready, folder)
    folder.forget_checkpoints()


def _run_group(one: Group, task: Task, data: Data, program: Program, folder: Folder) -> Iterator[Progress]:
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
    try:
        while done < num_chunks:
            start = time.perf_counter()
            state, new = program.chunk(state)
            for series, values in zip(metrics, jax.device_get(new), strict=True):
                series[done] = values
            done += 1
            run_seconds += time.perf_counter() - start
            if time.perf_counter() - last_save > CHECKPOINT_SECONDS:
                checkpoints = checkpoints or Checkpoints(path)
                checkpoints.save(done, run_seconds, state=state, curves=metrics)
                last_save = time.perf_counter()
            yield Progress(one, done * first.eval_every)
    finally:
        if checkpoints is not None:
            checkpoints.close()

    start = time.perf_counter()
    test_loss, test_accuracy, diverged = jax.device_get((*program.test(state.best_params), state.diverged))
    norms_at_end = np.asarray(program.log_gradient_norms(state.best_params))
    run_seconds += time.perf_counter() - start
    outcomes = [
        _Outcome(
            trial=trial,
            metrics=Metrics(*(series[:, i] for series in metrics)),
            test_loss=float(test_loss[i]),
            test_accuracy=float(test_accuracy[i]),
            diverged=bool(diverged[i]),
            norms_at_start=norms_at_start[i],
            norms_at_end=norms_at_end[i],
        )
        for i, trial in enumerate(one.trials)
    ]
    shared = _shared_columns(one, program, data, run_seconds)
    rows = [_row(outcome, task, shared) for outcome in outcomes]
    folder.add(rows, pd.concat([_curves(outcome) for outcome in outcomes], ignore_index=True))
    yield Progress(one, first.num_steps, finished=True)


@dataclass(frozen=True)
class _Outcome:
    trial: Trial
    metrics: Metrics  # by evaluation
    test_loss: float
    test_accuracy: float
    diverged: bool
    norms_at_start: np.ndarray  # natural logarithms, by lag
    norms_at_end: np.ndarray


def _row(outcome: _Outcome, task: Task, shared: dict[str, Any]) -> dict[str, Any]:
    """One line of runs.csv. A diverged trial has no test result: its training ended in NaN or infinity."""
    trial, metrics = outcome.trial, outcome.metrics
    best = int(np.nanargmin(metrics.validation_loss)) if np.isfinite(metrics.validation_loss).any() else -1
    at_start, at_end = (_horizon(norms, task) for norms in (outcome.norms_at_start, outcome.norms_at_end))
    name, options = parse_cell(trial.cell)
    tested = not outcome.diverged
    return {
        "trial_id": trial.id,
        "variant": trial.variant,
        "cell": name,
        "cell_options": json.dumps(options),
        "task": trial.task,
        "seq_len": task.seq_len,
        "hidden_size": trial.hidden_size,
        "num_layers": trial.num_layers,
        "num_params": shared["num_params"],
        "optimizer": trial.optimizer,
        "learning_rate": trial.learning_rate,
        "clip_norm": trial.clip_norm,
        "clip_value": trial.clip_value,
        "l1": trial.l1,
        "l2": trial.l2,
        "omega": trial.omega,
        "auxiliary": trial.auxiliary,
        "auxiliary_lag": trial.auxiliary_lag,
        "batch_size": trial.batch_size,
        "num_steps": trial.num_steps,
        "seed": trial.seed,
        "train_loss": float(metrics.train_loss[-1]),
        "validation_loss": float(metrics.validation_loss[best]) if tested else float("nan"),
        "validation_accuracy": float(metrics.validation_accuracy[best]) if tested else float("nan"),
        "test_loss": outcome.test_loss if tested else float("nan"),
        "test_accuracy": outcome.test_accuracy if tested else float("nan"),
        "chance_loss": task.chance_loss,
        "chance_accuracy": task.chance_accuracy,
        "solved": tested and bool(task.solved(outcome.test_loss, outcome.test_accuracy)),
        "steps_to_solve": steps_to_solve(task, metrics, trial.eval_every),
        "diverged": outcome.diverged,
        "gradient_horizon": at_start.steps,
        "gradient_horizon_censored": at_start.censored,
        "gradient_horizon_trained": at_end.steps,
        "gradient_horizon_trained_censored": at_end.censored,
        **{column: shared[column] for column in shared if column != "num_params"},
    }


def _horizon(norms: np.ndarray, task: Task) -> Horizon:
    """None with a loss at every step: its gradient at lag k is the sum of all shorter ways, and tells of no decay."""
    return gradient_horizon(norms) if task.outputs == "last" else Horizon(math.nan, censored=False)


def _shared_columns(one: Group, program: Program, data: Data, run_seconds: float) -> dict[str, Any]:
    """What all trials of a group have in common; its run_seconds are shared out among them evenly."""
    first = one.trials[0]
    return {
        "num_params": one.num_params,
        "num_train": first.num_steps * first.batch_size if data.train is None else len(data.train.inputs),
        "num_validation": len(data.validation.inputs),
        "num_test": len(data.test.inputs),
        "compile_seconds": round(program.compile_seconds, 2),
        "run_seconds": round(run_seconds / len(one.trials), 2),
        "git_commit": git_commit(),
        "jax_version": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "num_devices": program.num_devices,
    }


def _curves(outcome: _Outcome) -> pd.DataFrame:
    """The curves of a trial in long form; gradient norms as powers of ten (they may be far below float32), to 0.001."""
    every = outcome.trial.eval_every
    series: dict[str, tuple[Sequence[int], np.ndarray]] = {}
    for quantity, values in outcome.metrics._asdict().items():
        series[quantity] = np.arange(1, len(values) + 1) * every, values
    for quantity, norms in (
        ("log10_gradient_norm", outcome.norms_at_start),
        ("log10_gradient_norm_trained", outcome.norms_at_end),
    ):
        series[quantity] = np.arange(1, len(norms) + 1), np.round(norms / math.log(10), 3)
    frames = [
        pd.DataFrame({"trial_id": outcome.trial.id, "quantity": quantity, "index": index, "value": values})
        for quantity, (index, values) in series.items()
    ]
    return pd.concat(frames, ignore_index=True)[CURVES].astype({"value": "float32"})


@cache
def git_commit() -> str:
    """The commit of this code when first asked, marked where files differ from it; "unknown" outside a repository."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
