"""What people keep in files: CSV, TSV, JSON lines, Parquet and plain text, as columns of texts, labels and numbers.

    table = read_table("prices.csv")            month;price and 1;101,25: separator and decimal comma are found
    table.numbers("price")                      float64 [n], NaN where a value is missing
    table.texts("review"), table.labels("mood") lists of str
    read_texts(["poems/", "more.csv"], column="text")

What is in a file arrives, or a ValueError says what does not and what to give. `pyarrow` is imported when a Parquet
file is read, not with this module.
"""

import codecs
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rnnjax.data.dates import looks_like_a_date
from rnnjax.data.delimited import read_rows
from rnnjax.data.numerals import Style, TwoMeaningsError, allowed_styles, is_missing, is_number, read_numbers, styles_of
from rnnjax.errors import unknown

SEPARATED, JSON_LINES, PARQUET = (".csv", ".tsv", ".tab"), (".jsonl", ".ndjson"), (".parquet", ".pq")
TABLES = (*SEPARATED, *JSON_LINES, *PARQUET)  # the files that are tables by their names
FORMS = ("whole", "lines")
ENCODINGS = ("windows-1251", "windows-1252", "koi8-r", "cp866", "windows-1250", "windows-1253")  # that are guessed
_OTHER_KINDS = {
    b"\x1f\x8b": "packed by gzip",
    b"PK\x03\x04": "a zip file (a workbook?)",
    b"\xd0\xcf\x11\xe0": "a workbook",
}


@dataclass(frozen=True)
class Table:
    """Columns by their headings, each with a value a row: str in a delimited file, Python's own values in the others.

    Rows are counted from 1, the first one below the heading, in all messages.
    """

    path: str
    columns: dict[str, list[Any]]
    separator: str | None = None  # of a delimited file; "" where it has one column
    has_heading: bool = True
    styles: tuple[Style, ...] = tuple(allowed_styles())  # how numbers may be written

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> list[Any]:
        """The values as they stand in the file.

        Raises:
          ValueError: no such column.
        """
        if name not in self.columns:
            hint = "" if self.has_heading else " (the first row was taken for data: is it a heading? --heading)"
            raise ValueError(f"{self.path}: " + unknown("column", name, self.columns) + hint)
        return self.columns[name]

    def texts(self, name: str) -> list[str]:
        """A column of texts, all as they stand: "None", "NA" and "" are texts too.

        Raises:
          ValueError: no such column, a row without a value (as JSON and Parquet know), or a value that is no text.
        """
        values = self._all_there(name, "texts", [value is None for value in self.column(name)])
        for row, value in enumerate(values, 1):
            if not isinstance(value, str):
                raise ValueError(
                    f"{self.path}: column {name!r} holds {type(value).__name__} {value!r} in row {row}, not text"
                )
        return values

    def labels(self, name: str) -> list[Any]:
        """A column of classes: str without blanks around it, or the numbers of a JSON or Parquet file.

        Raises:
          ValueError: no such column, or a row without a label.
        """
        values = [value.strip() if isinstance(value, str) else value for value in self.column(name)]
        return self._all_there(
            name, "labels", [value is None or value == "" or value != value for value in values], values
        )

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64 [n], NaN where a value is missing: see `numerals.read_numbers`.

        Raises:
          ValueError: no such column, a value that is no finite number, or numbers that could be meant in two ways.
        """
        values, where, point_first = self.column(name), f"{self.path}: column {name!r}", self.separator != ";"
        try:
            return read_numbers(where, values, self.styles, point_first)
        except TwoMeaningsError:  # unless other columns tell
            styles: Sequence[Style] = self.styles
            for other in self.number_columns():
                styles = styles_of(self.columns[other], styles) or styles
            return read_numbers(where, values, styles, point_first)

    def number_columns(self) -> list[str]:
        """The names of the columns in which every value that is not missing is a number, and there is one."""
        return [name for name, values in self.columns.items() if self._is_numeric(values)]

    def date_columns(self) -> list[str]:
        """The names of the columns whose first and last values are dates."""
        return [
            name
            for name, values in self.columns.items()
            if all(isinstance(value, str) and looks_like_a_date(value) for value in (values[0], values[-1]))
        ]

    def _is_numeric(self, values: list[Any]) -> bool:
        there = [value for value in values if not is_missing(value)]
        if not all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in there):
            return False
        return bool(there) and bool(styles_of(there, self.styles))

    def _all_there(self, name: str, what: str, missing: list[bool], values: list[Any] | None = None) -> list[Any]:
        if any(missing):
            raise ValueError(
                f"{self.path}: {sum(missing)} of {len(self)} {what} in column {name!r} are missing, the first in row "
                f"{missing.index(True) + 1}"
            )
        return self.column(name) if values is None else values


def read_table(
    path: str | os.PathLike,
    *,
    sep: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    heading: bool | None = None,
    encoding: str = "utf-8",
) -> Table:
    """A table by the end of its name: .jsonl or .ndjson, .parquet or .pq; any other is delimited text.

    Args:
      sep, decimal, thousands: of a delimited file, found where not given: see `delimited.read_rows` and
        `numerals.STYLES`.
      heading: whether the first row of a delimited file is one. If not given, it is none where it has a number above
        numbers, a date above dates or a label above the same labels; but whole numbers may be headings, as years are,
        where another column begins with a text above numbers. Columns without a name are called by their number, from
        "1". Texts alone do not tell: their first row is the heading.
      encoding: of a text file. A byte order mark of UTF-8 is left out.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a folder; a file in another encoding or of another kind, empty or cut off; rows that do not fit the
        heading; a heading given twice; no rows.
    """
    path = Path(path)
    kind = path.suffix.lower()
    styles = tuple(allowed_styles(decimal, thousands))
    content = _content(path)
    if kind in PARQUET:
        table = Table(str(path), _parquet(path), styles=styles)
    elif kind in JSON_LINES:
        table = Table(str(path), _json_lines(str(path), decode(str(path), content, encoding)), styles=styles)
    else:
        text = _one_newline(decode(str(path), content, encoding))
        if sep is None and kind in (".tsv", ".tab") and "\t" in text.partition("\n")[0]:
            sep = "\t"
        rows, separator = read_rows(str(path), text, sep, _is_value)
        has_heading = _has_heading(rows) if heading is None else heading
        columns = _columns(str(path), rows, has_heading)
        table = Table(str(path), columns, separator, has_heading, styles)
    if not table.columns or not len(table):
        raise ValueError(
            f"{path}: no rows under the heading {', '.join(table.columns)}" if table.columns else f"{path}: no rows"
        )
    return table


def read_texts(
    paths: Iterable[str | os.PathLike],
    form: str = "whole",
    column: str | None = None,
    encoding: str = "utf-8",
    **options: Any,
) -> list[str]:
    """The texts of files and folders, blank ones left out: of a file of its own each ("whole"), a line each ("lines"),
    or the column of tables.

    Args:
      paths: of a folder all files that end in .txt, or with a column all tables, in the order of their names, those of
        folders inside it too.
      options: for `read_table`, where there is a column.

    Raises:
      ValueError: what `read_table` raises, an unknown form, a folder without such files, no text at all.
    """
    if form not in FORMS:
        raise ValueError(unknown("form", form, FORMS))
    paths = list(paths)
    texts: list[str] = []
    for path in _files(paths, TABLES if column is not None else (".txt",)):
        if column is not None:
            texts += read_table(path, encoding=encoding, **options).texts(column)
            continue
        if path.suffix.lower() in PARQUET:
            raise ValueError(f"{path} is a table: say which column has the texts with --column (column= in Python)")
        text = _one_newline(decode(str(path), _content(path), encoding))
        texts += text.split("\n") if form == "lines" else [text]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise ValueError(f"{', '.join(map(str, paths))}: the file is empty, there is no text in it")
    return texts


def decode(where: str, content: bytes, encoding: str = "utf-8") -> str:
    """The text of these bytes, without a byte order mark.

    Raises:
      ValueError: an unknown encoding, or bytes that are not in it: which, and an encoding that they may be in.
    """
    check_encoding(encoding)
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where} is not {encoding}: byte 0x{content[error.start]:02x} at position {error.start} ({error.reason}). "
            f"Name the file's encoding: --encoding {guess_encoding(content)}, perhaps (encoding= in Python)"
        ) from None


def check_encoding(encoding: str) -> None:
    """ValueError unless Python knows this encoding of texts."""
    try:
        codecs.lookup(encoding)
        "".encode(encoding)
    except LookupError:
        known = ("utf-8", "utf-16", "latin-1", *ENCODINGS)
        raise ValueError(unknown("encoding", encoding, known) + ", and more that Python has") from None


def guess_encoding(content: bytes) -> str:
    """The encoding among utf-16 and ENCODINGS in which neighbouring letters go together best: of one script, and no
    capital after a small letter."""
    sample = content[:100_000]
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 3 * sample.count(0) > len(sample):
        return "utf-16"

    def share(encoding: str) -> float:
        text = sample.decode(encoding, "replace")
        pairs = Counter(pair for pair in pairwise(text) if not "".join(pair).isascii())
        return sum(count for (a, b), count in pairs.items() if _go_together(a, b)) / max(1, pairs.total())

    return max(ENCODINGS, key=share)


def _go_together(a: str, b: str) -> bool:
    if not (a.isalpha() and b.isalpha()):
        return (a.isascii() or a.isalpha()) and (b.isascii() or b.isalpha())
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in (a, b)}
    return len(scripts) == 1 and not (a.islower() and b.isupper())


# ---- files


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"{path} is a folder; a file was expected")
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    content = path.read_bytes()
    if not content:
        raise ValueError(f"{path}: the file is empty")
    for mark, what in _OTHER_KINDS.items():
        if content.startswith(mark):
            raise ValueError(f"{path} is {what}, not a text: unpack it, or save its table as CSV")
    return content


def _files(paths: Sequence[str | os.PathLike], kinds: Sequence[str]) -> Iterable[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in kinds and p.is_file())
            if not inside:
                raise ValueError(f"{path}: the folder has no file that ends in {', '.join(kinds)}")
            yield from inside
        else:
            yield path


def _one_newline(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_value(cell: str) -> bool:
    return is_number(cell) or looks_like_a_date(cell)


def _has_heading(rows: list[list[str]]) -> bool:
    """See `read_table`."""
    if not any(map(str.strip, rows[0])):  # a gap at the start of a column
        return False
    named = is_data = surely = False
    for column in zip(*rows, strict=True):
        first, *rest = map(str.strip, column[:1000])
        if not first:
            continue
        values = [cell for cell in rest if not is_missing(cell)]
        if all(map(is_number, values)):
            like_the_rest = is_number(first) or (is_missing(first) and bool(values))
        elif all(map(looks_like_a_date, values[:20])):  # a date takes many tries
            like_the_rest = looks_like_a_date(first)
        else:
            like_the_rest = first in values and 2 * len(set(values)) <= len(values)  # labels
            values = []
        is_data = is_data or like_the_rest
        surely = surely or (like_the_rest and not first.isdigit())  # 2019 may be the heading of a year
        named = named or (bool(values) and not like_the_rest)
    return not is_data or (named and not surely)


def _columns(where: str, rows: list[list[str]], has_heading: bool) -> dict[str, list[str]]:
    names = [name.strip() for name in rows[0]] if has_heading else [""] * len(rows[0])
    names = [name or str(number) for number, name in enumerate(names, 1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"{where}: the heading has {', '.join(map(repr, twice))} more than once; name each column once"
        )
    cells = zip(*rows[has_heading:], strict=True) if len(rows) > has_heading else ([] for _ in names)
    return dict(zip(names, map(list, cells), strict=True))


def _json_lines(where: str, text: str) -> dict[str, list[Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = f"{error.msg}, character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
            raise ValueError(f"{where}: line {number} is no JSON (cut off?): {why}") from None
        if not isinstance(row, dict):
            raise ValueError(f'{where}: line {number} is {type(row).__name__}, not an object such as {{"text": "..."}}')
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from None
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: the heading has {', '.join(map(repr, twice))} more than once; name each column once")
    return {name: _values(column) for name, column in zip(table.column_names, table.columns, strict=True)}


def _values(column: Any) -> list[Any]:
    """Dates become ISO texts, as they are in other files: pyarrow would give objects of pandas for some."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"), safe=False)
        return [None if value is None else value.isoformat(" ") for value in column.to_pylist()]
    if pa.types.is_date(column.type):
        return [None if value is None else value.isoformat() for value in column.to_pylist()]
    return column.to_pylist()
