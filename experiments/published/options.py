"""What experiments.published can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.shared.settings import Checked, Metavar


@dataclass(frozen=True)
class Options(Checked):
    """What is read."""

    results: Annotated[Path, Metavar("DIR"), "where the results folders are"] = Path("results")
