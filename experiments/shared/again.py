"""Recorded commands as they are called today: what a reader types to run a row again."""

import shlex

import pandas as pd

from experiments.shared.numbers import markdown

OUT = "results/again"
# Rows keep what was typed; modules that have another name since.
MODULES = {
    "experiments.zoo_report": "experiments.zoo",
    "experiments.remedies_report": "experiments.remedies",
    "experiments.report": "experiments.sweep.report",
    "experiments.cell_table": "experiments.zoo.cell_table",
    "experiments.bench_sweep": "experiments.bench.sweep",
    "experiments.addition_by_hand": "experiments.addition.by_hand",
    "experiments.addition_seeds": "experiments.addition.seeds",
}
BY_FLAGS = "experiments.classify"  # its --set KEY=VALUE is --key VALUE now


def today(command: str, out: str = OUT) -> str:
    """A recorded command with today's names, leaving its rows in a folder of their own.

    A text that is no call of a program of ours (of a shell, say, or of another's file) comes back as it is.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if words[:2] != ["python", "-m"] or len(words) < 3 or not words[2].startswith("experiments."):
        return command
    program = MODULES.get(words[2], words[2])
    arguments, given = [], iter(words[3:])
    for word in given:
        if word == "--out":
            next(given, None)
        elif word == "--set" and program == BY_FLAGS:
            arguments += _as_flags(next(given, ""))
        elif not word.startswith("--out="):
            arguments.append(word)
    return shlex.join(["python", "-m", program, *arguments, "--out", out])


def _as_flags(text: str) -> list[str]:
    """["--schedule", "linear"] of schedule=linear, ["--no-masked"] of masked=false."""
    key, _, value = text.partition("=")
    flag = key.replace("_", "-")
    if value.lower() in ("true", "false"):
        return [f"--{flag}" if value.lower() == "true" else f"--no-{flag}"]
    return [f"--{flag}", value]


def again_table(runs: pd.DataFrame) -> str:
    """A line per recorded command: how its rows are run again, and which these are."""
    lines = []
    for command, rows in runs.groupby("command", sort=False):
        cells = rows.drop_duplicates(["preset", "cell"])
        presets = {preset: ", ".join(some["cell"]) for preset, some in cells.groupby("preset", sort=False)}
        seeds = sorted(int(seed) for seed in rows["seed"].unique())
        what = "; ".join(f"{preset}: {names}" for preset, names in presets.items())
        lines.append([f"`{today(str(command))}`", what, _range(seeds)])
    return markdown(["command", "preset: cells", "seeds"], lines)


def _range(seeds: list[int]) -> str:
    """'0 to 9', or the seeds themselves where some are missing."""
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
