"""Texts as tokens: tokenizers, numbers for tokens, and a cache of them."""

import hashlib
import os
import re
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import regex

from rnnjax.data.ragged import Ragged
from rnnjax.errors import unknown
from rnnjax.files import write_whole

KEPT = 8  # files of tokens in a cache; those of IMDB have 50 MB


# ---- tokens

_BLANKED = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n', " "))
# A letter or digit, then more of them with their marks (vowels of Hindi and Tamil, points of Hebrew, stress); joiners
# stand between two parts of a word in Persian and Hindi.
_LETTERS = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}]*(?:[\u200c\u200d][\p{L}\p{N}\p{M}]+)*")
_WORD_OR_MARK = regex.compile(rf"{_LETTERS.pattern}(?:'{_LETTERS.pattern})*|[.,!?;:()\"]")
_WITHOUT_SPACES = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_LINE_BREAK = re.compile(r"<br\s*/?>")


def keras_words(text: str) -> list[str]:
    """Lower case, ASCII punctuation but the apostrophe blanked, cut at spaces: the rule of Keras' `Tokenizer`.

    The word numbers of Keras' IMDB data come from it. `<br />` leaves the word "br".
    """
    return text.lower().translate(_BLANKED).split()


def words(text: str) -> list[str]:
    """Lower-case words, with inner apostrophes, and each of . , ! ? ; : ( ) " as a token; `<br />` is a space.

    Much as torchtext's `basic_english`, which cuts at apostrophes and drops quotation marks.
    """
    return _WORD_OR_MARK.findall(_plain(text).replace("’", "'"))


def content_words(text: str) -> list[str]:
    """Lower-case words without punctuation and without English stop words; cut at apostrophes, `<br />` is a space."""
    return [word for word in _LETTERS.findall(_plain(text)) if word not in STOP_WORDS]


def characters(text: str) -> list[str]:
    """Lower-case characters without blanks, each with its marks and what it is joined to: grapheme clusters (Unicode
    Standard Annex 29), so that a flag is one. For scripts without spaces between words."""
    return [character for part in _plain(text).split() for character in regex.findall(r"\X", part)]


def _plain(text: str) -> str:
    """Lower case, accents composed with their letters, no HTML line breaks, no underscores."""
    return _LINE_BREAK.sub(" ", unicodedata.normalize("NFC", text.lower())).replace("_", " ")


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "keras_words": keras_words,
    "words": words,
    "content_words": content_words,
    "characters": characters,
}

# Function words of English, and what is left of contractions cut at the apostrophe.
_FUNCTION_WORDS = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself
it its itself they them their theirs themselves
this that these those who whom whose which what when where why how
am is are was were be been being have has had having do does did doing done
will would shall should can could may might must ought
a an the and or but nor if because as until while than so too very
of at by for with about against between among into through during before after above below over under
to from up down in out on off upon within without along across behind beyond near toward towards
again further then once here there now just also ever yet still already
all any both each few more most other some such only own same no not another every either neither
s t d m o y ll re ve ma ain aren couldn didn doesn don hadn hasn haven isn mightn mustn needn shan shouldn wasn
weren won wouldn
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())


class Tokens(NamedTuple):
    """Texts as tokens: each distinct token once, in the order of first occurrence, and every text as their numbers."""

    types: list[str]
    ids: Ragged  # numbers into types


class _Numbers(dict):
    """Gives a key it does not have the next number."""

    def __missing__(self, key: str) -> int:
        self[key] = number = len(self)
        return number


def number_tokens(token_lists: Iterable[Sequence[str]]) -> Tokens:
    """Tokens of texts that are cut already."""
    numbers = _Numbers()
    rows = [np.fromiter(map(numbers.__getitem__, tokens), np.int32, len(tokens)) for tokens in token_lists]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Tokens(list(numbers), Ragged(np.concatenate([*rows, np.zeros(0, np.int32)]), offsets))


def tokenise(texts: Sequence[str], tokenizer: str, cache: str | os.PathLike | None = None) -> Tokens:
    """Cut texts into tokens.

    Args:
      tokenizer: a name in TOKENIZERS.
      cache: folder to keep the result in, `user_cache()` say, or None. The file is found again by the texts, the
        tokenizer's name and this module's source, so it is never out of date; it can be deleted at any time. The
        KEPT newest stay.

    A UserWarning says where the words of nearly all texts are seen never again, as they are of a script that has no
    spaces between them.
    """
    if tokenizer not in TOKENIZERS:
        raise ValueError(unknown("tokenizer", tokenizer, TOKENIZERS))
    cut = TOKENIZERS[tokenizer]
    if cache is None:
        return _warned(number_tokens(map(cut, texts)), tokenizer)
    path = Path(cache) / f"tokens-{_digest(texts, tokenizer)}.npz"
    tokens = _read_tokens(path)
    if tokens is None:
        tokens = number_tokens(map(cut, texts))
        _write_tokens(path, tokens)
    return _warned(tokens, tokenizer)


def _warned(tokens: Tokens, tokenizer: str) -> Tokens:
    """The same tokens, after a warning where most occur once, and texts are one each or have no spaces."""
    if tokenizer != "characters" and len(tokens.ids.lengths) >= 10 and len(tokens.ids.values):
        once = (np.bincount(tokens.ids.values) == 1).sum() / len(tokens.ids.values)
        unspaced = np.mean([bool(_WITHOUT_SPACES.search(word)) for word in tokens.types])
        if once > 0.5 and (np.median(tokens.ids.lengths) <= 1 or unspaced > 0.5):
            warnings.warn(
                f"tokenizer {tokenizer!r}: {once:.0%} of all tokens occur once only: little can be learnt from them. "
                "If the texts have no spaces between words (Chinese, Japanese, Thai), take tokenizer 'characters'",
                stacklevel=3,
            )
    return tokens


def _digest(texts: Sequence[str], tokenizer: str) -> str:
    digest = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=16)
    digest.update(repr((tokenizer, unicodedata.unidata_version, regex.__version__, list(map(len, texts)))).encode())
    digest.update("".join(texts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _read_tokens(path: Path) -> Tokens | None:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            types = arrays["types"].tobytes().decode("utf-8", "surrogatepass").split("\n")
            return Tokens(types, Ragged(arrays["values"], arrays["offsets"]))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):  # not there, or cut off: made anew
        return None


def _write_tokens(path: Path, tokens: Tokens) -> None:
    types = np.frombuffer("\n".join(tokens.types).encode("utf-8", "surrogatepass"), np.uint8)

    def write(unfinished: Path) -> None:
        with open(unfinished, "wb") as file:
            np.savez(file, types=types, values=tokens.ids.values, offsets=tokens.ids.offsets)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, write, several=True)
        for old in sorted(path.parent.glob("tokens-*.npz"), key=os.path.getmtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(f"tokens not kept for the next time: {error}", stacklevel=3)
