"""What a model has read when it begins to write: something after which a sentence may begin."""

from collections.abc import Sequence
from itertools import accumulate

import regex

from experiments.textgen.corpus import END, Corpus
from experiments.textgen.settings import Settings

CONTEXT = 64  # tokens read before a text begins, at least
SEARCHED = 50_000  # tokens at the end of the text
# Marks that end a sentence, with quotes and brackets closed after them; those of Chinese and Japanese need no space.
_MARKS = r"([\p{Sentence_Terminal}…][\p{Pe}\p{Pf}\"']*(?=\s)|[。！？][\p{Pe}\p{Pf}]*)"
_ENDS = [  # the surest first: before a paragraph, before a line, within one ("Mr. Smith"), and the end of any line
    regex.compile(_MARKS + after) for after in (r"[^\S\n]*\n\s*\n\s*", r"[^\S\n]*\n\s*", r"\s*")
] + [regex.compile(r"()\n\s*")]


def start_of(settings: Settings, corpus: Corpus) -> tuple[int, ...]:
    """The ids that generation begins after when nothing else is given.

    A model of many texts begins after END, as they do. One of a single text has seen END once: it begins after the last
    part of its training text that ends with a sentence. A model of windows needs a full one before that.
    """
    length = max(CONTEXT, settings.seq_len) if settings.mode == "streams" else settings.seq_len
    if corpus.num_texts > 1:
        return (END,) if settings.mode == "streams" else tuple(corpus.ids[-length:].tolist())
    first = max(corpus.num_train - SEARCHED, 1)
    found = sentence_end([corpus.vocabulary.tokens[i] for i in corpus.ids[first : corpus.num_train]])
    end = first + found
    if settings.mode == "windows" and end < length:
        end = corpus.num_train
    elif not found:
        return (END,)
    return tuple(corpus.ids[max(end - length, 0) : end].tolist())


def sentence_end(tokens: Sequence[str]) -> int:
    """How many of these tokens there are up to the end of their last sentence; 0 where none is seen."""
    text = "".join(tokens)
    counts = {end: count for count, end in enumerate(accumulate(map(len, tokens)), 1)}
    for pattern in _ENDS:
        for match in reversed(list(pattern.finditer(text))):
            for end in range(match.end(), match.end(1) - 1, -1):  # a word's token begins with the space before it
                if end in counts:
                    return counts[end]
    return 0
