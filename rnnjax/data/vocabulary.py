"""Which tokens are known, and by which numbers."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rnnjax.data.ragged import PADDING, Ragged
from rnnjax.data.tokens import Tokens

UNKNOWN = PADDING + 1


# ---- vocabulary


@dataclass(frozen=True)
class Vocabulary:
    """Words and their ids: 0 is padding, 1 any word that is not here, then `words` in this order from 2."""

    words: tuple[str, ...]

    def __post_init__(self):
        if len(self.index) != len(self.words):
            raise ValueError("a vocabulary cannot have a word twice")

    @property
    def size(self) -> int:
        """The number of ids: that of words, and two."""
        return len(self.words) + 2

    @cached_property
    def index(self) -> dict[str, int]:
        """The id of each word."""
        return {word: number for number, word in enumerate(self.words, UNKNOWN + 1)}

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """Ids int32 [number of tokens]."""
        return np.array([self.index.get(token, UNKNOWN) for token in tokens], np.int32)

    def to_json(self) -> str:
        """A JSON object with the list "words"."""
        return json.dumps({"words": self.words}, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "Vocabulary":
        """The vocabulary that `to_json` wrote."""
        stored: Any = json.loads(text)
        words = stored.get("words") if isinstance(stored, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError('not a vocabulary: that is a JSON object {"words": [...]} with a list of strings')
        return Vocabulary(tuple(words))


def build_vocabulary(tokens: Tokens, max_size: int, min_count: int = 1) -> Vocabulary:
    """The most frequent tokens, those equally frequent in alphabetical order. Give it the training split only.

    Args:
      tokens: of the training texts; `tokens._replace(ids=take(tokens.ids, rows))` are those of some rows.
      max_size: number of ids at most, the two for padding and for unknown words among them.
      min_count: how often a token must occur.
    """
    for label, value, least in (("max_size", max_size, UNKNOWN + 2), ("min_count", min_count, 1)):
        if value < least:
            raise ValueError(f"{label} must be at least {least}, got {value}")
    counts = np.bincount(tokens.ids.values, minlength=len(tokens.types)).tolist()
    often = sorted((-count, token) for token, count in zip(tokens.types, counts, strict=True) if count >= min_count)
    if not often:
        raise ValueError(f"no token occurs {min_count} times or more in these {len(tokens.ids.lengths)} texts")
    return Vocabulary(tuple(token for _, token in often[: max_size - 2]))


def encode_all(vocabulary: Vocabulary, tokens: Tokens) -> Ragged:
    """Every text as ids of the vocabulary.

    A text without any token becomes one unknown token: a classifier reads its last state or the mean of its outputs,
    and there is neither after no step at all.
    """
    ids = vocabulary.encode(tokens.types)[tokens.ids.values]
    empty = np.flatnonzero(tokens.ids.lengths == 0)
    lengths = np.maximum(tokens.ids.lengths, 1)
    ids = np.insert(ids, tokens.ids.offsets[empty], UNKNOWN)
    return Ragged(ids, np.cumsum([0, *lengths], dtype=np.int64))
