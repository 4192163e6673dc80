"""Texts with a label each: loading, tokens, a vocabulary.

    texts, labels, classes = load_texts("stanfordnlp/imdb", "train")
    tokens = tokenise(texts, "words")               every distinct token numbered once
    vocabulary = build_vocabulary(tokens, 20_000)   of the training split only
    ids = encode_all(vocabulary, tokens)            Ragged, ready for `truncate`, `make_buckets` and `pad`

A string is looked at once, in `tokenise`; a vocabulary of other size or of other rows is then a matter of arrays.
`datasets` and `pyarrow` are imported when something is loaded, not with this module.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnjax.data import hub as data
from rnnjax.data.tables import TABLES, Table, read_table, read_texts
from rnnjax.errors import unknown


class Texts(NamedTuple):
    """Texts, the class of each, and what the classes are called."""

    texts: list[str]
    labels: np.ndarray  # [N] int32 in 0 .. C-1
    classes: tuple[str, ...]  # C names


def is_given(source: str | os.PathLike, data_dir: str | os.PathLike | None = None) -> bool:
    """Whether texts come from a file, or a folder with a folder of texts for each class, and not from the Hub."""
    path = Path(source)
    return path.suffix.lower() in TABLES or path.is_file() or (data_dir is None and bool(_class_folders(path)))


def load_texts(
    source: str | os.PathLike,
    split: str | None = None,
    *,
    text_column: str = "text",
    label_column: str = "label",
    classes: Sequence[str] | None = None,
    data_dir: str | os.PathLike | None = None,
    **options: Any,
) -> Texts:
    """Texts and labels of a data set on the Hugging Face Hub, of a file or of a folder.

    Labels are whole numbers 0 .. C-1, or strings, which become classes in sorted order; blanks around them are no part
    of them. Empty texts are kept.

    Args:
      source: a name on the Hub such as "stanfordnlp/imdb"; a file, see `tables.read_table`; or a folder with a folder
        for each class, named as the class, of files that end in .txt, a text each.
      split: of a data set on the Hub, "train" say; "train+test" joins two. A file is one split and takes none: pass
        the files of two splits one after the other, or cut one with `split_of`.
      text_column, label_column: their names.
      classes: of the training split, when loading another: a label gets the number it has there.
      data_dir: folder that holds the Hub's files under the same name, as for `data.load`.
      options: for `read_table` where there is a file: encoding, sep, heading.

    Raises:
      ValueError: what `read_table` raises; no such split or column; a text or label that is missing; labels that are no
        classes; one class only (unless `classes` is given). Rows are counted from 1.
    """
    where, names = str(source), None
    if not is_given(source, data_dir):
        table, names = _hub_table(where, split, (text_column, label_column), data_dir)
    elif split is not None:
        raise ValueError(f"{source} is a file or a folder, which is one split, so it has no split {split!r}")
    elif Path(source).is_dir():
        table, text_column, label_column = _folder_table(Path(source), options.get("encoding", "utf-8"))
    else:
        table = read_table(source, **options)
    texts, labels = table.texts(text_column), table.labels(label_column)
    return Texts(texts, *_classify(table.path, labels, names, classes))


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


# ---- loading


def _hub_table(
    name: str, split: str | None, wanted: tuple[str, str], data_dir: str | os.PathLike | None
) -> tuple[Table, Sequence[str] | None]:
    """Two columns of a data set, and the names that it gives its labels, if it does."""
    if data_dir is None and Path(name).is_dir():
        name, data_dir = Path(name).resolve().name, Path(name).resolve().parent
    loaded = data.load(name, data_dir)
    if split is None:
        raise ValueError(f"{name}: which split? it has {', '.join(loaded)}")
    columns: dict[str, list] = {column: [] for column in wanted}
    for part in split.split("+"):
        if part not in loaded:
            raise ValueError(f"{name}: " + unknown("split", part, loaded))
        for column in columns:
            if column not in loaded[part].column_names:
                raise ValueError(f"{name} {part}: " + unknown("column", column, loaded[part].column_names))
        table = loaded[part].select_columns(list(columns)).with_format("arrow")[:]
        for column, values in columns.items():
            values += table[column].to_pylist()
    names = getattr(loaded[split.split("+")[0]].features[wanted[1]], "names", None)
    return Table(f"{name} {split}", columns), names


def _class_folders(path: Path) -> list[Path]:
    """The folders inside a folder that hold texts."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    return [each for each in inside if each.is_dir() and any(each.rglob("*.txt"))]


def _folder_table(path: Path, encoding: str) -> tuple[Table, str, str]:
    """A text and the name of its folder a row, and what the two columns are called."""
    texts: list[str] = []
    labels: list[str] = []
    for folder in _class_folders(path):
        found = read_texts([folder], encoding=encoding)
        texts, labels = texts + found, labels + [folder.name] * len(found)
    return Table(str(path), {"text": texts, "label": labels}), "text", "label"


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
        for row, label in enumerate(values, 1):
            if label not in index:
                raise ValueError(f"{where}: row {row}: " + unknown("class", label, known))
        numbers = np.array([index[label] for label in values])
    elif not known:
        there = np.unique(numbers)
        if not np.array_equal(there, np.arange(len(there))):
            shown = ", ".join(map(str, there[:8])) + (", ..." if len(there) > 8 else "")
            raise ValueError(f"{where}: labels must be 0 .. C-1 for C classes, each with an example; found {shown}")
        known = [str(label) for label in there]
    beyond = np.flatnonzero((numbers < 0) | (numbers >= len(known)))
    if beyond.size:
        raise ValueError(
            f"{where}: {beyond.size} of {len(numbers)} labels are not in 0 .. {len(known) - 1}, the first is "
            f"{numbers[beyond[0]]} in row {beyond[0] + 1}"
        )
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
        raise ValueError(f"{where}: labels must be whole numbers or strings, row {bad[0] + 1} has {values[bad[0]]!r}")
    return numbers.astype(np.int64)
