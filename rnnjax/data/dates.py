"""Dates as people write them, how far apart they are, and which come next.

dates = read_dates("a.csv: month", ["2020-01", "2020-02", "2020-04"])       datetime64[s]
frequency = find_frequency(dates)                                           monthly
grid(dates, frequency)                                                      with March, which is missing
following(dates[-1], frequency, 2)                                          May, June
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, 604_800
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_DAY_FIRST = ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y")
_NAMED = ("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d %Y", "%B %d %Y")
_MONTHS = ("%Y-%m", "%Y/%m", "%Y.%m", "%m.%Y", "%m/%Y", "%b %Y", "%B %Y", "%b-%y", "%b-%Y", "%YM%m", "%Y %b", "%Y %B")
_YEAR_FIRST = ("%Y/%m/%d", "%Y.%m.%d", "%Y %m %d")
FORMATS = tuple(day + time for day in (*_YEAR_FIRST, *_DAY_FIRST, *_MONTH_FIRST, *_NAMED) for time in _TIMES) + _MONTHS
_QUARTER = re.compile(r"(\d{4})[- ]?[Qq]([1-4])")
_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]*)?")


class Frequency(NamedTuple):
    """Steps of `size` units: "month", "weekday" (Monday to Friday) or "second"."""

    unit: str
    size: int
    day: int = 0  # of the month, 31 for its last one; a shorter month has its last day then

    @property
    def name(self) -> str:
        """monthly, daily, every 15 minutes, ..."""
        named = {
            ("month", 1): "monthly",
            ("month", 3): "quarterly",
            ("month", 12): "yearly",
            ("weekday", 1): "weekdays",
            ("second", HOUR): "hourly",
            ("second", DAY): "daily",
            ("second", WEEK): "weekly",
        }
        if self[:2] in named:
            return named[self[:2]]
        if self.unit == "month":
            return f"every {self.size} months"
        seconds, word = next((s, w) for s, w in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes"), (1, "seconds"))
                          if self.size % s == 0)  # fmt: skip
        return f"every {self.size // seconds} {word}"


def looks_like_a_date(cell: str) -> bool:
    """Whether one text is a date by itself. A plain number is not, though "2020" may be a year."""
    try:
        read_dates("", [cell])
    except ValueError as error:
        return "may be" in str(error)
    return not _NUMBER.fullmatch(cell.strip())


def read_dates(where: str, values: Sequence[Any], form: str | None = None) -> np.ndarray:
    """Dates as datetime64[s] [n]; those with an offset from UTC in UTC.

    Args:
      where: file and column, for messages.
      values: texts, all in one way: ISO 8601, FORMATS, a quarter such as 2020-Q1, or a year such as 2020.
      form: the way, as for `datetime.strptime`: "%d/%m/%Y".

    Raises:
      ValueError: a text that is no date, with its row, counted from 1; 01/02/2020 and no value that tells the day from
        the month.
    """
    texts = [" ".join(str(value).replace(",", " ").split()) for value in values]
    if form is not None:
        return _seconds(where, [_strptime(where, row, str(value), form) for row, value in enumerate(values, 1)])
    for reader in (_year, _iso, _quarter):
        if (found := _all(reader, texts)) is not None:
            return _seconds(where, found)
    meanings: dict[tuple, str] = {}
    for form in FORMATS:
        if (found := _all(lambda text, form=form: datetime.strptime(text, form), texts)) is not None:
            meanings.setdefault(tuple(found), form)
    if len(meanings) > 1:
        both = " or ".join(f"{found[0]:%d %B %Y}" for found in list(meanings)[:2])
        raise ValueError(
            f"{where}: {values[0]!r} in row 1 may be {both}, and no row tells: say which with --date-format "
            f"{next(iter(meanings.values()))}"
        )
    if not meanings:
        row = next((row for row, text in enumerate(texts) if not looks_like_a_date(text)), 0) if len(texts) > 1 else 0
        raise ValueError(
            f"{where}: {values[row]!r} in row {row + 1} is no date as the others are; known: 2020-01-31, 31.01.2020, "
            "01/31/2020, Jan 2020, 2020-Q1, with a time or not; any other with --date-format, such as %d/%m/%Y"
        )
    return _seconds(where, list(next(iter(meanings))))


def find_frequency(dates: np.ndarray) -> Frequency | None:
    """Of sorted dates without repetition, some of which may be missing; None where they are on no common grid."""
    if len(dates) < 2:
        return None
    months, days, times = _parts(dates)
    lengths = _month_lengths(months)
    day = 31 if (days == lengths).all() and days.max() > 28 else int(days.max())
    if (days == np.minimum(day, lengths)).all() and (times == times[0]).all() and (np.diff(months) > 0).all():
        return Frequency("month", int(np.gcd.reduce(np.diff(months))), day)
    steps = np.diff(dates).astype(np.int64)
    count = int(steps.min())
    if (steps % count).any():
        return None
    whole_days = dates.astype("datetime64[D]")
    if count == DAY and np.is_busday(whole_days).all() and len(dates) > 5 and (steps > DAY).any():
        return Frequency("weekday", 1)
    return Frequency("second", count)


def following(last: np.datetime64, frequency: Frequency, count: int) -> np.ndarray:
    """The dates of the next `count` steps: datetime64[s] [count]."""
    last = last.astype("datetime64[s]")
    steps = np.arange(1, count + 1) * frequency.size
    if frequency.unit == "second":
        return last + steps.astype("timedelta64[s]")
    if frequency.unit == "weekday":
        day = last.astype("datetime64[D]")
        return np.busday_offset(day, steps) + (last - day)
    months, _, times = _parts(np.array([last]))
    months = months + steps
    days = np.minimum(frequency.day, _month_lengths(months))
    return (months.astype("datetime64[M]").astype("datetime64[D]") + (days - 1).astype("timedelta64[D]")).astype(
        "datetime64[s]"
    ) + times


def grid(dates: np.ndarray, frequency: Frequency) -> np.ndarray:
    """All dates from the first to the last one, those that are missing among them."""
    months, _, _ = _parts(dates[[0, -1]])
    span = int(np.diff(dates[[0, -1]]).astype(np.int64)[0])
    unit = {"second": frequency.size, "weekday": DAY, "month": 28 * DAY}[frequency.unit]
    steps = int(np.diff(months)[0]) // frequency.size if frequency.unit == "month" else span // unit
    whole = np.concatenate([dates[:1].astype("datetime64[s]"), following(dates[0], frequency, steps)])
    return whole[whole <= dates[-1]]


def _parts(dates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Months since 1970, days of the month from 1, and the time of day."""
    months, days = dates.astype("datetime64[M]"), dates.astype("datetime64[D]")
    return months.astype(np.int64), (days - months.astype("datetime64[D]")).astype(np.int64) + 1, dates - days


def _month_lengths(months: np.ndarray) -> np.ndarray:
    first, following_one = (count.astype("datetime64[M]").astype("datetime64[D]") for count in (months, months + 1))
    return (following_one - first).astype(np.int64)


def _all(reader: Any, texts: Sequence[str]) -> list[datetime] | None:
    try:
        return [reader(text) for text in texts]
    except ValueError:
        return None


def _year(text: str) -> datetime:
    if not re.fullmatch(r"[12][0-9]{3}", text):
        raise ValueError(text)
    return datetime(int(text), 1, 1)


def _quarter(text: str) -> datetime:
    if not (match := _QUARTER.fullmatch(text)):
        raise ValueError(text)
    return datetime(int(match[1]), 3 * int(match[2]) - 2, 1)


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _strptime(where: str, row: int, text: str, form: str) -> datetime:
    try:
        return datetime.strptime(text.strip(), form)
    except ValueError as error:
        raise ValueError(f"{where}: {text!r} in row {row}: {error}") from None


def _seconds(where: str, dates: list[datetime]) -> np.ndarray:
    aware = {date.tzinfo is not None for date in dates}
    if len(aware) > 1:
        raise ValueError(f"{where}: some dates have an offset from UTC and others have none")
    naive = [date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date for date in dates]
    return np.array(naive, "datetime64[us]").astype("datetime64[s]")
