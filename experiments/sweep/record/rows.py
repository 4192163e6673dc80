"""A finished trial as a row of runs.csv, and its curves."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pandas as pd

from experiments.shared.cells import parse_cell
from experiments.shared.provenance import git_commit
from experiments.sweep.record.folder import CURVES
from experiments.sweep.spec import Trial
from experiments.sweep.trials.plan import Group
from experiments.sweep.trials.program import Program
from rnnjax.gradients import Horizon, gradient_horizon
from rnnjax.tasks import Task
from rnnjax.training.train import Metrics, steps_to_solve


@dataclass(frozen=True)
class Outcome:
    trial: Trial
    metrics: Metrics  # by evaluation, up to the one at which it ended
    test_loss: float
    test_accuracy: float
    diverged: bool
    norms_at_start: np.ndarray  # natural logarithms, by lag
    norms_at_end: np.ndarray


def row_of(outcome: Outcome, task: Task, shared: dict[str, Any]) -> dict[str, Any]:
    """One line of runs.csv.

    `diverged`: a loss or a gradient was NaN or infinite at some step, or the mean training loss of each of the last two
    evaluations was above 10 times that of the start (the larger of the first step's loss and the chance loss). Such a
    trial has no test result.
    `steps_to_solve`: the first evaluated step that met the task's criterion on the validation set; empty if none did.
    `stopped_step`: where a trial that stops when it has solved its task ended before num_steps (the third evaluation in
    a row that met the criterion, or the one that found it NaN or infinite); empty where it ran to the end.
    `stage`: "choose" or "report" in a sweep of two stages, else "both".
    """
    trial, metrics = outcome.trial, outcome.metrics
    best = int(np.nanargmin(metrics.validation_loss)) if np.isfinite(metrics.validation_loss).any() else -1
    at_start, at_end = (horizon_of(norms, task) for norms in (outcome.norms_at_start, outcome.norms_at_end))
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
        "stop_when_solved": trial.stop_when_solved,
        "stopped_step": steps if (steps := len(metrics.train_loss) * trial.eval_every) < trial.num_steps else None,
        "diverged": outcome.diverged,
        "gradient_horizon": at_start.steps,
        "gradient_horizon_censored": at_start.censored,
        "gradient_horizon_trained": at_end.steps,
        "gradient_horizon_trained_censored": at_end.censored,
        **{column: shared[column] for column in shared if column != "num_params"},
    }


def failed_row(trial: Trial, task: Task, num_params: int, stage: str, error: str) -> dict[str, Any]:
    """The row of a trial that could not be run to its end: as of one that diverged at once, and `error` says why."""
    nothing = np.full(1, np.nan, np.float32)
    outcome = Outcome(trial, Metrics(nothing, nothing, nothing), math.nan, math.nan, True, nothing, nothing)
    shared = {
        "num_params": num_params,
        "stage": stage,
        **num_examples(trial, task),
        **{"compile_seconds": 0.0, "run_seconds": 0.0, "git_commit": git_commit(), "jax_version": jax.__version__},
        **{"device": "none", "num_devices": 0},
    }
    return row_of(outcome, task, shared) | {"stopped_step": None, "error": error}


def num_examples(trial: Trial, task: Task) -> dict[str, int]:
    """How many sequences a trial of these sizes is trained on, chosen by and tested on."""
    if task.splits is not None:
        return {f"num_{part}": len(task.splits[part].inputs) for part in ("train", "validation", "test")}
    num_train = trial.num_steps * trial.batch_size
    return {"num_train": num_train, "num_validation": trial.num_validation, "num_test": trial.num_test}


def horizon_of(norms: np.ndarray, task: Task) -> Horizon:
    """None with a loss at every step: its gradient at lag k is the sum of all shorter ways, and tells of no decay."""
    return gradient_horizon(norms) if task.outputs == "last" else Horizon(math.nan, censored=False)


def shared_columns(one: Group, task: Task, program: Program, run_seconds: float, stage: str) -> dict[str, Any]:
    """What all trials of a group have in common; its run_seconds are shared out among them evenly."""
    return {
        "num_params": one.num_params,
        "stage": stage,
        **num_examples(one.trials[0], task),
        "compile_seconds": round(program.compile_seconds, 2),
        "run_seconds": round(run_seconds / len(one.trials), 2),
        "git_commit": git_commit(),
        "jax_version": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "num_devices": program.num_devices,
    }


def no_curves() -> pd.DataFrame:
    """The curves of trials that failed, of the types of others."""
    return pd.DataFrame({name: [] for name in CURVES}).astype({"index": "int64", "value": "float32"})


def curves_of(outcome: Outcome) -> pd.DataFrame:
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
