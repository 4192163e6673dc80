"""A CSV file read as data that may be damaged: rows of texts with their lines, what is wrong, and who else saved it.

A line that cannot be read costs that row and no other. What a spreadsheet has saved is no damage but no longer what was
written either: it is told apart, because the way out is another one (bring the file back).

Written here rather than with pandera: most of what goes wrong with a file (rows cut off, bytes flipped, semicolons, a
byte-order mark, a folder in its place) is over before a data frame exists to be validated, an id is checked by making
it anew, and the rest is a column's type and range.
"""

import csv
import io
import math
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rnnjax.files import write_whole

SHOWN = 40  # characters of a wrong cell
LONGEST = 8  # lines of a row, looked for beside damage
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|-?inf")


class Damage(NamedTuple):
    """What is wrong with a file, and in which line."""

    file: Path
    line: int | None
    what: str
    reformatted: bool = False  # the value is there, but not as it was written

    def __str__(self) -> str:
        return f"{self.file}{f', line {self.line}' if self.line else ''}: {self.what}"


class Row(NamedTuple):
    line: int
    cells: dict[str, str]


class Table(NamedTuple):
    """What could be read of a file."""

    columns: list[str]
    rows: list[Row]
    damage: list[Damage]
    sign: str  # of a spreadsheet, in words


class Column(NamedTuple):
    """What a column holds.

    Of the kinds, a "float32" is a number that was computed in float32 and written in full, as all that training
    measures is: of 536,870,912 numbers of float64 one is such a one, so a digit that was changed or rounded is seen.
    """

    kind: str  # text, whole, number, float32 or flag
    blank: bool = False  # may be empty
    optional: bool = False  # older files lack it
    least: float = -math.inf
    most: float = math.inf

    def wrong(self, cell: str) -> tuple[str, bool] | None:
        """What is wrong with a cell, and whether a spreadsheet may have done it; None for nothing."""
        if not cell:
            return None if self.blank else ("is empty", False)
        if self.kind == "text":
            return None
        if self.kind == "flag":
            if cell in ("True", "False"):
                return None
            return f"is {shown(cell)}, not True or False", cell.lower() in ("true", "false", "0", "1")
        if not NUMBER.fullmatch(cell):
            return f"is {shown(cell)}, not a number", NUMBER.fullmatch(cell.replace(",", ".").strip()) is not None
        value = float(cell)
        if self.kind == "whole" and not value.is_integer():
            return f"is {shown(cell)}, not a whole number", False
        if not self.least <= value <= self.most:
            return f"is {shown(cell)}, which is not from {self.least:g} to {self.most:g}", False
        if self.kind == "float32" and not _is_float32(value):
            return f"is {shown(cell)}, which no run has written: it is not a number of float32", True
        return None


def _is_float32(value: float) -> bool:
    """Up to what reading a number of 17 digits may be off by."""
    with np.errstate(over="ignore", under="ignore"):
        near = float(np.float32(value))
    return near == value or abs(near - value) <= 2 * np.spacing(abs(value))


def shown(cell: str) -> str:
    return repr(cell if len(cell) <= SHOWN else cell[: SHOWN - 1] + "…")


def read_table(path: Path, schema: Mapping[str, Column]) -> Table:
    """The rows of a file that fit the schema; columns beyond it are kept as they are.

    Raises:
      OSError: it is not there, or may not be read.
    """
    if path.is_dir():
        return Table([], [], [Damage(path, None, "is a folder, not a file")], "")
    data = path.read_bytes()
    if not data.strip():
        return Table([], [], [Damage(path, None, "is empty")], "")
    text, sign = _decode(data)
    first = text.split("\n", 1)[0]
    known = {mark: len(schema.keys() & set(_cells(first, mark) or ())) for mark in (",", ";", "\t")}
    mark = max(known, key=lambda mark: known[mark])
    if not known[mark]:
        return Table([], [], [Damage(path, 1, f"is no row of column names: {shown(first)}")], "")
    if mark != ",":
        sign = f"{'semicolons' if mark == ';' else 'tabs'} between columns"
    (_, columns), *lines = _lines(text, mark)
    names = columns or []
    if wrong := _wrong_names(names, schema):
        return Table(names, [], [Damage(path, 1, wrong)], sign)
    rows, damage = [], []
    cut_off = None if text.endswith("\n") else lines[-1][0] if lines else 1
    for line, cells in lines:
        wrong = (
            "cannot be read: its quotes do not match"
            if cells is None
            else f"has {len(cells)} cells for {len(names)} columns"
            if len(cells) != len(names)
            else "is cut off: the file ends in the middle of it"
            if line == cut_off
            else "holds bytes that are no text"
            if any(re.search("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffd]", cell) for cell in cells)
            else ""
        )
        if wrong:
            damage.append(Damage(path, line, wrong))
            continue
        row = dict(zip(names, cells or (), strict=True))
        faults = [(name, schema[name].wrong(row[name])) for name in names if name in schema]
        found = [Damage(path, line, f"{name} {fault[0]}", fault[1]) for name, fault in faults if fault]
        damage += found[:1]
        if not found:
            rows.append(Row(line, row))
    measured = [name for name in names if name in schema and schema[name].kind == "float32"]
    others = sum(any(row.cells[name] for name in measured) for row in rows)
    if sum(one.reformatted for one in damage) > max(others, 1):  # a spreadsheet writes all rows anew, not one
        sign, rows = sign or "numbers that were rounded or written in another form", []
    return Table(names, rows, damage, sign)


def _decode(data: bytes) -> tuple[str, str]:
    """The text, and what tells of a spreadsheet. A byte that is no UTF-8 spoils its row alone."""
    sign = ""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text, sign = data.decode("utf-16", "replace"), "UTF-16"
    else:
        text = data.decode("utf-8", "surrogateescape")
        if text.startswith("\ufeff"):
            text, sign = text[1:], "a byte-order mark"
    return text.replace("\r\n", "\n"), sign


def _cells(line: str, mark: str) -> list[str] | None:
    try:
        return next(csv.reader([line], delimiter=mark, strict=True), [])
    except csv.Error:
        return None


def _lines(text: str, mark: str) -> list[tuple[int, list[str] | None]]:
    """Cells with the line each row begins in. Cells may hold line ends; where that leads nowhere, few rows do."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    found: list[tuple[int, list[str] | None]] = []
    line, widths = 1, set()
    try:
        for row in reader:
            found.append((line, row))
            widths.add(len(row))
            line = reader.line_num + 1
        if len(widths) == 1:
            return found
    except csv.Error:
        pass
    lines, found, at = text.removesuffix("\n").split("\n"), [], 0
    width = len(_cells(lines[0], mark) or ())
    while at < len(lines):
        spans = ((span, _cells("\n".join(lines[at : at + span]), mark)) for span in range(1, LONGEST + 1))
        taken, cells = next((one for one in spans if one[1] and len(one[1]) == width), (1, _cells(lines[at], mark)))
        found.append((at + 1, cells))
        at += taken
    return found


def _wrong_names(names: list[str], schema: Mapping[str, Column]) -> str:
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        return f"names the column {shown(twice[0])} twice"
    if "" in names:
        return "has a column without a name"
    if missing := [name for name, column in schema.items() if name not in names and not column.optional]:
        return f"lacks the columns {', '.join(missing)}"
    return ""


def as_frame(columns: Sequence[str], rows: Sequence[Row], dtype: Mapping[str, type]) -> pd.DataFrame:
    """Rows as pandas reads them from a file, with these types of columns."""
    if not rows:
        return pd.DataFrame(columns=list(columns))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([row.cells[name] for name in columns] for row in rows)
    text.seek(0)
    return pd.read_csv(text, dtype=dtype)


def told(damage: Collection[Damage], most: int = 8) -> str:
    """Damage as lines of a message."""
    lines = [f"  {one}" for one in list(damage)[:most]]
    return "\n".join(lines + ([f"  and {len(damage) - most} more"] if len(damage) > most else []))


def put_aside(path: Path) -> Path:
    """Keep a damaged file, or folder in its place, under a name beside its own that is not taken; returns that.

    A file stays where it is, too, until a whole one is written in its place: a kill between the two loses nothing.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    if path.is_dir():
        path.rename(aside)
    else:
        write_whole(aside, lambda unfinished: shutil.copyfile(path, unfinished))
    return aside
