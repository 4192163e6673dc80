"""Tasks for encoder-decoders: strings to reverse, numbers to write in words; and which examples are held out.

A source of three symbols or more belongs to test, validation or training by the CRC-32 of its text, so that what is
trained on is never tested. Shorter ones are so few that all of them are trained on, and tested too. Lengths are those
of the source, in symbols.
"""

import re
import string
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.seq2seq.number_words import LANGUAGES
from rnnjax.errors import unknown
from rnnjax.models.seq2seq import END

TEST, VALIDATION, TRAIN = "test", "validation", "train"
PARTS = 10  # a part each for test and validation, the rest for training
SHORT = 2  # sources of at most so many symbols belong to training and test alike
MOST_TRIES = 200  # for a new source of one length, on average


class Task(NamedTuple):
    """What is to be written for a source of symbols, and the lengths of sources."""

    name: str
    symbols: str  # of sources
    write: Callable[[str], list[str]]  # a source's target, in tokens
    join: Callable[[Sequence[str]], str]  # the text of target tokens
    seen: tuple[int, ...]  # lengths in training
    unseen: tuple[int, ...]
    leading_zero: bool  # whether a source may begin with the first symbol


class Pairs(NamedTuple):
    """Sources and targets as padded token ids, END behind every target."""

    source: np.ndarray  # [N, S] uint8
    source_length: np.ndarray  # [N] int32
    target: np.ndarray  # [N, T] uint8
    target_length: np.ndarray  # [N] int32, END counted


class Vocabulary(NamedTuple):
    """Ids of target tokens; 0 is END."""

    tokens: tuple[str, ...]

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """With END behind."""
        return [self.tokens.index(token) for token in tokens] + [END]

    def decode(self, ids: Sequence[int]) -> list[str]:
        """Up to END."""
        ids = list(ids)
        return [self.tokens[i] for i in ids[: ids.index(END) if END in ids else None]]


def number_tokens(language: str, source: str) -> list[str]:
    """The words of a number, a hyphen being a token of its own."""
    return re.findall(r"\w+|-", LANGUAGES[language](int(source)))


def join_words(tokens: Sequence[str]) -> str:
    return " ".join(tokens).replace(" - ", "-")


def _numbers(language: str) -> Task:
    write = partial(number_tokens, language)
    return Task(f"numbers-{language}", string.digits, write, join_words, (1, 2, 3, 4, 5, 7), (6, 8), False)


TASKS = {
    "reverse": Task(
        name="reverse",
        symbols=string.ascii_lowercase,
        write=lambda source: list(reversed(source)),
        join="".join,
        seen=tuple(range(1, 16)),
        unseen=tuple(range(16, 21)),
        leading_zero=True,
    ),
    **{f"numbers-{language}": _numbers(language) for language in LANGUAGES},
}


def make_task(name: str) -> Task:
    """The task of this name."""
    if name not in TASKS:
        raise ValueError(unknown("task", name, TASKS))
    return TASKS[name]


def part_of(source: str) -> str:
    """Test, validation or train."""
    part = zlib.crc32(source.encode()) % PARTS
    return {0: TEST, 1: VALIDATION}.get(part, TRAIN)


def draw(task: Task, rng: np.random.Generator, length: int, count: int) -> list[str]:
    """Random sources of one length; a number of several digits does not begin with 0."""
    ids = rng.integers(0, len(task.symbols), (count, length))
    if not task.leading_zero and length > 1:
        ids[:, 0] = rng.integers(1, len(task.symbols), count)
    letters = np.array(list(task.symbols))
    return ["".join(row) for row in letters[ids]]


def training_sources(task: Task, count: int, seed: int = 0) -> list[str]:
    """`count` sources of the lengths seen, equally often; short ones repeat."""
    rng = np.random.default_rng(seed)
    lengths = np.array(task.seen)[np.arange(count) % len(task.seen)]
    sources: list[str] = []
    for length in task.seen:
        wanted, found = int((lengths == length).sum()), []
        while len(found) < wanted:
            new = draw(task, rng, length, 2 * wanted)
            found += [source for source in new if length <= SHORT or part_of(source) == TRAIN]
        sources += found[:wanted]
    return [sources[i] for i in rng.permutation(len(sources))]


def held_out_sources(task: Task, part: str, length: int, count: int, seed: int = 1) -> list[str]:
    """Up to `count` different sources of one length, of the part "test" or "validation"."""
    rng = np.random.default_rng([seed, length])
    found: dict[str, None] = {}
    for _ in range(MOST_TRIES):
        new = draw(task, rng, length, count)
        found |= dict.fromkeys(s for s in new if length <= SHORT or part_of(s) == part)
        if len(found) >= count:
            break
    return list(found)[:count]


def make_vocabulary(task: Task) -> Vocabulary:
    """All tokens a target may hold: END, then those of sources that between them need every one."""
    if task.name == "reverse":
        texts = [list(task.symbols)]
    else:
        numbers = [*range(1000), *(k * 1000**p for k in (1, 2, 5) for p in (1, 2))]
        texts = [task.write(str(number)) for number in numbers]
    return Vocabulary(("<end>", *sorted({token for text in texts for token in text})))


def pairs(task: Task, vocabulary: Vocabulary, sources: Sequence[str], width: int, target_width: int) -> Pairs:
    """Sources with their targets, padded to so many tokens.

    Raises:
      ValueError: an empty source, one with a symbol the task does not have, or one that does not fit.
    """
    n = len(sources)
    out = Pairs(
        np.zeros((n, width), np.uint8),
        np.zeros(n, np.int32),
        np.zeros((n, target_width), np.uint8),
        np.zeros(n, np.int32),
    )
    for row, source in enumerate(sources):
        if strange := set(source) - set(task.symbols):
            raise ValueError(
                f"{source!r} holds {', '.join(map(repr, sorted(strange)))}; {task.name} takes {task.symbols}"
            )
        if not 1 <= len(source) <= width:
            raise ValueError(f"{source!r} has {len(source)} symbols; 1 to {width} are allowed")
        target = vocabulary.encode(task.write(source))
        out.source[row, : len(source)] = [task.symbols.index(symbol) for symbol in source]
        out.target[row, : len(target)] = target
        out.source_length[row], out.target_length[row] = len(source), len(target)
    return out


def longest_target(task: Task) -> int:
    """Tokens of the longest target there is, END counted, of the lengths seen and not seen."""
    return len(task.write("3" * max(*task.seen, *task.unseen))) + 1  # no number of so many digits takes more words
