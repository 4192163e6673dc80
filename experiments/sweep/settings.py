"""What experiments.sweep can be told."""

import importlib.util
import os
import re
from dataclasses import dataclass
from typing import Annotated

from experiments.shared.settings import Bound, Checked, Count, Folder, Mark, Metavar, Size

# Each is a file or a folder of experiments/ that holds a SWEEP.
SWEEPS = ("lstm_gates", "forget_bias", "gru_gates", "zoo", "mnist_pixels", "remedies", "start_map", "state_tracking")
Address = Annotated[
    str | None,
    Metavar("ADDRESS"),
    Mark.BARE,
    Bound(lambda text: re.fullmatch(r"|local|auto|[\w.-]+:\d+", text) is not None, "HOST:PORT, auto or local"),
]


@dataclass(frozen=True)
class Options(Checked):
    """A sweep, what is changed of it, and where it goes."""

    sweep: Annotated[
        str,
        Metavar("NAME"),
        Mark.PLACE,
        f"the sweep to run: {', '.join(SWEEPS)} (--list says what each asks), or one of your own, my_sweeps.py or "
        "my_module:SWEEP",
    ] = "lstm_gates"
    list: Annotated[bool, "list the sweeps and what they ask"] = False
    dry_run: Annotated[bool, "show the trials, their number and a cost estimate, and stop"] = False
    full: Annotated[bool, "at the size that is reported, not the quick one"] = False
    set: Annotated[tuple[str, ...], Metavar("KEY=VALUE"), "set a field of every trial, or an option of every cell"] = ()
    axis: Annotated[
        tuple[str, ...], Metavar("KEY=V1,V2"), "run every one of these values, in place of the axis of that name"
    ] = ()
    cell: Annotated[
        tuple[str, ...],
        Metavar("CELL"),
        "one more cell in the table: a name, or my_module:my_factory; options as in lstm:forget_bias=2",
    ] = ()
    seeds: Annotated[
        str | None,
        Metavar("C[,R]"),
        "seeds 0..C-1; with R, these choose the learning rates, and seeds 1000..1000+R-1 report at those",
    ] = None
    out: Annotated[Folder, "results folder (default results/NAME-quick, with --full results/NAME)"] = None
    tensorboard: Annotated[Folder, "write losses and accuracies there as they come, a run for each trial"] = None
    data_dir: Annotated[Folder, "folder of data sets in the Hub's layout (default: the Hub)"] = None
    repair: Annotated[bool, "put damaged files of the results folder aside, run what is missing"] = False
    ray: Annotated[
        Address,
        "run on the Ray cluster there; without an address at $RAY_ADDRESS or else on one started on this machine",
    ] = None
    cpus_per_group: Annotated[Size, "on a cluster, cores that each group of trials takes"] = 1
    gpus_per_group: Annotated[Count, "on a cluster, GPUs that each group of trials takes"] = 0
    checkpoints: Annotated[
        Folder, "where groups under way keep their state: on a cluster, a folder that all machines share"
    ] = None

    def __post_init__(self) -> None:
        if self.ray == "":
            object.__setattr__(self, "ray", os.environ.get("RAY_ADDRESS") or "local")
        super().__post_init__()
        if self.ray is None and (self.cpus_per_group, self.gpus_per_group) != (1, 0):
            raise ValueError("--cpus-per-group and --gpus-per-group are for a cluster: give --ray, too")
        if self.ray is not None and importlib.util.find_spec("ray") is None:
            raise ValueError("--ray needs Ray, which is not installed: pip install 'rnnjax[cluster]'")
        if self.sweep not in SWEEPS and ":" not in self.sweep and not self.sweep.endswith(".py"):
            from rnnjax.errors import unknown  # imports JAX, which only a mistake is worth

            raise ValueError(unknown("sweep", self.sweep, SWEEPS) + "; or my_sweeps.py, or my_module:SWEEP")
