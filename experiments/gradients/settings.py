"""What experiments.gradients can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from experiments.shared.settings import Checked, Code, Mark, Metavar, Positive, Size, Width, at_least, at_most

SEQ_LEN, SHORTEST = 500, 5  # there is no slope in less
NUM_CHUNKS = 10  # in which training is looked at
Inputs = Literal["normal", "uniform", "zeros"]


@dataclass(frozen=True)
class Options(Checked):
    """Cells, and what all of them are measured on."""

    cells: Annotated[
        tuple[Code, ...], Mark.PLACE, Metavar("CELL"), "a name, or my_module:my_factory; options as in lstm:a=2"
    ]
    out: Annotated[Path, Metavar("DIR"), "results folder"] = Path("results/gradients-quick")
    hidden_size: Annotated[Width, "units"] = 64
    seq_len: Annotated[
        int | None,
        at_least(SHORTEST),
        at_most(2**31 - 1),
        f"steps, or the task's lag, {SEQ_LEN} where nothing is said",
    ] = None
    seeds: Annotated[Size, "seeds 0..N-1"] = 3
    examples: Annotated[Size, "sequences a seed"] = 8
    inputs: Annotated[Inputs | None, "inputs of size 16; normal where nothing is said"] = None
    task: Annotated[str | None, "inputs and loss of a task instead, of the synthetic ones"] = None
    trained: Annotated[
        int, at_least(0), at_most(2**31 - 1), Metavar("N"), "measure again after N training steps on the task"
    ] = 0
    learning_rate: Annotated[Positive, "of that training"] = 3e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inputs is not None and self.task is not None:
            raise ValueError("--inputs and --task exclude each other: a task brings its own inputs")
        if self.trained and self.task is None:
            raise ValueError("--trained needs a --task to train on, such as --task recall")
        if self.trained % NUM_CHUNKS:
            raise ValueError(f"--trained {self.trained} must be a multiple of {NUM_CHUNKS}")
