"""python -m experiments.addition [--add A B ...]: networks learn to add binary numbers, and then add yours.

Any cell, any word length, many seeds side by side. A word of `--bits` bits holds the sum, so numbers lie below
2^(bits - 1) in training. The numbers given with --add may be longer: the network, of the seed that validated best,
runs over as many bits as their sum has.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.addition.settings import Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.addition", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train, evaluate, add what is asked, record where asked."""
    from experiments.addition import program

    program.run(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
