"""The text form of tasks: a name of TASKS, `my_module:my_task`, or a file, and the Task it stands for.

A file's text holds the digest of its content, `my_data.npz#3f786850e3`, so that a trial's id does: a table never goes
on with other data under the same name.
"""

import dataclasses
import hashlib
import importlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.sweep.spec import Sweep
from rnnjax.errors import unknown
from rnnjax.tasks import TASKS, Task, make_task
from rnnjax.tasks.check import check_task
from rnnjax.tasks.from_file import READERS, task_from_file

NUM_DIGITS = 10  # of a file's digest


def pinned(sweep: Sweep) -> Sweep:
    """The sweep with the digest of its file in the text of every task that is one.

    Raises:
      ValueError: there is no such file, or it is no longer the one whose digest is given.
    """

    def of(axis: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {**value, "task": pin(value["task"])} if "task" in value else value
        return pin(value) if axis == "task" else value

    axes = {axis: [of(axis, value) for value in values] for axis, values in sweep.axes.items()}
    return dataclasses.replace(sweep, base=dataclasses.replace(sweep.base, task=pin(sweep.base.task)), axes=axes)


def pin(task: str) -> str:
    """The text with the digest of its file, my_data.npz#3f786850e3 of my_data.npz; that of other tasks as it is.

    Raises:
      ValueError: there is no such file, or it has another digest than the one given.
    """
    if not is_file(task):
        return task
    path, _, digest = task.partition("#")
    if not Path(path).is_file():
        raise ValueError(f"task {path!r}: there is no such file")
    with open(path, "rb") as file:
        now = hashlib.file_digest(file, "sha256").hexdigest()[:NUM_DIGITS]
    if digest and digest != now:
        raise ValueError(
            f"task {task!r}: the file has changed, its digest is {now} now; leave #{digest} out to take it"
        )
    return f"{path}#{now}"


def build_task(text: str, seq_len: int | None = None, data_dir: Path | None = None) -> Task:
    """The Task that a trial's text stands for. The text must be the user's own word: a module it names is imported.

    Raises:
      ValueError: an unknown task, a lag it does not take, a module or a file that cannot be read, or what is no Task.
    """
    path, _, digest = text.partition("#")
    if is_file(text):
        if not digest:
            raise ValueError(f"task {text!r} lacks the digest of its file: `pinned` adds it to a sweep")
        if seq_len is not None:
            raise ValueError(
                f"task {path!r}: seq_len is {seq_len}, but the lengths are those of the file; leave it out"
            )
        pin(text)
        return task_from_file(path)
    if ":" not in text:
        if text not in TASKS:
            raise ValueError(unknown("task", text, TASKS) + "; or my_module:my_task, or a .npz or .parquet file")
        return make_task(text, seq_len, data_dir)
    return _own(text, seq_len)


def is_file(task: str) -> bool:
    """Whether the text of a task stands for a file."""
    return Path(task.partition("#")[0]).suffix in READERS


def _own(text: str, seq_len: int | None) -> Task:
    """The task that a factory of the user's module makes."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", text):
        raise ValueError(f"task {text!r} is not of the form my_module:my_task")
    module_name, factory_name = text.split(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module raises while it is imported
        raise ValueError(f"task {text!r}: cannot import module {module_name!r} ({error})") from error
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        known = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
        raise ValueError(f"task {text!r}: " + unknown(f"factory in {module_name}", factory_name, known))
    parameters = list(inspect.signature(factory).parameters.values())
    if not parameters and seq_len is not None:
        raise ValueError(f"task {text!r} takes no seq_len, got {seq_len}; leave it out, or set seq_len=none")
    if parameters and seq_len is None and parameters[0].default is inspect.Parameter.empty:
        raise ValueError(f"task {text!r} is a factory of {parameters[0].name}: give it with seq_len=N")
    try:
        task = factory() if seq_len is None else factory(seq_len)
    except (TypeError, ValueError) as error:
        raise ValueError(f"task {text!r}: {error}") from error
    try:
        check_task(task)
    except ValueError as error:
        raise ValueError(f"task {text!r}: {error}") from None
    return task
