"""What experiments.online can be told: the settings of the paper's experiments, and the program's options."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from experiments.shared.settings import Checked, Code, Folder, Positive, Size, Width

ADDING = "lstm_blocks:block_size=2:input_bias=-3:cut_gradient=true"
ORDER = "lstm_blocks:block_size=2:input_bias=-2:cut_gradient=true"


@dataclass(frozen=True)
class Settings(Checked):
    """What a preset sets, and the command line may set otherwise."""

    task: Literal["adding_1997", "temporal_order", "temporal_order_3"] = "adding_1997"
    lag: Annotated[Size, "T; sequences are of T to 1.1 T steps"] = 100
    cell: Annotated[Code, "a name, or my_module:my_factory; options as in lstm:forget_bias=2"] = ADDING
    hidden_size: Annotated[Width, "units"] = 4
    learning_rate: Annotated[Positive, "of gradient descent, one sequence a step"] = 0.5
    error_below: Annotated[Positive, "the mean squared error of the last sequences at which training may end"] = 0.01
    in_a_row: Annotated[Size, "how many of the last sequences must all be right for training to end"] = 2000
    max_sequences: Annotated[Size, "after which a network that has not ended is given up"] = 500_000


TWO = Settings(task="temporal_order", cell=ORDER, error_below=0.1)
PRESETS = {
    "adding-100": Settings(),
    "adding-500": Settings(lag=500, max_sequences=1_000_000),
    "adding-1000": Settings(lag=1000, max_sequences=3_000_000),
    "order": TWO,
    "order-3": replace(TWO, task="temporal_order_3", hidden_size=6, learning_rate=0.1, max_sequences=1_200_000),
}


@dataclass(frozen=True)
class Options(Checked):
    """How many networks, and where their figures go."""

    seeds: Annotated[Size, "networks 0..N-1, side by side"] = 10
    out: Annotated[Folder, "write runs.csv and README.md there"] = None
