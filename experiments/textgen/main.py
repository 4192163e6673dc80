"""python -m experiments.textgen train [FILES ...] --model DIR | generate --model DIR: learn to write like a text.

Train on one or many files, characters or words, in any script; without a file, on the source of Python's own standard
library. What is learnt stands in DIR: configuration and vocabulary as JSON, weights as checkpoints. The same command
goes on where it was stopped. `generate` takes a folder from any machine.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.shared.command_line import Command, Commands, Given
from experiments.shared.start import start
from experiments.textgen.settings import PRESETS, GenerateOptions, TrainOptions

PROG = "python -m experiments.textgen"
TRAIN = Command(
    f"{PROG} train",
    "Learn from text.",
    TrainOptions,
    PRESETS,
    lambda options: "small" if options.files else "source",
)
COMMAND = Commands(
    PROG, __doc__, {"train": TRAIN, "generate": Command(f"{PROG} generate", "Write text.", GenerateOptions)}
)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train or generate, as the command says."""
    from experiments.textgen import program

    program.run(console, given, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
