"""The table of all cells: python -m experiments.zoo.cell_table writes it anew in rnnjax/cells/README.md.

Names, years and papers come from the docstrings, gates and states from the cells themselves.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from experiments.shared.command_line import Command, Given
from experiments.shared.settings import Checked
from experiments.shared.start import start


@dataclass(frozen=True)
class Options(Checked):
    """There is nothing to be told."""


COMMAND = Command("python -m experiments.zoo.cell_table", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Write the table."""
    from experiments.zoo import table_of_cells

    table_of_cells.run(console)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
