"""Texts to learn from: what counts as a character or a word, and the vocabulary.

Texts are normalised to composed characters (Unicode NFC), newlines to one character. At character level a token is a
grapheme cluster (Unicode Standard Annex 29: a base with its marks, a flag); at word level a word or a mark of
punctuation with the space before it, a newline, or a run of other white space, so that tokens joined give back the
text.
"""

import hashlib
import math
import os
import sysconfig
import tokenize
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import regex

from experiments.textgen.settings import Level
from rnnjax.errors import unknown

LEVELS = get_args(Level)
END, UNKNOWN = 0, 1  # the first two ids: what parts texts, and what is not in the vocabulary
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # how an unknown token is shown
SOURCE_CHARACTERS = 5_000_000  # of the standard library, where no file is given
_LETTER = r"[\p{L}\p{N}\p{M}_\u200c\u200d]"  # with marks, and the joiners of Persian and Hindi
_WORDS = regex.compile(
    rf" ?{_LETTER}+(?:['’-]{_LETTER}+)*| ?(?!{_LETTER}|\s)\X|\n|[^\S\n]+(?=\s|$)|\s"  # marks of punctuation whole too
)
_SPELLING = r"[\p{L}\p{Nl}\p{No}\p{M}\u200c\u200d]"
_SPELT = regex.compile(rf"(?![\p{{M}}\u200c\u200d]){_SPELLING}+(?:['’-]{_SPELLING}+)*")
SKIPPED = {"test", "tests", "site-packages", "dist-packages", "idlelib", "lib2to3", "__pycache__"}


class Vocabulary(NamedTuple):
    """Tokens by id; the first two are END and UNKNOWN."""

    level: str
    lower: bool
    tokens: tuple[str, ...]

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of tokens, UNKNOWN for those that are not there."""
        ids = {token: i for i, token in enumerate(self.tokens) if i > UNKNOWN}
        return [ids.get(token, UNKNOWN) for token in tokens]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.tokens[i] for i in ids)

    def split(self, text: str) -> list[str]:
        """The tokens of a text, normalised."""
        return split(normalised(text, self.lower), self.level)


class Corpus(NamedTuple):
    """All texts as one sequence of ids, END before each and, where there are several, after the last."""

    name: str
    vocabulary: Vocabulary
    ids: np.ndarray  # int32 [N]
    num_train: int  # the ids before this one are trained on, those from it on are held out
    num_texts: int
    characters_held_out: int  # what is held out, in characters
    words: frozenset[str]  # of all texts, in lower case
    words_train: frozenset[str]  # of what is trained on
    held_out_text: str

    @property
    def bits_per_nat(self) -> float:
        """Times nats per held-out token gives bits per held-out character."""
        return (len(self.ids) - self.num_train) / self.characters_held_out / math.log(2)

    @property
    def sha256(self) -> str:
        """Of what is learnt from: ids and vocabulary."""
        digest = hashlib.sha256(self.ids.tobytes())
        digest.update("\0".join(self.vocabulary.tokens).encode())
        return digest.hexdigest()


def standard_library(limit: int = SOURCE_CHARACTERS) -> list[str]:
    """Python's own source, files in the order of their paths, up to so many characters in all."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files: list[Path] = []
    for folder, inner, names in os.walk(root):
        inner[:] = set(inner) - SKIPPED
        files += [Path(folder, name) for name in names if name.endswith(".py")]
    texts, size = [], 0
    for path in sorted(files, key=lambda p: p.relative_to(root).as_posix()):
        with tokenize.open(path) as file:
            text = file.read()
        if size + len(text) > limit:
            break
        if text.strip():
            texts.append(text)
            size += len(text)
    return texts


# --- characters and words ---------------------------------------------------------------------------------------------


def normalised(text: str, lower: bool = False) -> str:
    """Composed characters (NFC), in lower case if asked."""
    return unicodedata.normalize("NFC", text.lower() if lower else text)


def split(text: str, level: str) -> list[str]:
    """The tokens of a normalised text; joined they are that text again."""
    if level == "char":
        return list(text) if text.isascii() else regex.findall(r"\X", text)
    return _WORDS.findall(text)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters, with apostrophes and hyphens inside."""
    return _SPELT.findall(text.lower())


def build(
    texts: Sequence[str],
    name: str,
    *,
    level: str = "char",
    lower: bool = False,
    held_out: float = 0.1,
    min_count: int = 1,
    max_tokens: int | None = None,
) -> Corpus:
    """Texts as ids. The last part is held out; the vocabulary is that of the rest, most frequent first.

    Args:
      texts, name: what, and how it is called in tables.
      level, lower: see `split` and `normalised`.
      held_out: the share of tokens at the end that is held out.
      min_count: tokens seen less often in training are unknown ones.
      max_tokens: the most frequent so many are kept.

    Raises:
      ValueError: an option that does not exist or fit, or too little text to part.
    """
    if level not in LEVELS:
        raise ValueError(unknown("level", level, LEVELS))
    if not 0 < held_out < 1:
        raise ValueError(f"held_out={held_out} must lie between 0 and 1")
    parts = [split(normalised(text, lower), level) for text in texts]
    tokens: list[str | None] = []  # None is END
    for part in parts:
        tokens += [None, *part]
    tokens += [None] * (len(parts) > 1)
    num_train = 1 + int((len(tokens) - 1) * (1 - held_out))
    if num_train < 2 or num_train >= len(tokens):
        raise ValueError(f"{name} is too short: {len(tokens) - 1} tokens, of which {held_out:.0%} are to be held out")
    counts = Counter(token for token in tokens[:num_train] if token is not None)
    kept = sorted((t for t, count in counts.items() if count >= min_count), key=lambda t: (-counts[t], t))
    if not kept:
        raise ValueError(f"{name}: no token is seen min_count={min_count} times")
    vocabulary = Vocabulary(level, lower, ("", REPLACEMENT, *kept[:max_tokens]))
    ids = {token: i for i, token in enumerate(vocabulary.tokens) if i > UNKNOWN} | {None: END}
    train_text, held_out_text = ("".join(t or "\n" for t in part) for part in (tokens[:num_train], tokens[num_train:]))
    words_train = frozenset(words_of(train_text))
    return Corpus(
        name=name,
        vocabulary=vocabulary,
        ids=np.array([ids.get(token, UNKNOWN) for token in tokens], np.int32),
        num_train=num_train,
        num_texts=len(parts),
        characters_held_out=len(split(held_out_text, "char")),
        words=words_train | frozenset(words_of(held_out_text)),
        words_train=words_train,
        held_out_text=held_out_text,
    )
