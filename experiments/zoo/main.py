"""python -m experiments.zoo: rank the cells of results/zoo by what they learn and by what a step costs.

Training steps are timed here, one cell after another, at the sizes the zoo ran them with; the sweep's own seconds
are not used, for it compiles the next program while one runs. What cost.csv has is not timed again, unless --again is
given. Writes cost.csv, ranking.md and reach_by_cost.png.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.shared.command_line import Command, Given
from experiments.shared.start import start
from experiments.zoo.options import Options

COMMAND = Command("python -m experiments.zoo", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Rank the cells of a folder, timing steps where they are not timed yet."""
    from experiments.zoo import reading

    reading.run(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
