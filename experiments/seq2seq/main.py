"""python -m experiments.seq2seq reverse|numbers-en|numbers-ru: encoder-decoders, with and without attention.

Strings are reversed, and numbers written in English or Russian words. Exact-match accuracy by the length of the source,
on lengths seen in training and not seen, by greedy and by beam decoding. `--write 4021` shows what a network makes of
sources of your own.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.seq2seq.settings import PRESETS, Options
from experiments.shared.command_line import Command, Given
from experiments.shared.start import start

COMMAND = Command("python -m experiments.seq2seq", __doc__, Options, PRESETS)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train with each kind of attention, evaluate by length, record and write where asked."""
    from experiments.seq2seq import program

    program.run(console, given, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv)


if __name__ == "__main__":
    sys.exit(main())
