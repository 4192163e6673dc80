"""Recorded commands as they are called today."""

import importlib
import shlex
from pathlib import Path

import pandas as pd
import pytest

from experiments.shared.again import again_table, today

RESULTS = Path(__file__).parents[3] / "results"
NEEDS = {"experiments.music": ["--data-dir", "data"]}  # which is no part of a recorded command


@pytest.mark.parametrize(
    ("typed", "now"),
    [
        ("python -m experiments.music gru --out results/music", "python -m experiments.music gru --out results/again"),
        ("python -m experiments.addition_seeds", "python -m experiments.addition.seeds --out results/again"),
        (
            "python -m experiments.classify p --set masked=false --seeds 3",
            "python -m experiments.classify p --no-masked --seeds 3 --out results/again",
        ),
        (
            "python -m experiments.classify p --set vector_norm=1.5 --out=x",
            "python -m experiments.classify p --vector-norm 1.5 --out results/again",
        ),
        ("python -m experiments.sweep --set a=b", "python -m experiments.sweep --set a=b --out results/again"),
        ("rm -r x", "rm -r x"),
        ("python -m other --out x", "python -m other --out x"),
        ("python -m 'half", "python -m 'half"),
    ],
)
def test_names_and_flags_are_those_of_today(typed, now):
    assert today(typed) == now


def test_a_line_per_command_says_whose_rows_it_runs():
    rows = [
        {"command": f"python -m experiments.music {name}", "preset": name, "cell": name, "seed": seed}
        for name, seeds in (("gru", (0, 1, 2)), ("lstm", (0, 4)))
        for seed in seeds
    ]
    lines = again_table(pd.DataFrame(rows)).splitlines()[2:]
    assert lines[0].endswith("| gru: gru | 0 to 2 |")
    assert lines[1].endswith("| lstm: lstm | 0, 4 |")


def test_every_command_that_is_recorded_is_read_by_its_program_of_today():
    tried = 0
    for path in sorted(RESULTS.glob("*/runs.csv")):
        runs = pd.read_csv(path)
        for command in runs["command"].unique() if "command" in runs else ():
            program, *argv = shlex.split(today(command))[2:]
            name = program if program.count(".") > 1 else f"{program}.main"
            importlib.import_module(name).COMMAND.read([*argv, *NEEDS.get(program, [])])
            tried += 1
    assert tried > 20
