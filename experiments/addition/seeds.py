"""python -m experiments.addition.seeds: over how many steps does every one of many networks learn to add?

The network written by hand (by_hand.py) for many seeds in one vmap, and cells of the library on the same task, one
example a step too, with the optimizer, learning rate and loss of experiments.addition. Measured at every `--eval-every`
steps: are all 16,384 pairs right? And the time of the vmap against a plain loop over seeds.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.addition.settings import SeedsOptions
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.addition.seeds", __doc__, SeedsOptions)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train, measure, time, and record."""
    from experiments.addition import many_seeds

    many_seeds.run(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
