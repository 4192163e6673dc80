"""Sequences of unequal length: one flat array and its offsets, buckets by length, padding.

A compiled program has one shape, so sequences are padded. Buckets keep that cheap: a sequence is padded to the boundary
of its bucket, a program is compiled per boundary, and `make_buckets` picks the boundaries that waste least.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rnnjax.errors import unknown

PADDING = 0


class Ragged(NamedTuple):
    """Row i is values[offsets[i] : offsets[i + 1]]."""

    values: np.ndarray  # int32 [sum of lengths]
    offsets: np.ndarray  # int64 [number of rows + 1], from 0

    @property
    def lengths(self) -> np.ndarray:
        """Of each row, int64."""
        return np.diff(self.offsets)


def ragged(rows: Iterable[Sequence[int]]) -> Ragged:
    """From rows of whole numbers, each a list or an array."""
    arrays = [np.asarray(row, np.int32) for row in rows]
    return Ragged(np.concatenate([*arrays, np.zeros(0, np.int32)]), _offsets([len(array) for array in arrays]))


def take(sequences: Ragged, indices) -> Ragged:
    """The rows of these indices, in this order."""
    indices = np.asarray(indices)
    return _cut(sequences, sequences.offsets[indices], sequences.lengths[indices])


def concatenate(parts: Sequence[Ragged]) -> Ragged:
    """The rows of all parts, one part after another."""
    lengths = np.concatenate([part.lengths for part in parts])
    return Ragged(np.concatenate([part.values for part in parts]), _offsets(lengths))


def truncate(sequences: Ragged, num_tokens: int, keep: str = "first") -> Ragged:
    """At most num_tokens of each row: its "first" or its "last" ones."""
    _check_choice("keep", keep, ("first", "last"))
    if num_tokens < 1:
        raise ValueError(f"num_tokens must be at least 1, got {num_tokens}")
    kept = np.minimum(sequences.lengths, num_tokens)
    starts = sequences.offsets[:-1] if keep == "first" else sequences.offsets[1:] - kept
    return _cut(sequences, starts, kept)


def pad(sequences: Ragged, indices, length: int, side: str = "after") -> np.ndarray:
    """These rows as one array int32 [N, length], zeros "after" or "before" them.

    Raises:
      ValueError: a row is longer than that.
    """
    _check_choice("side", side, ("after", "before"))
    rows = take(sequences, indices)
    if len(rows.lengths) and rows.lengths.max() > length:
        where = int(rows.lengths.argmax())
        raise ValueError(
            f"row {np.asarray(indices)[where]} has {rows.lengths[where]} tokens and does not fit into {length}; "
            "truncate it first"
        )
    columns, lengths = np.arange(length), rows.lengths[:, None]
    out = np.full((len(rows.lengths), length), PADDING, np.int32)
    out[columns < lengths if side == "after" else columns >= length - lengths] = rows.values
    return out


def make_buckets(lengths, num_buckets: int, multiple_of: int = 8, max_length: int | None = None) -> tuple[int, ...]:
    """The boundaries, ascending, of at most num_buckets buckets that pad these lengths with the fewest tokens.

    Exact, by dynamic programming over the distinct rounded lengths b_1 < ... < b_m, n_i of them at most b_i: with
    k buckets and the last boundary at b_j, the cost is

        C(1, j) = b_j n_j        C(k, j) = min over i < j of C(k-1, i) + b_j (n_j - n_i)

    Args:
      lengths: of all sequences that will be padded: training, validation and test.
      num_buckets: how many, and so how many shapes to compile.
      multiple_of: boundaries are multiples of this.
      max_length: what sequences are to be truncated to, if they are: no boundary is beyond it.
    """
    lengths = np.asarray(lengths)
    for label, value in {"num_buckets": num_buckets, "multiple_of": multiple_of, "max_length": max_length}.items():
        if value is not None and value < 1:
            raise ValueError(f"{label} must be at least 1, got {value}")
    if not lengths.size:
        raise ValueError("no lengths to make buckets of")
    rounded = -(-np.maximum(lengths, 1) // multiple_of) * multiple_of
    rounded = rounded if max_length is None else np.minimum(rounded, max_length)
    bounds, counts = np.unique(rounded, return_counts=True)
    below = np.cumsum(counts)
    cost, came_from = bounds * below, []
    for k in range(1, min(num_buckets, len(bounds))):
        previous, cost, choice = cost, cost.copy(), np.zeros(len(bounds), int)
        for j in range(k, len(bounds)):
            costs = previous[k - 1 : j] + bounds[j] * (below[j] - below[k - 1 : j])
            choice[j] = k - 1 + costs.argmin()
            cost[j] = costs.min()
        came_from.append(choice)
    last = [len(bounds) - 1]
    for choice in reversed(came_from):
        last.append(int(choice[last[-1]]))
    return tuple(int(bounds[j]) for j in reversed(last))


def bucket_of(lengths, boundaries: Sequence[int]) -> np.ndarray:
    """The index of the bucket of each length: the first whose boundary is not below it.

    Raises:
      ValueError: a length beyond the last boundary.
    """
    lengths = np.asarray(lengths)
    if lengths.size and lengths.max() > boundaries[-1]:
        row = int(lengths.argmax())
        raise ValueError(
            f"{(lengths > boundaries[-1]).sum()} of {lengths.size} texts are longer than the largest bucket, "
            f"{boundaries[-1]} tokens; the longest, row {row}, has {lengths[row]}. Truncate them, or make the buckets "
            "of these lengths too"
        )
    return np.searchsorted(boundaries, lengths)


def padded_tokens(lengths, boundaries: Sequence[int]) -> int:
    """How many tokens, padding included, a pass over sequences of these lengths reads when padded to these buckets."""
    return int(np.asarray(boundaries)[bucket_of(lengths, boundaries)].sum())


def _offsets(lengths) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _cut(sequences: Ragged, starts: np.ndarray, lengths: np.ndarray) -> Ragged:
    """Rows that begin at starts in the flat array."""
    offsets = _offsets(lengths)
    positions = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return Ragged(sequences.values[positions], offsets)


def _check_choice(label: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise ValueError(unknown(label, given, allowed))
