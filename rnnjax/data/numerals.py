"""Numbers as people write them: 1234.5, 1,234.5, 1.234,5 or 1 234,5. How a column does is found from all of it.

read_numbers("a.csv: price", ["101,25", "", "1.102,25"])       [101.25, nan, 1102.25]
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

MISSING = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "none", "-", ".", "?"))  # in lower case


class TwoMeaningsError(ValueError):
    """Numbers that may be meant in two ways."""


class Style(NamedTuple):
    """How digits are written."""

    decimal: str = "."
    thousands: str = ""  # blanks and apostrophes between groups of three are read in any style


STYLES = (Style(".", ""), Style(",", ""), Style(".", ","), Style(",", "."))


def is_missing(value: Any) -> bool:
    """None, NaN, or a text such as "", "NA" and "-" that stands for no number."""
    return value.strip().lower() in MISSING if isinstance(value, str) else value is None or value != value


def is_number(cell: str) -> bool:
    """Whether a text is a number in one of STYLES."""
    return any(_pattern(style).fullmatch(cell.strip()) for style in STYLES)


def allowed_styles(decimal: str | None = None, thousands: str | None = None) -> list[Style]:
    """The styles left when one or both characters are given.

    Raises:
      ValueError: a decimal mark other than point and comma, the same character twice, or a digit.
    """
    if decimal not in (None, ".", ","):
        raise ValueError(f"--decimal {decimal!r}: the decimal mark is '.' or ',' (decimal= in Python)")
    if thousands is not None and (len(thousands) > 1 or thousands.isdigit() or thousands == decimal):
        raise ValueError(
            f"--thousands {thousands!r}: one character, no digit, and not the decimal mark, or '' for none "
            "(thousands= in Python)"
        )
    styles = [style for style in STYLES if decimal in (None, style.decimal) and thousands in (None, style.thousands)]
    return styles or [Style(decimal or ".", thousands or "")]


def styles_of(values: Sequence[Any], styles: Sequence[Style] = STYLES) -> list[Style]:
    """Those of the styles that all texts among the values fit; none where a value is no number at all."""
    cells = [value.strip() for value in values if isinstance(value, str) and not is_missing(value)]
    return [style for style in styles if all(map(_pattern(style).fullmatch, cells))]


def read_numbers(
    where: str, values: Sequence[Any], styles: Sequence[Style] = STYLES, point_first: bool = True
) -> np.ndarray:
    """Values as float64 [n], NaN where one is missing.

    Args:
      where: file and column, for messages.
      values: texts or numbers.
      styles: those that may be meant. Where several fit and disagree, as 1234 and 1.234 do for "1,234", it is an error.
      point_first: except that a point is then taken for the decimal mark: 1.234 is what programs write.

    Raises:
      ValueError: values that are no finite numbers, with the first one and its row, counted from 1.
      TwoMeaningsError: numbers that may be meant in two ways, 1,234 for example.
    """
    fitting = styles_of(values, styles)
    style = fitting[0] if fitting else max(styles, key=lambda s: sum(len(styles_of([v], [s])) for v in values))
    numbers = np.array([_number(value, style) for value in values], np.float64)
    bad = [row for row in np.flatnonzero(~np.isfinite(numbers)).tolist() if not is_missing(values[row])]
    if bad:
        raise ValueError(
            f"{where}: {len(bad)} of {len(values)} values are no finite numbers, the first is {values[bad[0]]!r} in "
            f"row {bad[0] + 1}"
        )
    for other in fitting[1:]:
        if other.decimal == style.decimal or (point_first and style == STYLES[0]):  # the same values, then
            continue
        there = [_number(value, other) for value in values]
        if not np.array_equal(numbers, there, equal_nan=True):
            row = int(np.argmax((numbers != there) & ~np.isnan(numbers)))
            raise TwoMeaningsError(
                f"{where}: {values[row]!r} in row {row + 1} may be {numbers[row]:g} or {there[row]:g}: say which with "
                f"--decimal {style.decimal} or --decimal {other.decimal}"
            )
    return numbers


@cache
def _pattern(style: Style) -> re.Pattern[str]:
    group, point = rf"([ \u00a0\u202f'’{re.escape(style.thousands)}])", re.escape(style.decimal)
    whole = rf"(?:[1-9][0-9]{{0,2}}{group}[0-9]{{3}}(?:\1[0-9]{{3}})*|[0-9]+)"
    return re.compile(rf"[+\-−]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+\-−]?[0-9]+)?")


def _number(value: Any, style: Style) -> float:
    """NaN for what is missing and for what is no number."""
    if is_missing(value):
        return np.nan
    if isinstance(value, str):
        value = value.strip()
        if not _pattern(style).fullmatch(value):
            return np.nan
        value = re.sub(rf"[ \u00a0\u202f'’{re.escape(style.thousands)}]", "", value)
        value = value.replace("−", "-").replace(style.decimal, ".")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan
