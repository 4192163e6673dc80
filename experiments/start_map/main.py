"""The maps of `python -m experiments.sweep start_map`: share solved by the biases a network starts from.

python -m experiments.start_map results/start_map     draws start_map.png and says in a sentence what it shows

Reads runs.csv, and reach.csv where `python -m experiments.sweep.reach DIR` has written one.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.shared.command_line import Command, Given
from experiments.shared.start import start
from experiments.start_map.options import Options

COMMAND = Command("python -m experiments.start_map", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Draw the map, and say what it shows."""
    from experiments.start_map import reading

    reading.run(console, given.options)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
