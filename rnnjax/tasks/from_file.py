"""A task made of a file of one's own: sequences, what is asked of them, and which of them train."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.data.hub import check_finite
from rnnjax.errors import unknown
from rnnjax.tasks.base import (
    Example,
    Task,
    cross_entropy,
    fewer_than_1_percent_wrong,
    identity,
    share_right,
    squared_error,
)
from rnnjax.tasks.file_arrays import Arrays, read_npz, read_parquet

READERS: dict[str, Callable[[Path], Arrays]] = {".npz": read_npz, ".parquet": read_parquet}
SPLITS = ("train", "validation", "test")
MOST_SYMBOLS = 1024  # of whole numbers as inputs, fed one-hot
NOT_ASKED = -1


class _Asked(NamedTuple):
    """What a kind of target comes to, in the words of Task."""

    outputs: str
    output_size: int
    loss: Callable
    correct: Callable
    chance_loss: float
    chance_accuracy: float
    criterion: str
    solved: Callable


def task_from_file(path) -> Task:
    """The task that a .npz or .parquet file holds.

    A .npz file has arrays of N examples, `numpy.savez("my_data.npz", sequences=..., targets=..., splits=...)`:

        sequences  [N, T, I] numbers, or floats [N, T] for I = 1: inputs as they are, in float32
                   whole numbers [N, T]: symbols 0 .. I-1, fed one-hot (at most 1,024 of them)
        targets    whole numbers [N]: the class 0 .. O-1 of a sequence, told at its last step
                   whole numbers [N, T]: a class at every step, -1 where none is asked
                   floats [N]: a value, told at the last step
        splits     [N] texts, each "train", "validation" or "test"
        lengths    [N] whole numbers from 1 to T, where sequences differ; what lies beyond is not read (may be left out)

    A .parquet file has a row an example and columns of the same names: sequences are lists (of numbers, or of lists of
    I numbers), which have lengths of their own, and so are the targets of every step.

    Loss: cross-entropy, the mean over the steps asked; of values the squared error. Right: the class of the largest
    output; of values, one within a tenth of the standard deviation of the training targets. Chance is the training
    split's shares of the classes, or its mean, scored on the test split. Solved: fewer than 1 % wrong; of values, a
    squared error below 1 % of chance.

    Nothing in the file is run: a .npz that needs pickle is refused.

    Raises:
      ValueError: no such file, another form, or an array that is not as above; with the file, the array and the row.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise ValueError(f"{path}: " + unknown("form of a task's file", path.suffix, READERS))
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    arrays = READERS[path.suffix](path)
    splits = _splits(path, arrays)
    lengths = _lengths(path, arrays)
    sequences, input_size, prepare_inputs = _inputs(path, arrays.sequences, lengths)
    targets = _targets(path, arrays, sequences.shape[1], lengths)
    examples = {
        split: Example(sequences[rows], targets[rows], None if lengths is None else lengths[rows])
        for split, rows in splits.items()
    }
    asked = _asked(path, targets, {split: np.asarray(example.target) for split, example in examples.items()})
    return Task(
        name=path.stem,
        seq_len=sequences.shape[1],
        num_steps=sequences.shape[1],
        input_size=input_size,
        sample=None,
        splits=examples,
        prepare_inputs=prepare_inputs,
        **asked._asdict(),
    )


def _splits(path: Path, arrays: Arrays) -> dict[str, np.ndarray]:
    """The rows of each split."""
    count = len(arrays.sequences)
    for name, array in arrays._asdict().items():
        if array is not None and (array.ndim == 0 or len(array) != count):
            raise ValueError(f"{path}: {name} has shape {array.shape}, but there are {count} sequences")
    if arrays.splits.dtype.kind != "U" or arrays.splits.ndim != 1:
        raise ValueError(
            f"{path}: splits is {_said(arrays.splits)}; it must be [N] texts, each one of {', '.join(SPLITS)}"
        )
    for row, split in enumerate(arrays.splits):
        if split not in SPLITS:
            raise ValueError(f"{path}: splits, example {row}: " + unknown("split", str(split), SPLITS))
    rows = {split: np.flatnonzero(arrays.splits == split) for split in SPLITS}
    if empty := [split for split in SPLITS if not len(rows[split])]:
        raise ValueError(
            f"{path}: splits: no example is for {' or '.join(empty)}; each of {', '.join(SPLITS)} needs one"
        )
    return rows


def _lengths(path: Path, arrays: Arrays) -> np.ndarray | None:
    """True steps [N], or None where all sequences are whole."""
    lengths, sequences = arrays.lengths, arrays.sequences
    if sequences.ndim not in (2, 3) or 0 in sequences.shape:
        raise ValueError(f"{path}: sequences is {_said(sequences)}; it must be [N, T] or [N, T, I], none of them 0")
    if lengths is None:
        return None
    num_steps = sequences.shape[1]
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1:
        raise ValueError(f"{path}: lengths is {_said(lengths)}; it must be [N] whole numbers")
    if (wrong := (lengths < 1) | (lengths > num_steps)).any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{path}: lengths, example {row}: {lengths[row]} must be from 1 to {num_steps}, the steps there are"
        )
    return None if (lengths == num_steps).all() else lengths.astype(np.int32)


def _inputs(path: Path, sequences: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, int, Callable]:
    """(inputs [N, T, I], I, identity), or for symbols (ids [N, T], I, one-hot)."""
    if sequences.dtype.kind not in "fiub":
        raise ValueError(f"{path}: sequences is {_said(sequences)}; it must hold numbers")
    num_steps = sequences.shape[1]
    there = np.ones(sequences.shape[:2], bool) if lengths is None else np.arange(num_steps) < lengths[:, None]
    if sequences.ndim == 2 and sequences.dtype.kind in "iu":
        symbols = sequences[there]
        low, high = int(symbols.min()), int(symbols.max())
        if low < 0 or high >= MOST_SYMBOLS:
            raise ValueError(
                f"{path}: sequences holds whole numbers from {low} to {high}; whole numbers [N, T] are symbols, from 0 "
                f"to at most {MOST_SYMBOLS - 1}. Give measured values as floats"
            )
        size = high + 1
        ids = np.where(there, sequences, -1).astype(np.int32)  # one-hot of -1 is nothing but zeros
        return ids, size, lambda ids: jax.nn.one_hot(ids, size)
    values = sequences.reshape(*sequences.shape[:2], -1)
    with np.errstate(over="ignore"):  # an infinity is refused below
        values = np.where(there[:, :, None], values, 0).astype(np.float32)
    check_finite(f"{path}: sequences (in float32)", values)
    return values, values.shape[-1], identity


def _targets(path: Path, arrays: Arrays, num_steps: int, lengths: np.ndarray | None) -> np.ndarray:
    """int32 [N] or [N, T], or float32 [N]."""
    targets = arrays.targets
    classes = targets.dtype.kind in "iub"
    if not (targets.ndim == 1 and (classes or targets.dtype.kind == "f")) and not (
        classes and targets.shape[1:] == (num_steps,)
    ):
        raise ValueError(
            f"{path}: targets is {_said(targets)}; it must be whole numbers [N] or [N, T = {num_steps}], the classes "
            "0, 1, ..., or floats [N]"
        )
    if not classes:
        with np.errstate(over="ignore"):  # an infinity is refused below
            targets = targets.astype(np.float32)
        check_finite(f"{path}: targets (in float32)", targets)
        return targets
    if targets.ndim == 2 and lengths is not None:
        targets = np.where(np.arange(num_steps) < lengths[:, None], targets, NOT_ASKED)
    if (low := targets.min()) < (0 if targets.ndim == 1 else NOT_ASKED):
        raise ValueError(
            f"{path}: targets holds {low}; classes are 0, 1, ..., and of every step -1 where none is asked"
        )
    if targets.ndim == 2 and (silent := (targets == NOT_ASKED).all(1)).any():
        raise ValueError(f"{path}: targets, example {np.argmax(silent)}: no step is asked, all are -1")
    found = np.unique(targets[targets != NOT_ASKED])
    if len(found) <= found[-1]:
        missing = np.setdiff1d(np.arange(len(found)), found)[0]
        raise ValueError(
            f"{path}: targets: class {missing} never occurs, though {found[-1]} does; number the classes 0 .. C-1, or "
            "give values as floats"
        )
    if len(found) == 1:
        raise ValueError(f"{path}: targets are all {found[0]}: there is nothing to tell apart")
    return targets.astype(np.int32)


def _asked(path: Path, targets: np.ndarray, of: dict[str, np.ndarray]) -> _Asked:
    if targets.dtype == np.float32:
        return _values(path, of["train"].astype(np.float64), of["test"].astype(np.float64))
    train, test = (of[split][of[split] != NOT_ASKED] for split in ("train", "test"))
    num_classes = int(targets.max()) + 1
    share = np.bincount(train, minlength=num_classes) / len(train)
    if (unseen := share[test] == 0).any():
        raise ValueError(
            f"{path}: targets: class {test[np.argmax(unseen)]} is in the test split but not in the training split"
        )
    return _Asked(
        outputs="last" if targets.ndim == 1 else "all",
        output_size=num_classes,
        loss=cross_entropy if targets.ndim == 1 else cross_entropy_where_asked,
        correct=share_right if targets.ndim == 1 else share_right_where_asked,
        chance_loss=float(-np.mean(np.log(share[test]))),
        chance_accuracy=float(np.mean(test == np.argmax(share))),
        criterion="fewer than 1 % of the held-out answers wrong",
        solved=fewer_than_1_percent_wrong,
    )


def _values(path: Path, train: np.ndarray, test: np.ndarray) -> _Asked:
    mean, spread = train.mean(), train.std()
    chance_loss = float(np.mean((test - mean) ** 2))
    if spread < 1e-6 * max(1e-30, np.abs(train).max()) or chance_loss == 0:
        raise ValueError(f"{path}: targets are all {train[0]:g}, up to rounding: there is nothing to tell apart")
    tolerance = spread / 10

    def correct(outputs, target):
        return (jnp.abs(outputs[0] - target) < tolerance).astype(jnp.float32)

    return _Asked(
        outputs="last",
        output_size=1,
        loss=squared_error,
        correct=correct,
        chance_loss=chance_loss,
        chance_accuracy=float(np.mean(np.abs(test - mean) < tolerance)),
        criterion="a squared error on held-out sequences below 1 % of that of the training targets' mean",
        solved=lambda loss, accuracy: loss < 0.01 * chance_loss,
    )


def cross_entropy_where_asked(logits, target):
    """-ln softmax(logits [T, O])[target [T]], the mean over the steps whose target is not -1."""
    asked = target != NOT_ASKED
    log_probs = jax.nn.log_softmax(logits)
    each = -jnp.take_along_axis(log_probs, jnp.where(asked, target, 0)[:, None], axis=-1)[:, 0]
    return jnp.sum(jnp.where(asked, each, 0)) / jnp.sum(asked)


def share_right_where_asked(logits, target):
    """Share of the steps whose target is not -1 at which the largest logit is the target's."""
    asked = target != NOT_ASKED
    right = asked & (jnp.argmax(logits, axis=-1) == target)
    return (jnp.sum(right) / jnp.sum(asked)).astype(jnp.float32)


def _said(array: np.ndarray) -> str:
    """An array's shape and type for a message: "[3, 20] of float64"."""
    return f"{list(array.shape)} of {'text' if array.dtype.kind == 'U' else array.dtype}"
