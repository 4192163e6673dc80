"""python -m experiments.classify PRESET [--setting VALUE ...]: text classification with recurrent networks.

IMDB and AG News as published systems did them (--list), any other data set on the Hugging Face Hub, or a table of your
own (CSV, TSV, JSON lines, Parquet) with a text and a label column:

    python -m experiments.classify imdb-keras --seeds 3
    python -m experiments.classify own --dataset my.csv --text-column review --label-column stars --model DIR

What is kept in DIR says anywhere which class new texts are of; python -m experiments.classify predict --help says more:

    python -m experiments.classify predict --model DIR new.csv --out classes.csv
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.classify.settings import PRESETS, Options, PredictOptions
from experiments.shared.command_line import Command, Commands, Given
from experiments.shared.start import start

PROG = "python -m experiments.classify"
TRAIN = Command(PROG, __doc__, Options, PRESETS, "imdb-keras")
PREDICT = Command(f"{PROG} predict", "Classify texts with a model that was kept.", PredictOptions)
COMMAND = Commands(PROG, __doc__, {"train": TRAIN, "predict": PREDICT}, default="train")


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train or classify, as the command says."""
    from experiments.classify import program

    program.run(console, given, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
