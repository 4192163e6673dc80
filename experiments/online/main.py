"""python -m experiments.online [PRESET]: one sequence, one step of gradient descent, as the LSTM was first trained.

Adding and temporal order as Hochreiter & Schmidhuber 1997 have them (Neural Computation 9(8), sections 5.4 and 5.6):
their networks, targets, squared error and rule of stopping. Sequences are drawn anew for every step; training ends
where the last 2,000 were all right and their mean squared error is below a bound; what counts is how many sequences
that took, and how many of 2,560 fresh ones are wrong. Any cell takes part (`--cell gru`).
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.online.settings import PRESETS, Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.online", __doc__, Options, PRESETS, "adding-100")


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train a network per seed until it is right, test, record where asked."""
    from experiments.online import program

    program.run(console, given, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
