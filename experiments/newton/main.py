"""How many iterations does Newton's method need, and does the largest Lyapunov exponent foretell it?

    python -m experiments.newton                        every cell, at the start and after a short training on recall
    python -m experiments.newton --cells lstm gru my_module:my_factory --out results/mine
    python -m experiments.newton.times                  how long it takes beside a scan, by T, B and H

Both add rows to the same folder (iterations.csv, times.csv) and write its README.md anew. Rows are kept as soon as they
are measured; what is measured already is not measured again unless --again is given.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.newton.settings import Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import THREADS_PER_CORE, start

COMMAND = Command("python -m experiments.newton", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Measure the cells that are not measured yet, and write the report."""
    from experiments.newton import program

    program.run(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv, threads_per_core=THREADS_PER_CORE)


if __name__ == "__main__":
    sys.exit(main())
