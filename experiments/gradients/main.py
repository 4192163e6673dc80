"""How far does the gradient travel in these cells? Every instrument on any cells, on one page.

    python -m experiments.gradients elman lstm:forget_bias=0 lstm:forget_bias=chrono gru
    python -m experiments.gradients my_module:my_factory --inputs zeros --seq-len 200
    python -m experiments.gradients my_module:my_factory --task recall --seq-len 300
    python -m experiments.gradients lstm gru --task recall --seq-len 50 --trained 500

A cell is a name, or my_module:my_factory; options as in lstm:forget_bias=2. On a task it also says in words how far the
gradient reaches, what ends it, and what would help. Writes one page of plots, gradients.csv
(cell, time, quantity, index, mean, low, high, n) and a README.md. Three cells take under a minute on two cores,
a minute more on a task.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.gradients.settings import Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import THREADS_PER_CORE, start

COMMAND = Command("python -m experiments.gradients", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Measure every cell, and write the page, the numbers and the report."""
    from experiments.gradients import program

    program.run(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv, threads_per_core=THREADS_PER_CORE)


if __name__ == "__main__":
    sys.exit(main())
