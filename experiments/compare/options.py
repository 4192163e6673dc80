"""What experiments.compare can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.shared.settings import Checked, Mark, Metavar


@dataclass(frozen=True)
class Options(Checked):
    """What is compared."""

    folder_a: Annotated[Path, Metavar("DIR_A"), Mark.PLACE, "a folder with runs.csv"]
    folder_b: Annotated[Path, Metavar("DIR_B"), Mark.PLACE, "another"]
    more: Annotated[tuple[Path, ...], Metavar("DIR"), Mark.PLACE, "further ones"] = ()
    match: Annotated[tuple[str, ...], Metavar("NAME=NAME"), "two variants that are to be taken as one"] = ()
    out: Annotated[Path | None, Metavar("FILE.md"), "where to write (default: compare_<A>_<B>.md in this folder)"] = (
        None
    )
