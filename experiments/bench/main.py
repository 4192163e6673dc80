"""python -m experiments.bench: how fast are our cells beside those of other libraries, on this machine?

Training steps, forward passes and decoding (experiments/bench/systems.py says what exactly). Each system is a process
of its own that waits while another one is measured. They are measured in rounds, one after the other in each; a ratio
is taken within a round, so that what disturbs the machine for longer than that disturbs both alike. Rows of bench.csv
are written as soon as they are measured, and what is measured already is not measured again unless --again is given.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.bench.settings import Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.bench", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Measure what is not measured yet, and write the report."""
    from experiments.bench import program

    program.run(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
