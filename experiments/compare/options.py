"""What experiments.compare can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.shared.settings import Checked, Folder, Mark, Metavar


@dataclass(frozen=True)
class Options(Checked):
    """What is compared."""

    folders: Annotated[tuple[Path, ...], Metavar("DIR"), Mark.PLACE, "two or more results folders; with --trial one"]
    match: Annotated[tuple[str, ...], Metavar("NAME=NAME"), "two variants that are to be taken as one"] = ()
    trial: Annotated[
        str, Metavar("ID"), "run this row of a sweep's runs.csv anew, and set it beside the recorded one"
    ] = ""
    data_dir: Annotated[Folder, "with --trial: folder of data sets in the Hub's layout (default: the Hub)"] = None
    trust_code: Annotated[bool, "with --trial: import modules that the folder names for cells and tasks"] = False
    out: Annotated[
        Path | None,
        Metavar("FILE.md"),
        "where to write (default: compare_<A>_<B>.md in this folder; with --trial nowhere)",
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trial and len(self.folders) != 1:
            raise ValueError(f"--trial re-runs a row of one folder, got {len(self.folders)} folders")
        if not self.trial and len(self.folders) < 2:
            raise ValueError(f"there is nothing to compare {self.folders[0]} with: give two folders, or --trial ID")
        if self.trial and self.match:
            raise ValueError("--match is for folders that are compared, and --trial compares a row with itself")
