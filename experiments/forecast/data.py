"""The series that experiments.forecast knows: airline passengers, a noisy sine, the column of a CSV file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.forecast.settings import SINE_PERIOD
from rnnjax.errors import unknown

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

    def until(self, count: int) -> "Series":
        """The first values alone."""
        return self._replace(y=self.y[:count], truth=None if self.truth is None else self.truth[:count])


def airline() -> Series:
    """The 144 monthly values."""
    return Series("airline passengers", "thousand passengers a month", np.array(AIRLINE, float))


def sine(seed: int = 0) -> Series:
    """y_t = sin(2πt / 25) + 0.2 N(0, 1), t = 0 .. 599."""
    truth = np.sin(2 * np.pi * np.arange(SINE_LENGTH) / SINE_PERIOD)
    noise = SINE_NOISE * np.random.default_rng(seed).standard_normal(SINE_LENGTH)
    return Series("noisy sine", "value", truth + noise, truth)


def read_csv(path: str | Path, column: str | None = None, encoding: str = "utf-8") -> Series:
    """A column of numbers, by its name; without one, the file's only column of numbers.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: an empty file, another encoding, no such column, or a value that is missing or no finite number.
    """
    import pandas as pd

    path = Path(path)
    try:
        table = pd.read_csv(path, encoding=encoding, skipinitialspace=True)
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path} is empty") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not {encoding}: {error}; --encoding cp1251 or latin-1, perhaps?") from error
    except (LookupError, pd.errors.ParserError) as error:
        raise ValueError(f"{path}: {error}") from error
    table.columns = [str(name).strip() for name in table.columns]
    if table.empty:
        raise ValueError(f"{path} has no rows under its heading {', '.join(table.columns)}")
    if column is None:
        numeric = list(table.select_dtypes("number").columns)
        if len(numeric) != 1:
            raise ValueError(
                f"{path} has {len(numeric) or 'no'} columns of numbers{': ' if numeric else ''}{', '.join(numeric)}; "
                f"choose one with --column; all columns: {', '.join(table.columns)}"
            )
        column = numeric[0]
    if column not in table.columns:
        raise ValueError(f"{path}: {unknown('column', column, table.columns)}")
    return Series(f"{path.name}: {column}", column, _numbers(table[column], f"{path}, column {column!r}"))


def _numbers(values, where: str) -> np.ndarray:
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    missing, bad = values.isna().to_numpy(), ~np.isfinite(numbers)
    if missing.any():
        raise ValueError(
            f"{where}: {missing.sum()} of {len(values)} values are missing, the first in data row {_first(missing)}; "
            "fill them in or cut them off"
        )
    if bad.any():
        first = _first(bad)
        raise ValueError(
            f"{where}: {bad.sum()} of {len(values)} values are no finite numbers, the first is "
            f"{str(values.iloc[first - 1])!r} in data row {first}"
        )
    return numbers


def _first(which: np.ndarray) -> int:
    """The number of the first row that is marked, counted from 1."""
    return int(np.argmax(which)) + 1
