"""What runs on the nodes of a Ray cluster: a group of trials, which says what it comes to."""

import platform
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.shared.start import THREADS_PER_CORE, set_up_jax
from experiments.sweep.run import Result, run_group
from experiments.sweep.trials.plan import Group
from experiments.sweep.trials.program import make_program
from rnnjax.tasks import Task
from rnnjax.training.train import Metrics, make_data

ERROR_LETTERS = 300


class Note(NamedTuple):
    """What a group under way has come to."""

    group_id: str
    step: int
    node: str
    measured: Metrics | None = None


class Notes:
    """Where groups under way leave notes for the driver; an actor beside it, which ends with it."""

    def __init__(self) -> None:
        self._left: list[Note] = []

    def leave(self, note: Note) -> None:
        self._left.append(note)

    def read(self) -> list[Note]:
        """What was left since this was last called."""
        left, self._left = self._left, []
        return left


class Work(NamedTuple):
    """A group, and how it is run."""

    group: Group
    stage: str
    folder: Path | None  # for checkpoints, which are kept
    every: float  # so many seconds
    cpus: int
    gpus: int


def run_on_node(work: Work, task_in_store: list[Any], notes: Any) -> Result | str:
    """A group's rows and curves, or in a line why there are none: not every exception survives the way back."""
    import ray

    node = f"{platform.node()} {ray.get_runtime_context().get_node_id()[:4]}"
    one, folder = work.group, work.folder
    try:
        if not work.gpus:  # Ray has promised them to others
            jax.config.update("jax_platforms", "cpu")
        set_up_jax(work.cpus, THREADS_PER_CORE)
        if work.gpus and jax.default_backend() == "cpu":
            raise ValueError(f"{node}: Ray gave {work.gpus} GPUs, but JAX finds none there")
        if folder is not None and not folder.is_dir():
            raise ValueError(f"{node}: there is no folder {folder}; --checkpoints takes one that all machines share")
        left = notes.leave.remote(Note(one.id, 0, node))
        task: Task = ray.get(task_in_store[0])
        first = one.trials[0]
        program = make_program(one, task, make_data(task, first.num_validation, first.num_test))
        for progress in run_group(one, task, program, work.stage, folder, work.every):
            if progress.result is not None:
                ray.get(left)  # the notes are there before the result is
                return progress.result
            left = notes.leave.remote(Note(one.id, progress.step, node, progress.measured))
        raise AssertionError("a group ends in a result")
    except Exception as error:
        return one_line(error)


def one_line(error: BaseException) -> str:
    """An error for a cell of a table: its type and the last line of what it says, without a terminal's colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [" ".join(re.sub(r"[^\w\s!-~]", "?", line).split()) for line in plain.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:ERROR_LETTERS].strip()
