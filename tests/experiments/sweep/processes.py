"""The sweep in a process of its own, to be interrupted and killed, and in this one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd

from experiments.sweep import command

ROOT = Path(__file__).parents[3]
# The sweep with a checkpoint after every chunk of training, telling of each. Everything else is as it is.
DRIVER = """
import sys
from experiments.sweep import command, main as sweep, run as runner
runner.CHECKPOINT_SECONDS = 0.0
run = sweep.run
def telling(planned, folder, runner):
    for progress in run(planned, folder, runner):
        one = progress.group
        at = planned.stage, one.trials[0].cell, progress.step, progress.finished, one.id, progress.node
        print("at", *at, flush=True)
        yield progress
sweep.run = telling
sys.exit(command.main())
"""
# Signals that whoever runs the tests ignores (nohup, a job in the background) would be ignored below, too.
HEARING = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
SIZES = ["--set", "num_steps=12", "eval_every=2", "hidden_size=2", "batch_size=4", "num_validation=20", "num_test=20"]


def start(arguments, folder, *, driver=False, cache) -> subprocess.Popen:
    """The command in a process of its own; programs it compiled before are found in the cache."""
    python = [sys.executable, "-c", HEARING, *(["-c", DRIVER] if driver else ["-m", "experiments.sweep"])]
    settings = {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "COLUMNS": "200",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.Popen(
        [*python, *arguments, "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings},
    )


def output(process) -> tuple[str, str]:
    try:
        return process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def until(process, pattern) -> list[str]:
    """Read what the process prints up to a line that holds the pattern."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return lines
    raise AssertionError(f"ended without {pattern!r}: {lines} {process.stderr.read()}")


def here(capsys, *arguments) -> tuple[int, str]:
    """The command in this process: exit code, and what it said, in one line (errors: on stderr)."""
    code = command.main([str(word) for word in arguments])
    said = capsys.readouterr()
    return code, " ".join((said.err if code else said.out).split())


def runs_of(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "runs.csv", dtype={"trial_id": str, "git_commit": str})
