"""The plots and the README of a results folder, drawn and written again from what the sweep stored there.

python -m experiments.sweep.report DIR
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from experiments.shared.command_line import Command, Given
from experiments.shared.settings import Checked, Mark, Metavar
from experiments.shared.start import start


@dataclass(frozen=True)
class Options(Checked):
    """Whose README is made."""

    folder: Annotated[Path, Metavar("DIR"), Mark.PLACE, "a results folder with runs.csv"]


COMMAND = Command("python -m experiments.sweep.report", __doc__, Options)


def write_report(folder: str | Path) -> Path:
    """Draw the plots of a results folder and write its README.md; returns the path of the latter."""
    from experiments.sweep.page import write_page

    return write_page(folder)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Draw and write."""
    console.print(f"{write_report(given.options.folder)}", markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
