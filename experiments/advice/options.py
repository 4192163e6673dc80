"""What experiments.advice can be told."""

from dataclasses import dataclass
from typing import Annotated

from experiments.shared.settings import Checked, Folder, Metavar, Size


@dataclass(frozen=True)
class Options(Checked):
    """What is run of the sweep."""

    full: Annotated[bool, "at the size that is reported, not the quick one"] = False
    set: Annotated[tuple[str, ...], Metavar("KEY=VALUE"), "set a field of every trial"] = ()
    seeds: Annotated[Size | None, "seeds 0..N-1"] = None
    out: Annotated[Folder, "results folder (default results/advice-quick, with --full results/advice)"] = None
    data_dir: Annotated[Folder, "folder of data sets in the Hub's layout (default: the Hub)"] = None
    repair: Annotated[bool, "put damaged files of the results folder aside, run what is missing"] = False
