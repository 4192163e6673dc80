"""python -m experiments.remedies [DIR]: rank the remedies; does reach at the start predict what is learnt?

Reads the runs of the sweep `remedies`; writes remedies.md and reach_and_success.png beside them.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.remedies.options import Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.remedies", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Rank the remedies of a folder."""
    from experiments.remedies import reading

    reading.run(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
