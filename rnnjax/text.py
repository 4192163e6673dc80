"""Texts with a label each: loading, tokens, a vocabulary.

    texts, labels, classes = load_texts("stanfordnlp/imdb", "train")
    tokens = tokenise(texts, "words")               every distinct token numbered once
    vocabulary = build_vocabulary(tokens, 20_000)   of the training split only
    ids = encode_all(vocabulary, tokens)            Ragged, ready for `truncate`, `make_buckets` and `pad`

A string is looked at once, in `tokenise`; a vocabulary of other size or of other rows is then a matter of arrays.
`datasets` and `pyarrow` are imported when something is loaded, not with this module.
"""

import codecs
import hashlib
import json
import os
import re
import sys
import tempfile
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import regex

from rnnjax import data
from rnnjax.errors import unknown
from rnnjax.ragged import PADDING, Ragged

UNKNOWN = PADDING + 1
FILES = (".csv", ".tsv", ".parquet")
KEPT = 8  # files of tokens in a cache; those of IMDB have 50 MB


class Texts(NamedTuple):
    """Texts, the class of each, and what the classes are called."""

    texts: list[str]
    labels: np.ndarray  # [N] int32 in 0 .. C-1
    classes: tuple[str, ...]  # C names


def load_texts(
    source: str | os.PathLike,
    split: str | None = None,
    *,
    text_column: str = "text",
    label_column: str = "label",
    classes: Sequence[str] | None = None,
    data_dir: str | os.PathLike | None = None,
    encoding: str = "utf-8",
) -> Texts:
    """Texts and labels of a data set on the Hugging Face Hub or of a file.

    Labels are whole numbers 0 .. C-1, or strings, which become classes in sorted order. Empty texts are kept.

    Args:
      source: a name on the Hub such as "stanfordnlp/imdb", or a file that ends in .csv, .tsv (each with a header) or
        .parquet.
      split: of a data set on the Hub, "train" say; "train+test" joins two. A file is one split and takes none: pass
        the files of two splits one after the other, or cut one with `split_of`.
      text_column, label_column: their names.
      classes: of the training split, when loading another: a label gets the number it has there.
      data_dir: folder that holds the Hub's files under the same name, as for `data.load`.
      encoding: of a .csv or .tsv file.

    Raises:
      ValueError: no such split or column; no rows; a text or label that is missing; labels that are no classes; one
        class only (unless `classes` is given); a file in another encoding. The message has the first bad row, counted
        from 0 below the header.
    """
    if Path(source).suffix.lower() in FILES:
        if split is not None:
            raise ValueError(f"{source} is a file, which is one split, so it has no split {split!r}")
        columns, names, where = _file_columns(Path(source), (text_column, label_column), encoding), None, str(source)
    else:
        columns, names, where = _hub_columns(str(source), split, (text_column, label_column), data_dir)
    texts, labels = columns
    if not texts:
        raise ValueError(f"{where}: no rows")
    _check_none_missing(where, f"texts in column {text_column!r}", texts)
    _check_none_missing(
        where, f"labels in column {label_column!r}", [None if label == "" else label for label in labels]
    )
    if not isinstance(texts[0], str):
        raise ValueError(f"{where}: column {text_column!r} holds {type(texts[0]).__name__}, not text")
    return Texts(texts, *_classify(where, labels, names, classes))


def split_of(
    num_examples: int, parts: Sequence[float], seed: int, labels: Sequence[Any] | np.ndarray | None = None
) -> list[np.ndarray]:
    """Shuffled disjoint parts of num_examples rows, an array of row numbers each; the same seed gives the same parts.

    Args:
      parts: fractions such as (0.67, 0.33), or counts such as (34_000, 6_000, 10_000). What they leave over is in none.
      labels: the class of each row, for parts in which every class has its share, to a row or so, and one row at least
        where it has as many as there are parts. Without them rows are drawn blindly: a rare class may be in one alone.
    """
    counts = all(isinstance(part, int | np.integer) for part in parts)
    ends = np.cumsum(parts) if counts else np.round(np.cumsum(parts) * num_examples).astype(int)
    sizes = np.diff(ends, prepend=0)
    if not len(sizes) or sizes.min() < 1 or (ends[-1] > num_examples):
        raise ValueError(
            f"cannot cut {num_examples} examples into parts {tuple(parts)}: each needs one example at least, "
            "and together they cannot have more than there are"
        )
    rng = np.random.default_rng(seed)
    if labels is not None:
        if len(labels) != num_examples:
            raise ValueError(f"{len(labels)} labels for {num_examples} examples")
        return _stratified(np.asarray(labels), [*sizes, num_examples - ends[-1]], rng)[:-1]
    order = rng.permutation(num_examples)
    return np.split(order[: ends[-1]], ends[:-1])


def _stratified(labels: np.ndarray, sizes: Sequence[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Parts of these sizes, the last of them what is left over: the rarest class is dealt out first, each by the places
    that are still free, by largest remainders, so that the last class fits exactly."""
    free = np.array(sizes)
    parts: list[list[np.ndarray]] = [[] for _ in sizes]
    classes, counts = np.unique(labels, return_counts=True)
    for label in classes[np.argsort(counts, kind="stable")]:
        rows = rng.permutation(np.flatnonzero(labels == label))
        share, remainder = np.divmod(len(rows) * free, free.sum())
        share[np.argsort(-remainder, kind="stable")[: len(rows) - share.sum()]] += 1
        empty = [part for part in range(len(sizes) - 1) if not share[part] and free[part]]
        if len(rows) >= len(sizes) - 1:
            for part in empty:
                share[part] += 1
                share[np.argmax(share)] -= 1
        free -= share
        for part, some in zip(parts, np.split(rows, np.cumsum(share)[:-1]), strict=True):
            part.append(some)
    return [rng.permutation(np.concatenate(part)) for part in parts]


def decode(where: str, content: bytes, encoding: str = "utf-8") -> str:
    """The text of these bytes; where they are not in this encoding, a ValueError that says where and what to do."""
    check_encoding(encoding)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: byte 0x{content[error.start]:02x} at position {error.start} is not {encoding}. If the file is "
            "in another encoding, name it: --encoding windows-1251, for example (encoding= in Python)"
        ) from error


def check_encoding(encoding: str) -> None:
    """ValueError unless Python knows this encoding."""
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        known = ("utf-8", "utf-16", "latin-1", "windows-1251", "windows-1252", "koi8-r", "cp866")
        raise ValueError(unknown("encoding", encoding, known) + ", and more that Python has") from error


# ---- loading


def _hub_columns(name: str, split: str | None, wanted: tuple[str, str], data_dir):
    loaded = data.load(name, data_dir)
    if split is None:
        raise ValueError(f"{name}: which split? it has {', '.join(loaded)}")
    columns: tuple[list, list] = ([], [])
    for part in split.split("+"):
        if part not in loaded:
            raise ValueError(f"{name}: " + unknown("split", part, loaded))
        _check_columns(f"{name} {part}", wanted, loaded[part].column_names)
        table = loaded[part].select_columns(list(dict.fromkeys(wanted))).with_format("arrow")[:]
        for column, label in zip(columns, wanted, strict=True):
            column.extend(table[label].to_pylist())
    names = getattr(loaded[split.split("+")[0]].features[wanted[1]], "names", None)
    return columns, names, f"{name} {split}"


def _file_columns(path: Path, wanted: tuple[str, str], encoding: str) -> tuple[list, list]:
    """The columns as Python values, those of .csv and .tsv as strings; None where a row has no value."""
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    size = path.stat().st_size
    if not size:
        raise ValueError(f"{path}: the file is empty")
    import pyarrow.csv
    import pyarrow.parquet

    if path.suffix.lower() == ".parquet":
        _check_columns(str(path), wanted, pyarrow.parquet.read_schema(path).names)
        table = pyarrow.parquet.read_table(path, columns=list(dict.fromkeys(wanted)))
        return table[wanted[0]].to_pylist(), table[wanted[1]].to_pylist()
    check_encoding(encoding)
    try:
        table = pyarrow.csv.read_csv(
            path,
            # one block, as no text may reach beyond its block; one thread, so that errors have the row
            pyarrow.csv.ReadOptions(encoding=encoding, use_threads=False, block_size=min(size + 1, 2**30)),
            pyarrow.csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(wanted, pyarrow.string())),
        )
    except (pyarrow.ArrowInvalid, UnicodeError) as error:
        decode(str(path), path.read_bytes(), encoding)  # where it is the encoding, this says so and where
        raise ValueError(f"{path}: {error}") from error
    _check_columns(str(path), wanted, table.column_names)
    return table[wanted[0]].to_pylist(), table[wanted[1]].to_pylist()


def _check_columns(where: str, wanted: Iterable[str], there: Iterable[str]) -> None:
    for column in wanted:
        if column not in there:
            raise ValueError(f"{where}: " + unknown("column", column, there))


def _check_none_missing(where: str, what: str, values: list) -> None:
    missing = [row for row, value in enumerate(values) if value is None]
    if missing:
        raise ValueError(f"{where}: {len(missing)} of {len(values)} {what} are missing, the first in row {missing[0]}")


def _classify(where: str, values: list, names: Sequence[str] | None, classes: Sequence[str] | None):
    """Labels as they stand in the data -> int32 labels and the names of the classes.

    Args:
      names: those the data set itself gives its numbers, if it does.
      classes: those of the training split, if this is another.
    """
    if names and classes and list(names) != list(classes):
        raise ValueError(f"{where}: its classes {list(names)} are not those of the training split, {list(classes)}")
    known = list(classes or names or ())
    by_name = bool(classes) and all(value in known for value in values)
    numbers = None if by_name else _whole_numbers(where, values)
    if numbers is None:
        known = known or sorted(set(values))
        index = {label: number for number, label in enumerate(known)}
        for row, label in enumerate(values):
            if label not in index:
                raise ValueError(f"{where}: row {row}: " + unknown("class", label, known))
        numbers = np.array([index[label] for label in values])
    elif not known:
        there = np.unique(numbers)
        if not np.array_equal(there, np.arange(len(there))):
            shown = ", ".join(map(str, there[:8])) + (", ..." if len(there) > 8 else "")
            raise ValueError(f"{where}: labels must be 0 .. C-1 for C classes, each with an example; found {shown}")
        known = [str(label) for label in there]
    data.check_labels(where, numbers, len(known))
    if classes is None and len(np.unique(numbers)) < 2:
        raise ValueError(f"{where}: one class only: all {len(values)} rows are {known[numbers[0]]!r}")
    return numbers.astype(np.int32), tuple(known)


def _whole_numbers(where: str, values: list) -> np.ndarray | None:
    """Labels as numbers; None where they are strings that are not all numbers."""
    try:
        numbers = np.array([float(value) for value in values])
    except (TypeError, ValueError):
        if all(isinstance(value, str) for value in values):
            return None
        raise ValueError(
            f"{where}: labels must be whole numbers or strings, got {type(values[0]).__name__} {values[0]!r}"
        ) from None
    bad = np.flatnonzero(~np.isfinite(numbers) | (numbers != np.round(numbers)))
    if bad.size:
        raise ValueError(f"{where}: labels must be whole numbers or strings, row {bad[0]} has {values[bad[0]]!r}")
    return numbers.astype(np.int64)


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


def user_cache() -> Path:
    """The folder for what can be made again: rnnjax in $XDG_CACHE_HOME, %LOCALAPPDATA% or ~/.cache."""
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rnnjax"


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".unfinished", delete=False) as file:
            np.savez(file, types=types, values=tokens.ids.values, offsets=tokens.ids.offsets)
        os.replace(file.name, path)
        for old in sorted(path.parent.glob("tokens-*.npz"), key=os.path.getmtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(f"tokens not kept for the next time: {error}", stacklevel=3)


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
