"""The series that experiments.forecast knows: airline passengers, a noisy sine, the column of a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.forecast.settings import SINE_PERIOD, Reading
from rnnjax.data.dated_series import read_series
from rnnjax.data.dates import Frequency, find_frequency, following

# International airline passengers, thousands a month, January 1949 to December 1960, a row a year (Box & Jenkins 1970,
# series G).
# fmt: off
AIRLINE = (
    112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118,
    115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140,
    145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166,
    171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194,
    196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201,
    204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229,
    242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278,
    284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306,
    315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336,
    340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337,
    360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405,
    417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432,
)
# fmt: on

SINE_NOISE, SINE_LENGTH = 0.2, 600


class Series(NamedTuple):
    name: str
    unit: str  # of the values, for plots
    y: np.ndarray  # [n], float64
    truth: np.ndarray | None = None  # [n], without noise, where that is known
    dates: np.ndarray | None = None  # [n], datetime64[s]
    frequency: Frequency | None = None  # of the dates, where they are evenly spaced
    exogenous: np.ndarray | None = None  # [n, K], float64, further columns
    exogenous_names: tuple[str, ...] = ()

    def until(self, count: int) -> "Series":
        """The first values alone."""
        names = ("truth", "dates", "exogenous")
        cut = {name: None if (each := getattr(self, name)) is None else each[:count] for name in names}
        return self._replace(y=self.y[:count], **cut)

    @property
    def columns(self) -> np.ndarray:
        """The exogenous ones, [n, K]; K is 0 where there are none."""
        return np.zeros((len(self.y), 0)) if self.exogenous is None else self.exogenous

    def dates_ahead(self, count: int) -> np.ndarray | None:
        """Of the `count` steps after the last one, [count]; None where they are not known."""
        if self.dates is None or self.frequency is None:
            return None
        return following(self.dates[-1], self.frequency, count)


def airline() -> Series:
    """The 144 monthly values."""
    dates = np.arange("1949-01", "1961-01", dtype="datetime64[M]").astype("datetime64[s]")
    y = np.array(AIRLINE, float)
    return Series("airline passengers", "thousand passengers a month", y, None, dates, find_frequency(dates))


def sine(seed: int = 0) -> Series:
    """y_t = sin(2πt / 25) + 0.2 N(0, 1), t = 0 .. 599."""
    truth = np.sin(2 * np.pi * np.arange(SINE_LENGTH) / SINE_PERIOD)
    noise = SINE_NOISE * np.random.default_rng(seed).standard_normal(SINE_LENGTH)
    return Series("noisy sine", "value", truth + noise, truth)


def read_file(options: Reading, path: str | Path, exogenous: Sequence[str] = (), column: str | None = None) -> Series:
    """A column of numbers of a file, in the order of its dates where it has some; see `rnnjax.data.dated_series`.

    Args:
      exogenous: further columns.
      column: where the options name none.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: what `read_series` raises.
    """
    read = read_series(
        path,
        options.column or column,
        date_column=options.dates,
        date_format=options.date_format,
        exogenous=exogenous,
        missing=options.missing,
        sep=options.sep,
        decimal=options.decimal,
        thousands=options.thousands,
        heading=options.heading,
        encoding=options.encoding,
    )
    return Series(
        f"{Path(path).name}: {read.name}",
        read.name,
        read.values,
        dates=read.dates,
        frequency=read.frequency,
        exogenous=read.exogenous if exogenous else None,
        exogenous_names=read.exogenous_names,
    )
