"""python -m experiments.forecast: what comes next in a series? Any cell, beside forecasts that need no network.

    python -m experiments.forecast airline-best
    python -m experiments.forecast my.csv --column price --period 12 --transforms log,seasonal,standard --ahead 12

Forecasts are made from every origin in the test part, 1 to --horizon steps ahead, by networks that were fitted on
nothing later. With --out they go into a results folder. --ahead N adds what comes after the last value.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.forecast.settings import PRESETS, Options, Settings
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start


def of_a_file(name: str) -> Settings:
    """The settings where a file is named and not a preset.

    Raises:
      ValueError: it is neither.
    """
    if not Path(name).suffix and not Path(name).exists():
        from rnnjax.errors import unknown  # imports JAX, which only a mistake is worth

        raise ValueError(unknown("preset", name, PRESETS) + "; or the path of a file")
    return Settings()


COMMAND = Command("python -m experiments.forecast", __doc__, Options, PRESETS, "airline-best", of_a_file)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Forecast, show, record where asked."""
    from experiments.forecast import program

    program.run(console, given, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
