"""What generated text is like: are its words known, does it fall into a loop?"""

import statistics
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from experiments.textgen.corpus import words_of

SHORTEST_LOOP = 60  # tokens at the end that must repeat before it is called a loop
REPEATS = 3  # and so many times at least


class Loop(NamedTuple):
    """The end of a sequence repeats itself every `period` tokens, from the token `start` on."""

    period: int
    start: int


def share_known(texts: Sequence[str], words: Collection[str]) -> float:
    """The share of the texts' words that are in `words`; the first and last of a text may be cut and are left out."""
    found = [word for text in texts for word in words_of(text)[1:-1]]
    return sum(word in words for word in found) / len(found) if found else float("nan")


def loop_of(tokens: Sequence[int]) -> Loop | None:
    """The loop a sequence ends in, of the shortest period kept for REPEATS periods and SHORTEST_LOOP tokens."""
    x = np.asarray(tokens)
    for period in range(1, len(x) // REPEATS + 1):
        if x[-1] != x[-1 - period]:
            continue
        different = np.flatnonzero(x[period:] != x[:-period])
        start = int(different[-1]) + 1 if len(different) else 0
        if len(x) - start >= max(REPEATS * period, SHORTEST_LOOP):
            return Loop(period, start)
    return None


def loops(sequences: Sequence[Sequence[int]]) -> dict[str, float]:
    """The share of sequences that end in a loop, and of those the median period and the median of where it begins."""
    found = [loop for sequence in sequences if (loop := loop_of(sequence)) is not None]
    return {
        "share": len(found) / len(sequences),
        "period": statistics.median(loop.period for loop in found) if found else float("nan"),
        "start": statistics.median(loop.start for loop in found) if found else float("nan"),
    }
