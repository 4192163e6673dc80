"""Texts as batches of few lengths, cut on the device from the flat array of all tokens."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.data.ragged import Ragged, concatenate


class Part(NamedTuple):
    """Examples of one split."""

    rows: Ragged  # ids of their tokens
    labels: np.ndarray  # [N] int32


class Segment(NamedTuple):
    """Batches of one compiled length."""

    length: int
    batches: np.ndarray  # [steps, B] rows of the part, -1 where there is none
    count: int  # how many of the batches there are


def segments(
    lengths: np.ndarray, boundaries: Sequence[int], batch_size: int, steps: int, by_length: bool, rng: Any = None
) -> list[Segment]:
    """All rows once, in batches; in an order drawn from rng, or, without one, as they come.

    With `by_length` a batch has rows of one bucket; otherwise any rows, padded to the bucket of the longest.
    """
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    bucket = np.searchsorted(boundaries, lengths)
    groups = [order[bucket[order] == i] for i in range(len(boundaries))] if by_length else [order]
    batches: list[list[np.ndarray]] = [[] for _ in boundaries]
    for rows in groups:
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            batches[bucket[batch].max()].append(np.pad(batch, (0, batch_size - len(batch)), constant_values=-1))
    found = []
    for length, some in zip(boundaries, batches, strict=True):
        if rng is not None:
            some = [some[i] for i in rng.permutation(len(some))]
        for start in range(0, len(some), steps):
            part = some[start : start + steps]
            empty = np.full((steps - len(part), batch_size), -1)
            found.append(Segment(length, np.concatenate([np.stack(part), empty]).astype(np.int32), len(part)))
    return found if rng is None else [found[i] for i in rng.permutation(len(found))]


def joined(parts: Iterable[Part]) -> Part:
    """The examples of all parts, one part after another."""
    rows, labels = zip(*parts, strict=True)
    return Part(concatenate(rows), np.concatenate(labels))


def on_device(part: Part) -> dict[str, np.ndarray]:
    """Arrays from which a batch of rows is cut on the device."""
    if len(part.rows.values) >= 2**31:
        raise ValueError(f"{len(part.rows.values)} tokens are more than 2^31; shorten the texts with max_tokens")
    offsets = part.rows.offsets.astype(np.int32)
    return {"values": part.rows.values, "starts": offsets[:-1], "lengths": np.diff(offsets), "labels": part.labels}


def cut(data: dict[str, jax.Array], rows: jax.Array, length: int, pad: str) -> tuple[jax.Array, jax.Array]:
    """Ids [length, B] of these rows, padded with zeros, and their lengths [B]; of a row -1, zeros and 1."""
    lengths = jnp.where(rows < 0, 1, data["lengths"][rows])
    time = jnp.arange(length)[:, None]
    position = time if pad == "after" else time - (length - lengths)
    inside = (position >= 0) & (position < lengths) & (rows >= 0)
    index = jnp.clip(data["starts"][rows] + position, 0, len(data["values"]) - 1)
    return jnp.where(inside, data["values"][index], 0), lengths
