"""python -m experiments.published: our figures beside the published ones, in results/published.md.

Published figures, where they come from and which of our rows they are to be compared with are lines of published.csv,
beside this file; `differs` says in what a set-up is not the published one, `checked` what of theirs was seen in the
paper, its code or its log. Ours are read from the results folder that
the line names. In one of a program, `preset`, `cell`, `metric` and `split` are values of the columns of runs.csv. In
one of a sweep, `preset` is a task, `cell` a variant and `metric` a column of runs.csv, or, where `step` is given, a
quantity of curves.parquet as it was at that training step.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.published.options import Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.published", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Write the page."""
    from experiments.published import report

    report.run(console, given.options)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
