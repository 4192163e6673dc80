"""python -m experiments.bench.sweep: the wall time of a sweep, 8 seeds by 3 learning rates, beside PyTorch's.

An LSTM learns the adding task, on batches drawn anew at every step, evaluated on held-out examples now and then. Ours
is what `python -m experiments.sweep` runs, from import to runs.csv: one program over all trials, spread over a device
for each core. PyTorch's are the same runs one after the other in as many processes as there are cores, of one thread
each. The time is from the start of the processes to the last result. DIR/sweep.csv is made anew.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.bench.settings import SweepOptions
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.bench.sweep", __doc__, SweepOptions)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Time each system in turn, and write the report."""
    from experiments.bench import sweep_program

    sweep_program.compare(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
