"""Where a figure comes from: commit, command, device, date."""

import datetime
import platform
import shlex
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jax

from experiments.shared.start import num_cores


@cache
def git_commit() -> str:
    """The commit of this code when first asked, marked where files differ from it; "unknown" outside a repository."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


# Options that differ from machine to machine and are no part of a recorded command.
OF_A_MACHINE = (
    *("--data-dir", "--ray", "--cpus-per-group", "--gpus-per-group", "--checkpoints"),
    *("--coordinator", "--num-processes", "--process-id"),
)


def provenance(program: str, argv: Sequence[str]) -> dict[str, str]:
    """The columns that say where a row comes from: command, git_commit, device, date."""
    return {
        "command": command(program, argv),
        "git_commit": git_commit(),
        "device": jax.devices()[0].device_kind,
        "date": datetime.date.today().isoformat(),
    }


def command(program: str, argv: Sequence[str]) -> str:
    """The command as it is recorded: without the folder its data lies in, and without the machines it ran on."""
    kept, skip = [], False
    for word in argv:
        value = skip and not word.startswith("--")  # --ray may stand without one
        if not value and word.split("=")[0] not in OF_A_MACHINE:
            kept.append(word)
        skip = word in OF_A_MACHINE
    return shlex.join(["python", "-m", program, *kept])


def machine() -> str:
    """Such as "AMD EPYC, 2 cores"."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor() or platform.machine()])[0]}, {num_cores()} cores"
