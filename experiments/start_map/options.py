"""What experiments.start_map can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.shared.settings import Checked, Mark, Metavar


@dataclass(frozen=True)
class Options(Checked):
    """What is read."""

    folder: Annotated[Path, Metavar("DIR"), Mark.PLACE, "a results folder of the start_map sweep"]
