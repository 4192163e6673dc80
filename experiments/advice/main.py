"""Advice on training recurrent networks, tested: optimizers, clipping, normalisation, initialisation, penalties.

    python -m experiments.advice              the synthetic task, 3 seeds
    python -m experiments.advice --full       IMDB too (from the Hub, or below --data-dir), 5 seeds

Every piece of advice is one change of the same base: an LSTM with forget bias 0 and orthogonal recurrent matrices,
trained by Adam without clipping. Each has its own best of three learning rates, chosen on validation data.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.advice.options import Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import THREADS_PER_CORE, start

COMMAND = Command("python -m experiments.advice", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Run what is left of the sweep, and write the verdicts."""
    from experiments.advice import reading

    reading.run(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv, threads_per_core=THREADS_PER_CORE)


if __name__ == "__main__":
    sys.exit(main())
