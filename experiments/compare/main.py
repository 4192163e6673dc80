"""Results folders beside each other: what differs between them, by how much, and how sure that is.

    python -m experiments.compare DIR_A DIR_B [DIR ...] [--match NAME=NAME ...] [--out FILE.md]
    python -m experiments.compare DIR --trial ID            a row of a sweep run anew, beside the recorded one

Two folders of sweeps are compared as said below. More than two, or any of a program: each figure that two of them have,
side by side, a sweep's at its chosen setting. Variants that compute the same are taken as one, whatever they are called
(lstm, lstm_np and lstm forget_bias=1), and so are those that --match names.

Of two sweeps, cells are joined by task, seq_len and variant; sizes (hidden_size, num_layers, num_steps) of which either
folder holds several in one cell are joined too, other differences of size are named. In each folder the setting of a
cell is chosen as in every table: by validation loss. A difference is always B − A.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.compare.options import Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.compare", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Compare, write, and show."""
    from experiments.compare import again, report

    (again if given.options.trial else report).run(console, given.options)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
