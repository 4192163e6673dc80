"""What experiments.addition and experiments.addition.seeds can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.shared.settings import (
    Bound,
    Checked,
    Code,
    Folder,
    Metavar,
    Optimizer,
    Positive,
    Size,
    Width,
    at_least,
    at_most,
)

CELL = "a name, or my_module:my_factory; options as in lstm:forget_bias=2"
MAX_BITS = 10_000  # of a sum given on the command line


def steps_between(name: str, num_steps: int, eval_every: int) -> None:
    """Raise ValueError where training does not end with an evaluation."""
    if num_steps % eval_every:
        raise ValueError(f"--{name} {num_steps} must be a multiple of --eval-every {eval_every}")


@dataclass(frozen=True)
class Options(Checked):
    """A network, its training, and what it is to add."""

    cell: Annotated[Code, CELL] = "lstm"
    bits: Annotated[int, at_least(2), at_most(MAX_BITS), "length of a word, which holds the sum"] = 8
    hidden_size: Annotated[Width, "units"] = 16
    seeds: Annotated[Size, "seeds 0..N-1"] = 8
    num_steps: Annotated[Size, "of training"] = 2000
    eval_every: Annotated[Size, "steps between evaluations"] = 100
    learning_rate: Annotated[Positive, "of the optimizer"] = 0.01
    optimizer: Optimizer = "adam"
    batch_size: Annotated[Size, "pairs a step"] = 32
    add: Annotated[
        tuple[int, ...],
        Metavar("A"),
        Bound(lambda x: x >= 0, "a whole number from 0 up, which is what these networks add"),
        Bound(lambda x: x.bit_length() < MAX_BITS, f"a number of at most {MAX_BITS - 1} bits"),
        "pairs to add once trained, A B A B ...;",
    ] = ()
    out: Annotated[Folder, "write runs.csv and README.md there"] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        steps_between("num-steps", self.num_steps, self.eval_every)
        if len(self.add) % 2:
            raise ValueError(f"--add takes pairs of numbers, got {len(self.add)} of them")


@dataclass(frozen=True)
class SeedsOptions(Checked):
    """Many networks by hand, and cells beside them."""

    seeds: Annotated[Size, "of the network by hand, 0..N-1"] = 100
    num_steps: Annotated[Size, "of the network by hand"] = 20_000
    eval_every: Annotated[Size, "steps between measurements"] = 500
    cell: Annotated[tuple[Code, ...], Metavar("CELL"), f"cells beside it: {CELL}"] = ("lstm", "gru")
    cell_seeds: Annotated[Size, "of each cell, 0..N-1"] = 20
    cell_steps: Annotated[Size, "of each cell"] = 5000
    timing_seeds: Annotated[Size, "networks by hand that are timed, by one vmap and in a loop"] = 10
    repetitions: Annotated[Size, "of that timing"] = 3
    out: Annotated[Path, Metavar("DIR"), "where runs.csv, README.md and the plot go"] = Path("results/addition")

    def __post_init__(self) -> None:
        super().__post_init__()
        steps_between("num-steps", self.num_steps, self.eval_every)
        steps_between("cell-steps", self.cell_steps, self.eval_every)
