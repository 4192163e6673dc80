"""python -m experiments.music [PRESET] --data-dir DIR: networks foretell the next chord, and go on with a piece.

Frames of a piano roll go in, one a step; out come the probabilities of the 88 keys in the next frame. The data are the
chorales of Bach (`--data-dir`), or a folder of piano rolls of your own (`--folder`). With `--out` the figures are
recorded there, with plots and a continuation of a test piece by the network that validated best. With `--model` what is
learnt is kept, to go on with any piece (python -m experiments.music compose --help):

    python -m experiments.music lstm --folder midi --model DIR
    python -m experiments.music compose --model DIR piece.mid --out longer.mid
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.music.settings import PRESETS, ComposeOptions, Options
from experiments.shared.command_line import Command, Commands, Given
from experiments.shared.start import start

PROG = "python -m experiments.music"
TRAIN = Command(PROG, __doc__, Options, PRESETS, "lstm")
COMPOSE = Command(f"{PROG} compose", "Go on with a piece, with a model that was kept.", ComposeOptions)
COMMAND = Commands(PROG, __doc__, {"train": TRAIN, "compose": COMPOSE}, default="train")


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train a network per seed, score, keep and record where asked; or go on with a piece."""
    from experiments.music import program

    program.run(console, given, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
