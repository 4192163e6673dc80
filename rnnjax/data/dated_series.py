"""A series from a file: numbers in the order of their dates, evenly spaced, with what was missing named or filled.

series = read_series("prices.csv", "price", exogenous=["sold"])
series.values, series.dates, series.frequency.name          float64 [n], datetime64[s] [n], "monthly"
series.dates_ahead(12)                                      the dates of the twelve steps after the last
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnjax.data.dates import Frequency, find_frequency, following, grid, read_dates
from rnnjax.data.tables import Table, read_table
from rnnjax.errors import unknown

MISSING = ("refuse", "interpolate", "skip")


class DatedSeries(NamedTuple):
    """Values at evenly spaced steps. Without dates the steps are the rows of the file."""

    name: str  # of the column
    values: np.ndarray  # float64 [n]
    dates: np.ndarray | None  # datetime64[s] [n], ascending
    frequency: Frequency | None  # None without dates, and where skipped gaps leave no common one
    exogenous: np.ndarray  # float64 [n, K], further columns at the same steps
    exogenous_names: tuple[str, ...]
    filled: np.ndarray  # bool [n], where a value was interpolated

    def dates_ahead(self, count: int) -> np.ndarray | None:
        """Of the `count` steps after the last one, datetime64[s] [count]; None where there is no frequency."""
        if self.dates is None or self.frequency is None:
            return None
        return following(self.dates[-1], self.frequency, count)


def read_series(
    path: str | os.PathLike,
    column: str | None = None,
    *,
    date_column: str | None = None,
    date_format: str | None = None,
    exogenous: Sequence[str] = (),
    missing: str = "refuse",
    **options: Any,
) -> DatedSeries:
    """A column of numbers, oldest first.

    Args:
      path: see `tables.read_table`.
      column: its heading; None for the only column of numbers.
      date_column: None for the only column of dates, if there is one.
      date_format: see `dates.read_dates`.
      exogenous: headings of further columns of numbers.
      missing: what to do about values and dates that are missing: "refuse" them; "interpolate" on a straight line
        between the neighbours; "skip", so that the rows with values follow upon one another, as trading days do.
      options: for `tables.read_table`.

    Raises:
      ValueError: what `read_table` raises; a column that is not there, or several that may be meant; a date that is
        repeated; dates that are not evenly spaced; what is missing, unless it is asked to be dealt with; a gap at
        either end, which has no neighbour to interpolate from.
    """
    if missing not in MISSING:
        raise ValueError(unknown("way with what is missing", missing, MISSING))
    table = read_table(path, **options)
    name = _value_column(table, exogenous) if column is None else column
    numbers = np.stack([table.numbers(each) for each in (name, *exogenous)], axis=1)
    dates = _dates(table, date_column, date_format)
    where = f"{table.path}: column {name!r}"
    frequency = None
    if dates is not None:
        order = np.argsort(dates, kind="stable")
        dates, numbers = dates[order], numbers[order]
        _check_once(table.path, dates, order)
    if missing == "skip":
        there = ~np.isnan(numbers).any(axis=1)
        numbers, dates = numbers[there], None if dates is None else dates[there]
    if dates is not None:
        frequency = find_frequency(dates)
        if missing != "skip":
            dates, numbers = _on_grid(table.path, dates, numbers, frequency)
    gaps = np.isnan(numbers)
    if gaps.any() and missing == "refuse":
        raise ValueError(_gaps_named(where, dates, gaps, frequency))
    for k in range(numbers.shape[1]):
        _interpolate(where, numbers[:, k], dates)
    return DatedSeries(
        name, numbers[:, 0].copy(), dates, frequency, numbers[:, 1:].copy(), tuple(exogenous), gaps.any(axis=1)
    )


def _value_column(table: Table, exogenous: Sequence[str]) -> str:
    numeric = [name for name in table.number_columns() if name not in exogenous]
    if len(numeric) == 1:
        return numeric[0]
    raise ValueError(
        f"{table.path} has {len(numeric) or 'no'} columns of numbers{': ' if numeric else ''}{', '.join(numeric)}; "
        f"choose one with --column; all columns: {', '.join(table.columns)}"
    )


def _dates(table: Table, column: str | None, form: str | None) -> np.ndarray | None:
    if column is None:
        found = table.date_columns()
        if len(found) > 1:
            raise ValueError(
                f"{table.path} has {len(found)} columns of dates: {', '.join(found)}; choose one with --dates"
            )
        if not found:
            return None
        column = found[0]
    values = table.column(column)
    empty = [row for row, value in enumerate(values, 1) if value is None or not str(value).strip()]
    if empty:
        raise ValueError(
            f"{table.path}: column {column!r}: {len(empty)} dates are missing, the first in row {empty[0]}"
        )
    return read_dates(f"{table.path}: column {column!r}", values, form)


def _check_once(path: str, dates: np.ndarray, order: np.ndarray) -> None:
    twice = np.flatnonzero(dates[1:] == dates[:-1])
    if twice.size:
        first, second = sorted(order[twice[0] : twice[0] + 2] + 1)
        raise ValueError(
            f"{path}: {twice.size} dates are repeated, the first is {shown(dates[twice[0]])} in rows {first} and "
            f"{second}; a series has one value a date: choose one, or add them up"
        )


def _on_grid(path: str, dates: np.ndarray, numbers: np.ndarray, frequency: Frequency | None):
    """Dates without gaps, and NaN for what was not there."""
    if len(dates) < 2:
        return dates, numbers
    if frequency is None:
        steps = np.diff(dates).astype(np.int64) / 86_400
        raise ValueError(
            f"{path}: the dates are not evenly spaced: from {steps.min():g} to {steps.max():g} days apart, the longest "
            f"after {shown(dates[np.argmax(steps)])}. --missing skip takes the rows as they follow upon one another"
        )
    whole = grid(dates, frequency)
    if len(whole) > 10 * len(dates) + 10:
        raise ValueError(
            f"{path}: {len(dates)} dates from {shown(dates[0])} to {shown(dates[-1])} would be {len(whole)} steps "
            f"({frequency.name}): too few of them are there. --missing skip takes the rows as they follow"
        )
    filled = np.full((len(whole), numbers.shape[1]), np.nan)
    filled[np.searchsorted(whole, dates)] = numbers
    return whole, filled


def _gaps_named(where: str, dates: np.ndarray | None, gaps: np.ndarray, frequency: Frequency | None) -> str:
    rows = np.flatnonzero(gaps.any(axis=1))
    if dates is None:
        named = "in rows " + ", ".join(str(row + 1) for row in rows[:5])
    else:
        named = ", ".join(map(shown, dates[rows[:5]]))
    more = " and more" if len(rows) > 5 else ""
    rhythm = f" ({frequency.name})" if frequency else ""
    return (
        f"{where}: {len(rows)} of {len(gaps)} values are missing{rhythm}: {named}{more}. Fill them in, or give "
        "--missing interpolate (a straight line between the neighbours) or --missing skip (as if they had never been)"
    )


def _interpolate(where: str, column: np.ndarray, dates: np.ndarray | None) -> None:
    """Fill what is NaN, in place: by steps, not by seconds, as a month is a step however long it is."""
    gaps = np.isnan(column)
    if not len(column) or gaps.all():
        raise ValueError(f"{where}: all values are missing")
    if gaps[0] or gaps[-1]:
        row = 0 if gaps[0] else len(column) - 1
        at = f"row {row + 1}" if dates is None else shown(dates[row])
        raise ValueError(
            f"{where}: the value at {at} is missing, at the end of the series: cut it off; nothing to fill from"
        )
    places = np.arange(len(column))
    column[gaps] = np.interp(places[gaps], places[~gaps], column[~gaps])


def shown(date: np.datetime64) -> str:
    """2020-01-31, with the time where there is one."""
    return str(date.astype("datetime64[m]")).replace("T", " ").removesuffix(" 00:00")
