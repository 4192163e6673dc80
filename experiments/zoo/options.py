"""What experiments.zoo can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.shared.settings import Checked, Mark, Metavar, Size


@dataclass(frozen=True)
class Options(Checked):
    """What is read, and what is timed."""

    folder: Annotated[Path, Metavar("DIR"), Mark.PLACE, "with the runs of the sweep zoo"] = Path("results/zoo")
    rounds: Annotated[Size, "timed steps of each cell"] = 9
    trust_code: Annotated[bool, "import modules that runs.csv names for cells"] = False
    again: Annotated[bool, "time every cell, also those that cost.csv has"] = False
