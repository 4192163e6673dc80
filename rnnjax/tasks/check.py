"""Whether a task is one: what `Task` says of shapes and types, asked by shapes alone, before anything is trained."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.tasks.base import Example, Task

SPLITS = ("train", "validation", "test")


def check_task(task: Any) -> None:
    """Raise ValueError for what a training could not use, and say what is wanted in its place.

    It is a Task with `sample` or `splits`; its examples have inputs of [num_steps, input_size] (once prepared) and as
    many targets; its loss and score of an example are single numbers; chance and sizes are what they are called.
    """
    if not isinstance(task, Task):
        raise ValueError(f"the factory returned {type(task).__name__}, not an rnnjax.tasks.Task")
    for field in ("seq_len", "num_steps", "input_size", "output_size"):
        size = getattr(task, field)
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"{field}={size!r} must be a whole number of at least 1")
    if task.outputs not in ("last", "all"):
        raise ValueError(f"outputs={task.outputs!r} must be 'last' or 'all'")
    for field in ("chance_loss", "chance_accuracy"):
        if not math.isfinite(getattr(task, field)):
            raise ValueError(f"{field}={getattr(task, field)!r} must be finite")
    if (task.sample is None) == (task.splits is None):
        raise ValueError("it must have either `sample` or `splits`, and the other one None")
    if task.splits is None:
        assert task.sample is not None
        _check_example(task, _shapes("sample(key)", task.sample, jax.random.key(0)))
        return
    if sorted(task.splits) != sorted(SPLITS):
        raise ValueError(
            f"splits has {', '.join(map(str, task.splits)) or 'nothing'}; it must have {', '.join(SPLITS)}"
        )
    for split, examples in task.splits.items():
        if not isinstance(examples, Example):
            raise ValueError(f"splits[{split!r}] is a {type(examples).__name__}, not an rnnjax.tasks.Example")
        counts = {len(array) for array in examples if array is not None}
        if len(counts) != 1 or 0 in counts:
            raise ValueError(f"splits[{split!r}] has {', '.join(map(str, sorted(counts)))} examples by its arrays")
        shapes: Any = [a if a is None else jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in examples]
        one = Example(*shapes)
        _check_example(task, one)


def _check_example(task: Task, example: Any) -> None:
    if not isinstance(example, Example):
        raise ValueError(f"sample(key) gives a {type(example).__name__}, not an rnnjax.tasks.Example")
    batch = jax.ShapeDtypeStruct((2, *example.inputs.shape), example.inputs.dtype)
    prepared = _shapes("prepare_inputs(inputs)", task.prepare_inputs, batch)
    if prepared.shape != (2, task.num_steps, task.input_size):
        raise ValueError(
            f"inputs of an example are {list(prepared.shape[1:])}, but [num_steps, input_size] is "
            f"[{task.num_steps}, {task.input_size}]"
        )
    if not jnp.issubdtype(prepared.dtype, jnp.floating):
        raise ValueError(f"inputs are of {prepared.dtype}, and must be floats")
    if example.length is not None and (example.length.shape or not jnp.issubdtype(example.length.dtype, jnp.integer)):
        raise ValueError(
            f"the length of an example is {list(example.length.shape)} of {example.length.dtype}, no integer"
        )
    outputs = jax.ShapeDtypeStruct((*(task.num_steps,) * (task.outputs == "all"), task.output_size), jnp.float32)
    for name in ("loss", "correct"):
        found = _shapes(f"{name}(outputs {list(outputs.shape)}, target)", getattr(task, name), outputs, example.target)
        if getattr(found, "shape", None) != ():
            raise ValueError(f"{name} of an example must be a single number, got {found}")


def _shapes(what: str, function: Callable, *arguments: Any) -> Any:
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:  # whatever a user's function raises when it is traced
        raise ValueError(
            f"{what}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        ) from error
