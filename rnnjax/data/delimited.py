"""Rows of a delimited text: which character separates, whether quotes are quotes, and which rows do not fit.

    read_rows("a.csv", "month;price\n1;101,25\n")        Rows([["month", "price"], ["1", "101,25"]], ";")

Quotes are those of RFC 4180, `"a ""quoted"" word"`, parsed strictly by Python's `csv`. A file separated by tabs often
has none, so that a quote there is a character like others where a row a line makes the better table.
"""

import csv
import io
import threading
from collections.abc import Callable
from typing import NamedTuple

from rnnjax.errors import unknown

SEPARATORS = {"tab": "\t", "semicolon": ";", "bar": "|", "comma": ","}  # rarest in texts first
NO_SEPARATOR = "\uffff"  # what csv is told where there is one column: a code that is no character
LONGEST_FIELD = 2**31 - 1  # in characters; csv stops at 131,072 unless told otherwise
_LIMIT = threading.Lock()  # as csv keeps that for the whole process


class Rows(NamedTuple):
    """Rows of strings, all as long as the first. A blank line is an empty value of one column, and no row of more."""

    rows: list[list[str]]
    separator: str  # "" where there is one column


class _Reading(NamedTuple):
    """A text read with one separator, up to the error where there is one."""

    rows: list[list[str]]
    separator: str
    error: str = ""

    @property
    def share(self) -> float:
        """Of the rows that are as wide as the first one."""
        return 0.0 if self.error else sum(_fits(row, self.rows[0]) for row in self.rows) / len(self.rows)


def read_rows(where: str, text: str, sep: str | None = None, is_value: Callable[[str], bool] = str.isdigit) -> Rows:
    """The rows of a text whose newlines are one character.

    Args:
      where: how the file is called in messages.
      sep: a character or its name in SEPARATORS; "" for one column, a row a line; None for the one of SEPARATORS that
        parts all rows into as many fields as the first one, which has two at least.
      is_value: of a field, whether it is a number or date: where two separators would do, one may be a comma in those.

    Raises:
      ValueError: no rows; a quote that is never closed; a row of more fields than the first one, of which any but the
        first have a value, or of fewer; two separators that would do; a separator that is none.
    """
    if not text.strip():
        raise ValueError(f"{where}: the file is empty")
    if sep is None:
        reading = _found(where, text, is_value)
    else:
        sep = SEPARATORS.get(sep, sep)
        if len(sep) > 1 or sep in ('"', "\n", "\r"):
            raise ValueError(unknown("separator", sep, SEPARATORS) + ", or a character, or '' for one column")
        reading = _read(text, sep)
    if reading.error:
        raise ValueError(f"{where}: {reading.error}")
    width = len(reading.rows[0])
    for number, row in enumerate(reading.rows):
        if not _fits(row, reading.rows[0]):
            parted = f"parted at {reading.separator!r}" if reading.separator else "one column"
            raise ValueError(
                f"{where}: row {number} has {len(row)} fields, the first line {width} ({parted}; rows count from 1 "
                f"below a heading). It begins with {' '.join(row)[:40]!r}. Another separator is given by --sep"
            )
    return Rows([row[:width] for row in reading.rows], reading.separator)


def _fits(row: list[str], first: list[str]) -> bool:
    return len(row) >= len(first) and not any(cell.strip() for cell in row[len(first) :])


def _read(text: str, separator: str) -> _Reading:
    rows, error = _parse(text, separator or NO_SEPARATOR)
    if not separator:
        return _Reading([row or [""] for row in rows], separator, error)
    quoted = _Reading(_without_blank(rows), separator, error)
    if separator == "\t":
        by_line = _Reading([line.split("\t") for line in text.split("\n") if line.strip(" ")], separator)
        if error or (len(by_line.rows) != len(quoted.rows) and by_line.share == 1):
            return by_line
    if f'{separator} "' in text:  # "a", "b": a blank before the quotes
        spaced, spaced_error = _parse(text, separator, skip_blanks=True)
        after_blanks = _Reading(_without_blank(spaced), separator, spaced_error)
        stray = quoted.share < 1 or any(cell.startswith(' "') for row in rows for cell in row)
        if stray and after_blanks.share == 1:
            return after_blanks
    return quoted


def _without_blank(rows: list[list[str]]) -> list[list[str]]:
    return [row for row in rows if len(row) > 1 or "".join(row).strip()]


def _parse(text: str, separator: str, skip_blanks: bool = False) -> tuple[list[list[str]], str]:
    """Rows, [] for a blank line, and what is wrong with the one after the last of them, if anything is."""
    rows: list[list[str]] = []
    line = 0
    with _LIMIT:
        before = csv.field_size_limit(LONGEST_FIELD)
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=skip_blanks
        )
        try:
            for row in reader:
                rows.append(row)
                line = reader.line_num
        except csv.Error as error:
            what = "a quote is opened and never closed" if "end of data" in str(error) else f"{error}"
            return rows, f"line {line + 1}: {what} (within quotes a quote is written twice)"
        finally:
            csv.field_size_limit(before)
    return rows, ""


def _found(where: str, text: str, is_value: Callable[[str], bool]) -> _Reading:
    first, _, below = text.lstrip("\n").partition("\n")
    readings = [_read(text, separator) for separator in SEPARATORS.values() if separator in first]
    readings = [reading for reading in readings if reading.error or len(reading.rows[0]) > 1]
    if not readings:
        return _read(text, _separator_below(below))
    best = max(reading.share for reading in readings)
    readings = [reading for reading in readings if reading.share == best]
    if len(readings) == 1 or best < 1:
        return readings[0]
    characters = {reading.separator for reading in readings}
    for reading in readings:
        others = characters - {reading.separator}
        cells = [cell for row in reading.rows[1:] or reading.rows for cell in row if others & set(cell)]
        if all(map(is_value, cells[:100])):
            return reading
    raise ValueError(
        f"{where}: each of {' '.join(map(repr, sorted(characters)))} parts all {len(readings[0].rows)} rows alike: say "
        "which one is the separator with --sep"
    )


def _separator_below(below: str) -> str:
    """Of rows that are parted alike where the first line is not: the mismatch is then an error, not one column."""
    lines = [line for line in below.split("\n") if line.strip()]
    for separator in ("\t", ";", "|"):
        counts = {line.count(separator) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return separator
    return ""
