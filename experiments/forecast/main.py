"""python -m experiments.forecast: what comes next in a series? Any cell, beside forecasts that need no network.

    python -m experiments.forecast airline-best
    python -m experiments.forecast my.csv --column price --period 12 --transforms log,seasonal,standard --ahead 12

Forecasts are made from every origin in the test part, 1 to --horizon steps ahead, by networks that were fitted on
nothing later. With --out they go into a results folder. --ahead N adds what comes after the last value. With --model
DIR networks fitted on all values are kept, for when the series has grown; python -m experiments.forecast predict --help
says more:

    python -m experiments.forecast predict --model DIR my-longer.csv --out DIR
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.forecast.settings import PRESETS, Options, PredictOptions, Settings
from experiments.shared.command_line import Command, Commands, Given
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


PROG = "python -m experiments.forecast"
TRAIN = Command(PROG, __doc__, Options, PRESETS, "airline-best", of_a_file)
PREDICT = Command(f"{PROG} predict", "Say what comes next in a series, with a model that was kept.", PredictOptions)
COMMAND = Commands(PROG, __doc__, {"train": TRAIN, "predict": PREDICT}, default="train")


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Forecast, show, keep and record where asked; or say what comes next alone."""
    from experiments.forecast import program

    program.run(console, given, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
