"""Joining a Ray cluster, or starting one on this machine, and shipping the code of this process to it."""

import os
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

import experiments
import rnnjax
from experiments.shared.start import num_cores
from experiments.sweep.cluster.groups import LOSSES, no_room, run_groups
from experiments.sweep.run import Runner
from experiments.sweep.settings import Options

INSTALLED = {"site-packages", "dist-packages"}  # in the path of what is, beside the standard library
ANSWER_SECONDS = 10.0  # within which a cluster's address does; Ray itself asks for minutes, and tells of each time
OBJECTS_BYTES = 200 * 2**20  # of shared memory, on a cluster that is started here; what is more goes to disk


@contextmanager
def cluster(console: Console, options: Options) -> Iterator[Runner]:
    """Join the cluster that the options name, or start one, and leave it, or stop it, in the end.

    Nodes need what pyproject.toml names; this project's code, and all else that is imported here and not installed,
    they are sent, so that a sweep never mixes two versions.

    Raises:
      ValueError: there is no such cluster, or no node has room for a group.
    """
    import ray  # an extra; `Options` has seen that it is here

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(LOSSES))  # Ray's own is to try forever
    address = str(options.ray)
    own = {"num_cpus": num_cores(), "object_store_memory": OBJECTS_BYTES, "include_dashboard": False}
    _check_answers(address)
    at_sigterm = signal.getsignal(signal.SIGTERM)
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
    signal.signal(signal.SIGTERM, at_sigterm)  # Ray's own writes pages
    try:
        if text := no_room(ray.nodes(), options.cpus_per_group, options.gpus_per_group):
            raise ValueError(text)
        yield partial(
            run_groups,
            console,
            cpus=options.cpus_per_group,
            gpus=options.gpus_per_group,
            shared=address == "local" or options.checkpoints is not None,
        )
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"cannot join a Ray cluster at {address}: {error}") from error


def ship(folder: Path) -> None:
    """Copy this project's code, and all that was imported and is not installed: single files, and whole packages."""
    library = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    sources = {Path(package.__path__[0]) for package in (rnnjax, experiments)}
    for name in {name.partition(".")[0] for name in list(sys.modules)} - {"__main__", "__mp_main__"}:
        module = sys.modules.get(name)
        places = list(getattr(module, "__path__", ())) or [getattr(module, "__file__", None)]
        for place in (Path(text).resolve() for text in places if text):
            if place.exists() and not library & set(place.parents) and not INSTALLED & set(place.parts):
                sources.add(place)
    for source in sources:
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(source, folder / source.name, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(source, folder)
