"""Where a figure comes from: commit, command, device, date."""

import datetime
import shlex
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jax


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
OF_A_MACHINE = ("--data-dir", "--ray", "--cpus-per-group", "--gpus-per-group", "--checkpoints")


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
