"""A sweep on a Ray cluster: each group of trials is a task on some node, and the driver alone writes the folder.

What is lost with a node or with a process, Ray runs again elsewhere. A group that fails for reasons of its own (its
code raises, or it takes its process down time and again) is tried once more, and is then a row that says so.
"""

import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import pandas as pd

import experiments
import rnnjax
from experiments.shared.provenance import git_commit
from experiments.shared.start import num_cores, set_up_jax
from experiments.sweep import run
from experiments.sweep.command import THREADS_PER_CORE
from experiments.sweep.folder import CURVES
from experiments.sweep.plan import Group, Plan
from experiments.sweep.program import make_program
from experiments.sweep.rows import failed_row
from experiments.sweep.run import Progress, Result, Runner, run_group
from experiments.sweep.settings import Options
from rnnjax.tasks import Task
from rnnjax.training.train import make_data

TRIES = 2  # of a group that fails for reasons of its own
LOSSES = 5  # of its node or process that a group outlives in each of them
TELL_EVERY_SECONDS = 1.0
OBJECTS_BYTES = 200 * 2**20  # of shared memory, on a cluster that is started here; what is more goes to disk


@contextmanager
def cluster(options: Options) -> Iterator[Runner]:
    """Join the cluster that the options name, or start one, and leave it, or stop it, in the end.

    The code of the driver is shipped to all nodes: this project's, and every module that was imported from the current
    folder, so that a sweep never mixes two versions. Nodes need what pyproject.toml names.

    Raises:
      ValueError: Ray is not installed, there is no such cluster, or no node has room for a group.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ValueError(f"--ray needs Ray, which is not here ({error}): pip install 'rnnjax[cluster]'") from error

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(LOSSES))  # Ray's own is to try forever
    address = options.ray or os.environ.get("RAY_ADDRESS") or "local"
    own = {"num_cpus": num_cores(), "object_store_memory": OBJECTS_BYTES, "include_dashboard": False}
    with tempfile.TemporaryDirectory() as shipped:
        ship(Path(shipped))
        environment: dict[str, Any] = {"working_dir": shipped}
        if "GLIBC_TUNABLES" in os.environ:  # see experiments/shared/begin.py
            environment["env_vars"] = {"GLIBC_TUNABLES": os.environ["GLIBC_TUNABLES"]}
        how = {"runtime_env": environment, "log_to_driver": False, "logging_level": "error"}
        try:
            with warnings.catch_warnings():
                # JAX warns of every fork; those of Ray run little of Python before they become another program.
                warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
                warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
                ray.init(address, **how, **(own if address == "local" else {}))
        except (ConnectionError, RuntimeError) as error:
            raise ValueError(f"cannot join a Ray cluster at {address}: {error}") from error
    try:
        check_room(ray.nodes(), options.cpus_per_group, options.gpus_per_group)
        shared = address == "local" or options.checkpoints is not None
        yield partial(run_groups, cpus=options.cpus_per_group, gpus=options.gpus_per_group, shared=shared)
    finally:
        ray.shutdown()


def ship(folder: Path) -> None:
    """Copy this project's code and what was imported from the current folder; of a package all files, data too."""
    here = Path.cwd()
    sources = {Path(package.__path__[0]) for package in (rnnjax, experiments)}
    for module in list(sys.modules.values()):
        file = Path(getattr(module, "__file__", None) or "/")
        if file.is_relative_to(here) and "site-packages" not in file.parts:
            sources.add(here / file.relative_to(here).parts[0])
    for source in sources:
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(source, folder / source.name, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(source, folder)


def check_room(nodes: list[dict[str, Any]], cpus: int, gpus: int) -> None:
    room = [(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"]]
    if not any(has >= cpus and has_gpus >= gpus for has, has_gpus in room):
        texts = ", ".join(f"{has:g} and {has_gpus:g}" for has, has_gpus in room)
        raise ValueError(f"a group takes {cpus} cores and {gpus} GPUs, but the nodes have {texts}")


def run_groups(planned: Plan, checkpoints: Path, *, cpus: int, gpus: int, shared: bool) -> Iterator[Progress]:
    """Run all groups as tasks, as many at once as there is room for; `shared`: whether nodes see `checkpoints`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()  # lives as long as the driver
    call = ray.remote(run_on_node).options(num_cpus=cpus, num_gpus=gpus, max_retries=LOSSES, retry_exceptions=False)
    needed = {(one.trials[0].task, one.trials[0].seq_len) for one in planned.groups}
    # In a list an object is handed on as it is: to unpack it may touch JAX, which a node must set up first.
    tasks = {key: [ray.put(planned.tasks[key])] for key in needed}
    folder = checkpoints if shared else None

    def submit(one: Group) -> Any:
        task = tasks[one.trials[0].task, one.trials[0].seq_len]
        return call.remote(one, task, planned.stage, folder, run.CHECKPOINT_SECONDS, cpus, gpus, board)

    groups = {one.id: one for one in planned.groups}
    waiting = {submit(one): one for one in planned.groups}
    failures: Counter[str] = Counter()
    told: dict[str, tuple[int, str]] = {}
    while waiting:
        # All that end within a second at once: a call for each would go through all that wait each time.
        ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=TELL_EVERY_SECONDS)
        for reference in ready:
            one = waiting.pop(reference)
            try:
                answer = ray.get(reference)
            except ray.exceptions.RayError as error:
                answer = _one_line(error)
            if isinstance(answer, str):
                failures[one.id] += 1
                if failures[one.id] < TRIES:
                    waiting[submit(one)] = one
                    continue
                answer = _failed(one, planned, answer)
            for row in answer.rows:
                row["git_commit"] = git_commit()  # there is no repository where the code was shipped to
            yield Progress(one, one.trials[0].num_steps, answer, told.get(one.id, (0, ""))[1])
        under_way = {one.id for one in waiting.values()}
        for group_id, (step, node) in ray.get(board.read.remote()).items():
            if told.get(group_id) != (step, node):
                told[group_id] = step, node
                if group_id in under_way:
                    yield Progress(groups[group_id], step, node=node)


def _failed(one: Group, planned: Plan, error: str) -> Result:
    task = planned.tasks[one.trials[0].task, one.trials[0].seq_len]
    curves = pd.DataFrame({name: [] for name in CURVES}).astype({"index": "int64", "value": "float32"})
    return Result(
        [failed_row(trial, task, one.num_params, planned.stage, error) for trial in one.trials], curves, error
    )


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1].strip()}"[:300]


# --- on the nodes -----------------------------------------------------------------------------------------------------


class Board:
    """Where the groups under way say what they have come to; an actor."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[int, str]] = {}

    def tell(self, group_id: str, step: int, node: str) -> None:
        self._told[group_id] = step, node

    def read(self) -> dict[str, tuple[int, str]]:
        """What has been told since this was last read."""
        told, self._told = self._told, {}
        return told


def run_on_node(
    one: Group,
    task_in_store: list[Any],
    stage: str,
    folder: Path | None,
    every: float,
    cpus: int,
    gpus: int,
    board: Any,
) -> Result | str:
    """A group's rows and curves, or in a line why there are none: not every exception survives the way back."""
    import ray

    node = f"{platform.node()} {ray.get_runtime_context().get_node_id()[:4]}"
    try:
        if not gpus:  # Ray has promised them to others
            jax.config.update("jax_platforms", "cpu")
        set_up_jax(cpus, THREADS_PER_CORE)
        if gpus and jax.default_backend() == "cpu":
            raise ValueError(f"{node}: Ray gave {gpus} GPUs, but JAX finds none there")
        if folder is not None and not folder.is_dir():
            raise ValueError(f"{node}: there is no folder {folder}; --checkpoints takes one that all machines share")
        board.tell.remote(one.id, 0, node)
        task: Task = ray.get(task_in_store[0])
        first = one.trials[0]
        program = make_program(one, task, make_data(task, first.num_validation, first.num_test))
        for progress in run_group(one, task, program, stage, folder, every):
            if progress.result is not None:
                return progress.result
            board.tell.remote(one.id, progress.step, node)
        raise AssertionError("a group ends in a result")
    except Exception as error:
        return _one_line(error)
