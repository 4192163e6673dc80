"""What experiments.bench and experiments.bench.sweep can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from experiments.bench.systems import SYSTEMS
from experiments.shared.settings import Checked, Folder, Metavar, Positive, Size, Width

Mode = Literal["train", "forward", "decode"]  # those of work.py
Cell = Literal["elman", "gru", "lstm"]
ROUNDS, QUICK_ROUNDS = 10, 3
SweepSystem = Literal["rnnjax", "torch"]


@dataclass(frozen=True)
class Options(Checked):
    """What is measured; where nothing is said, all there is."""

    quick: Annotated[bool, "an LSTM, one small shape, three rounds: under a minute"] = False
    systems: Annotated[
        tuple[str, ...],
        Metavar("NAME"),
        f"of {', '.join(SYSTEMS)}; rnnjax with options of Scan is another one, as in rnnjax:save=chunks",
    ] = ()
    modes: Annotated[tuple[Mode, ...], Metavar("MODE")] = ()
    cells: Annotated[tuple[Cell, ...], Metavar("CELL")] = ()
    shapes: Annotated[tuple[str, ...], Metavar("T,B,I,H"), "in place of those of the program; not for decoding"] = ()
    rounds: Annotated[Size | None, f"default {ROUNDS}, {QUICK_ROUNDS} with --quick"] = None
    again: Annotated[bool, "measure anew what DIR holds already"] = False
    out: Annotated[Folder, "default results/bench, with --quick results/bench-quick"] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.shapes:
            shape_of(text)


def shape_of(text: str) -> tuple[int, ...]:
    """(T, B, I, H) from "192,32,2,64".

    Raises:
      ValueError: a text of another form.
    """
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"--shapes {text!r} must be four whole numbers above 0, T,B,I,H, such as 192,32,2,64")
    return shape


@dataclass(frozen=True)
class SweepOptions(Checked):
    """A sweep that is timed."""

    systems: Annotated[tuple[SweepSystem, ...], Metavar("NAME")] = ("rnnjax", "torch")
    steps: Annotated[Size, "of training, each run"] = 2000
    seeds: Annotated[Size, "seeds 0..N-1"] = 8
    learning_rates: Annotated[tuple[Positive, ...], Metavar("RATE"), "each with every seed"] = (1e-3, 3e-3, 1e-2)
    seq_len: Annotated[Size, Metavar("T"), "steps of a sequence"] = 192
    batch_size: Annotated[Size, Metavar("B"), "sequences a step"] = 32
    hidden_size: Annotated[Width, Metavar("H"), "units"] = 64
    eval_every: Annotated[Size, "steps between evaluations"] = 200
    examples: Annotated[Size, "held out"] = 500
    rounds: Annotated[Size, "of each system in turn"] = 1
    out: Annotated[Path, Metavar("DIR"), "results folder"] = Path("results/bench")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps % self.eval_every:
            raise ValueError(f"--steps {self.steps} must be a multiple of --eval-every {self.eval_every}")
