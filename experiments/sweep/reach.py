"""How far the gradient reaches at the start, for every variant of a finished sweep, and what it tells of learning.

python -m experiments.sweep.reach results/lstm_gates              writes reach.csv beside its runs.csv
python -m experiments.sweep.reach results/lstm_gates --judge      how reach and gradient horizon rank the share solved

reach.csv has a row per task, lag, variant and seed: what `rnnjax.gradients.gradient_reach` makes of 1,024 sequences.
Variants that compute the same share one compiled program; the lstm_gates sweep takes some minutes on two cores.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from experiments.shared.command_line import Command, Given
from experiments.shared.settings import Checked, Mark, Metavar, Size
from experiments.shared.start import start


@dataclass(frozen=True)
class Options(Checked):
    """What is measured."""

    folder: Annotated[Path, Metavar("DIR"), Mark.PLACE, "a results folder of a sweep"]
    judge: Annotated[bool, "set reach.csv beside the share solved, and measure nothing"] = False
    seeds: Annotated[Size, "seeds 0..N-1"] = 3


COMMAND = Command("python -m experiments.sweep.reach", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Measure, and set the reach beside the share solved."""
    from experiments.sweep import reaches

    options = given.options
    if not options.judge:
        reaches.write_reach(console, options.folder, options.seeds)
    reaches.judge(console, options.folder)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
