"""What would make a table wrong though every trial of it is right: refused before anything runs."""

from collections.abc import Sequence
from operator import attrgetter

from experiments.sweep.spec import FIELDS, Sweep, Trial
from experiments.sweep.tables.table import SETTINGS, SIZES
from rnnjax.errors import unknown
from rnnjax.tasks import Task

_all_but_label = attrgetter(*(field for field in FIELDS if field != "label"))
_of_a_row = attrgetter(*SIZES, *SETTINGS, "seed")


def check_rows(trials: Sequence[Trial], tasks: dict[tuple, Task]) -> None:
    """A name stands for one cell, no two names are of the same trial, and a row of the table counts a seed once.

    Raises:
      ValueError: which trials would be mixed up, and what to do.
    """
    cells: dict[tuple, Trial] = {}
    labels: dict[tuple, Trial] = {}
    rows: dict[tuple, Trial] = {}
    for trial in trials:
        seq_len = tasks[trial.task, trial.seq_len].seq_len
        first = cells.setdefault((trial.task, seq_len, trial.variant), trial)
        if first.cell != trial.cell:
            raise ValueError(
                f"the name {trial.variant!r} would stand for two cells, {first.cell!r} and {trial.cell!r}; give each a "
                "label of its own"
            )
        first = labels.setdefault(_all_but_label(trial), trial)
        if first.label != trial.label:
            raise ValueError(
                f"{first.variant!r} and {trial.variant!r} would be one and the same trial under two names, {trial.id}: "
                "what is set takes away what they differ in"
            )
        first = rows.setdefault((trial.task, seq_len, trial.variant, _of_a_row(trial)), trial)
        if first != trial:
            differ = [name for name in Trial.__dataclass_fields__ if getattr(first, name) != getattr(trial, name)]
            texts = ", ".join(f"{name} {getattr(first, name)} and {getattr(trial, name)}" for name in differ)
            raise ValueError(
                f"two trials of {trial.variant!r} differ in {texts}, and would count as two seeds of one row of the "
                "table; run one sweep for each"
            )


def check_evaluations(num_steps: int, eval_every: int) -> None:
    """Training ends with an evaluation.

    Raises:
      ValueError: num_steps is no multiple of eval_every; with the nearest values of each that would do.
    """
    if num_steps % eval_every == 0:
        return
    below = num_steps - num_steps % eval_every
    steps = [str(value) for value in (below, below + eval_every) if value]
    lower = next(value for value in range(min(eval_every, num_steps), 0, -1) if num_steps % value == 0)
    higher = next(value for value in range(min(eval_every, num_steps), num_steps + 1) if num_steps % value == 0)
    every = [str(value) for value in dict.fromkeys((lower, higher))]
    raise ValueError(
        f"num_steps={num_steps} must be a multiple of eval_every={eval_every}; num_steps {' or '.join(steps)} "
        f"would do, or eval_every {' or '.join(every)}"
    )


def check_epoch(trial: Trial, task: Task) -> None:
    """Evaluations are no further apart than an epoch of a data set, whose orders are drawn by the epoch.

    Raises:
      ValueError: they are; with the most that would do.
    """
    if task.splits is None:
        return
    count = len(task.splits["train"].inputs)
    if trial.batch_size > count:
        raise ValueError(f"batch_size={trial.batch_size} is more than the {count} training examples of {trial.task}")
    if trial.eval_every > count // trial.batch_size:
        raise ValueError(
            f"eval_every={trial.eval_every} steps of batch_size={trial.batch_size} are more than an epoch of the "
            f"{count} training examples of {trial.task}; eval_every can be at most {count // trial.batch_size}"
        )


def check_contrasts(sweep: Sweep, trials: Sequence[Trial]) -> None:
    """Contrasts are between variants of the sweep.

    Raises:
      ValueError: a variant that no trial has, or one set against itself.
    """
    variants = list(dict.fromkeys(trial.variant for trial in trials))
    for pair in sweep.contrasts:
        for name in pair:
            if name not in variants:
                raise ValueError(unknown("variant in contrasts", name, variants))
        if pair[0] == pair[1]:
            raise ValueError(f"contrast of {pair[0]!r} with itself")
