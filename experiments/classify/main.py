"""python -m experiments.classify PRESET [--setting VALUE ...]: text classification with recurrent networks.

IMDB and AG News as published systems did them (--list), or any data set on the Hugging Face Hub or in a CSV, TSV or
Parquet file with a text and a label column:

    python -m experiments.classify imdb-keras --seeds 3
    python -m experiments.classify imdb-keras --dataset my.csv --split 0.8/0.1/0.1 --label-column stars
    python -m experiments.classify imdb-keras --text "A film to forget." "I laughed and cried."
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.classify.settings import PRESETS, Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.classify", __doc__, Options, PRESETS, "imdb-keras")


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Prepare, train a classifier for each seed, record and classify where asked."""
    from experiments.classify import program

    program.run(console, given, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
