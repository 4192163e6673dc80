"""Texts with a label each: loading, tokens, a vocabulary.

    texts, labels, classes = load_texts("stanfordnlp/imdb", "train")
    tokens = tokenise(texts, "words")               every distinct token numbered once
    vocabulary = build_vocabulary(tokens, 20_000)   of the training split only
    ids = encode_all(vocabulary, tokens)            Ragged, ready for `truncate`, `make_buckets` and `pad`

A string is looked at once, in `tokenise`; a vocabulary of other size or of other rows is then a matter of arrays.
`datasets` and `pyarrow` are imported when something is loaded, not with this module.
"""

import codecs
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnjax.data import hub as data
from rnnjax.errors import unknown

FILES = (".csv", ".tsv", ".parquet")


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
        for taken, some in zip(parts, np.split(rows, np.cumsum(share)[:-1]), strict=True):
            taken.append(some)
    return [rng.permutation(np.concatenate(taken)) for taken in parts]


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
