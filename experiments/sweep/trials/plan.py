"""What a sweep comes to: trials checked, their data, and groups of trials that compile to one program."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from operator import attrgetter
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments.shared.cells import build_cell
from experiments.shared.computes import text_of
from experiments.shared.memory import check_memory
from experiments.sweep.checks import check_contrasts, check_epoch, check_evaluations, check_rows
from experiments.sweep.spec import FIELDS, FIRST_REPORT_SEED, Sweep, Trial
from experiments.sweep.tasks import build_task
from experiments.sweep.trials.terms import terms_of
from rnnjax.cell import Cell
from rnnjax.errors import unknown
from rnnjax.models.model import make_model
from rnnjax.tasks import Task
from rnnjax.training.optimizers import OPTIMIZERS, Hyper
from rnnjax.training.train import HELD_OUT_SEED, Trainer, make_trainer
from rnnjax.wrappers.layers import stack


@dataclass(frozen=True)
class Group:
    """Trials of one program, the unit of resumption: always run at the same width, in the same order."""

    trials: tuple[Trial, ...]
    num_params: int

    @property
    def id(self) -> str:
        return hashlib.sha256(" ".join(trial.id for trial in self.trials).encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        cells = dict.fromkeys(trial.cell for trial in self.trials)
        first = self.trials[0]
        return f"{first.task} T={first.seq_len or 'own'}: {', '.join(cells)} ({len(self.trials)} trials)"


@dataclass(frozen=True)
class Plan:
    """What is left to run of a sweep, checked and grouped."""

    groups: tuple[Group, ...]
    tasks: dict[tuple[str, int | None], Task]
    stage: str = "both"  # "choose" or "report" in a sweep of two stages

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


def plan(sweep: Sweep, finished: frozenset[str] = frozenset(), data_dir: Path | None = None) -> Plan:
    """Check every trial of a sweep before anything runs, and group those that are not finished.

    Of a sweep of two stages this is the first; see `stages.plan_report` for the second.

    Raises:
      ValueError: an unknown task, cell, optimizer or option, a value that does not fit, or rows that would be wrong.
    """
    trials = sweep.trials()
    for trial in trials:
        _check(trial)
    if sweep.report_seeds and (high := [trial.seed for trial in trials if trial.seed >= FIRST_REPORT_SEED]):
        raise ValueError(f"seed {high[0]} would choose, but seeds from {FIRST_REPORT_SEED} on report")
    tasks = {}
    for trial in trials:
        key = trial.task, trial.seq_len
        if key not in tasks:
            tasks[key] = build_task(*key, data_dir)
        check_epoch(trial, tasks[key])
    check_rows(trials, tasks)
    check_contrasts(sweep, trials)
    return Plan(tuple(group(trials, tasks, finished)), tasks, "choose" if sweep.report_seeds else "both")


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
    check_evaluations(trial.num_steps, trial.eval_every)


MAX_WIDTH = 64  # trials of one program
_TRACED = {field: FIELDS[field].default for field in ("seed", "label", *Hyper._fields)}  # or of no consequence
_static = attrgetter(*(field for field in FIELDS if field not in _TRACED))


def network(trial: Trial, task: Task) -> Cell:
    """The cell of a trial, or its stack of num_layers."""
    return _stack(build_cell(trial.cell, trial.hidden_size, task.num_steps), trial.num_layers)


@cache
def _stack(cell: Cell, num_layers: int) -> Cell:
    return cell if num_layers == 1 else stack(*[cell] * num_layers)


def group(
    trials: Sequence[Trial], tasks: dict[tuple, Task], finished: frozenset[str] = frozenset(), one_rate: bool = False
) -> list[Group]:
    """Groups of at most MAX_WIDTH trials that compile to the same program, in order of first appearance.

    They may differ in what is traced (seed, learning rate, clipping, penalties), in labels and in initial values.
    Whether two cells compute the same is asked of their jaxprs, so it holds for any cell and option without a list.
    Every trial is built and traced; those whose id is in `finished` are in no group. With `one_rate` a group holds
    one learning rate: trials that stop once they have solved the task then end at about the same time.
    """
    programs: dict[tuple, tuple[Trial, str]] = {}
    members: dict[tuple, list[Trial]] = {}
    sizes: dict[tuple[Trial, str], int] = {}
    for trial in trials:
        static = _static(trial)
        if static not in programs:
            digest, size = _signature(trial, tasks[trial.task, trial.seq_len])
            programs[static] = replace(trial, cell="", **_TRACED), digest
            sizes[programs[static]] = size
        if trial.id not in finished:
            rate = trial.learning_rate if one_rate else None
            members.setdefault((programs[static], rate), []).append(trial)
    for some in members.values():
        _check_memory(some[0], tasks[some[0].task, some[0].seq_len], min(len(some), MAX_WIDTH))
    return [
        Group(tuple(some[start : start + MAX_WIDTH]), sizes[program])
        for (program, _), some in members.items()
        for start in range(0, len(some), MAX_WIDTH)
    ]


def _signature(trial: Trial, task: Task) -> tuple[str, int]:
    """What a trial's step computes, as a hash of its jaxpr, and its model's number of parameters.

    Raises:
      ValueError: a trial that cannot be built.
    """
    trainer_of(trial, task)
    cell = network(trial, task)
    model = make_model(cell, task.output_size, outputs=task.outputs)

    def one_step(params, x, key):
        p = cell.prepare(params, key, x.shape)
        return cell.step(p, cell.initial_carry(params, x.shape[:-1]), cell.project(p, x))

    x = jax.ShapeDtypeStruct((2, task.input_size), jnp.float32)
    try:
        shapes = jax.eval_shape(partial(model.init, input_size=task.input_size), jax.random.key(0))
        closed, after = jax.make_jaxpr(one_step, return_shape=True)(shapes.recurrent, x, jax.random.key(0))
        before = jax.eval_shape(lambda params: cell.initial_carry(params, x.shape[:-1]), shapes.recurrent)
    except (TypeError, ValueError) as error:
        raise ValueError(f"cell {trial.cell!r}: {error}") from error
    for what, given, needed in (("carry", after[0], before), ("output", after[1].shape, (2, cell.output_size))):
        if given != needed:
            raise ValueError(
                f"cell {trial.cell!r}: its step returns the {what} {given}, but the contract wants {needed}"
            )
    digest = hashlib.sha256(f"{text_of(closed)}\n{jax.tree.structure(shapes)}".encode())
    return digest.hexdigest(), sum(leaf.size for leaf in jax.tree.leaves(shapes))


def _check_memory(trial: Trial, task: Task, num_trials: int) -> None:
    """Raise ValueError where so many trials of one program cannot fit into memory together."""
    trainer = trainer_of(trial, task)
    names = ("hidden_size", "num_layers", "batch_size", "seq_len")
    check_memory(
        trainer.init,
        lambda params: trainer.start(params).optimizer,
        num_steps=task.num_steps,
        batch_size=trial.batch_size,
        width=trial.hidden_size * trial.num_layers,
        networks=num_trials,
        options={**{name: getattr(trial, name) for name in names}, "trials of one program": num_trials},
    )


def trainer_of(trial: Trial, task: Task) -> Trainer:
    cell = network(trial, task)
    sizes = {"batch_size": trial.batch_size, "steps_per_chunk": trial.eval_every}
    stop = trial.stop_when_solved
    return make_trainer(
        task, cell, optimizer=trial.optimizer, terms=terms_of(trial, task, cell), stop_when_solved=stop, **sizes
    )
