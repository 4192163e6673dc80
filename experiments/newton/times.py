"""python -m experiments.newton.times: how long does Newton's method take beside a scan, by T, B and H, on this machine?

Forward passes and training steps of a few cells. Both methods have their turn in each of several rounds, and a ratio is
taken within a round, so that what disturbs the machine for longer than that disturbs both alike. Rows of times.csv are
written as soon as they are measured.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.newton.settings import TimesOptions
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.newton.times", __doc__, TimesOptions)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Measure what is not measured yet, and write the report."""
    from experiments.newton import times_program

    times_program.run(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
