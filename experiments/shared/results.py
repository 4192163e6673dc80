"""The results folder of a program: DIR/runs.csv, a row per run and metric, and a README.md made from it alone.

A program hands in rows, dicts with at least the columns of NEEDED; what it adds beyond them is kept. Rows of the same
preset, dataset, cell and seed replace those of an earlier call, so that several commands may fill one folder.
"""

import math
import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.shared.again import OUT, again_table
from experiments.shared.csv_rows import put_aside, told
from experiments.shared.numbers import facts, figure, markdown, mean_interval
from experiments.shared.one_writer import one_writer
from experiments.shared.recorded import RUN, TEXT, WHAT, read_recorded
from rnnjax.files import write_whole

NEEDED = [*WHAT, "metric", "split", "value", "seed", "num_params", "num_train", "num_test", "wall_seconds"]
NEEDED += ["command", "git_commit", "device"]
CHANCE = "chance"  # a column that rows may have: what the metric is for one who does not look at the input
NONE: Mapping[str, str] = {}
ADD_SECONDS = 600.0  # that another process may take to add its rows


def record(
    folder, rows: Iterable[Mapping[str, Any]], *, title: str, text: str, plots: Mapping[str, str] = NONE
) -> Path:
    """Write runs.csv and README.md; returns the path of the latter.

    Another process that writes there is waited for. A runs.csv that has been damaged since `check_recorded` saw it is
    put aside under another name, with a warning that says where, and its whole rows are kept: what was measured is not
    thrown away.

    Args:
      folder: where to; made if it is not there.
      rows: a dict per run and metric; `value` is a number, or a truth value where a run either does or does not (the
        column yes_or_no keeps that), or NaN where there is none (never solved, diverged). A column `chance` is shown.
      title, text: what the README says of the program: what was done, and no figure that runs.csv does not hold.
      plots: names of image files in the folder, and their captions.

    Raises:
      ValueError: no row, or a row that lacks a column or has an empty one (only `value` may be NaN).
    """
    folder = Path(folder)
    new = pd.DataFrame(rows)
    _check(new)
    new["yes_or_no"] = [isinstance(value, bool) for value in new["value"]]
    new["value"] = new["value"].astype(float)
    with adding_to(folder):
        path = folder / "runs.csv"
        if path.exists():
            old, damage = read_recorded(path)
            if damage:
                warnings.warn(f"{path} is damaged, as it was: {put_aside(path).name}\n{told(damage)}", stacklevel=2)
            if len(old):
                new = replace(old, new.astype(dict.fromkeys(WHAT, str)), RUN)
        write_whole(path, lambda unfinished: new.to_csv(unfinished, index=False))
        readme = folder / "README.md"
        write_whole(readme, report(pd.read_csv(path, dtype=TEXT), title, text, plots, folder))
    return readme


def adding_to(folder: str | os.PathLike) -> AbstractContextManager[None]:
    """Hold a folder alone while rows are added to files there; whoever else does so is waited for."""
    return one_writer(folder, ADD_SECONDS)


def replace(old: pd.DataFrame, new: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of old whose keys (the values in these columns) new does not have, and then all of new."""
    there = pd.MultiIndex.from_frame(old[keys]).isin(pd.MultiIndex.from_frame(new[keys]))
    return new if there.all() else pd.concat([old[~there], new], ignore_index=True)


def _check(runs: pd.DataFrame) -> None:
    if runs.empty:
        raise ValueError("rows: there is nothing to record")
    if missing := [name for name in NEEDED if name not in runs]:
        raise ValueError(f"rows: columns missing: {', '.join(missing)}")
    if empty := [name for name in NEEDED if name != "value" and runs[name].isna().any()]:
        raise ValueError(f"rows: columns with empty cells: {', '.join(empty)}")


def report(
    runs: pd.DataFrame, title: str, text: str, plots: Mapping[str, str] = NONE, folder: str | Path = "DIR"
) -> str:
    """The text of the README of a folder."""
    commands = runs["command"].unique()
    parts = [
        f"# {title}",
        text,
        "```\n" + "\n".join(commands) + "\n```",
        made_with(runs),
        "## Results",
        table(runs),
        "n runs, one per seed. Mean and median are over the runs that have a value; how many have none stands in the "
        "last column. Intervals are 95 %: Wilson's where a run either does or does not, Student's t otherwise.",
        "## Plots" if plots else "",
        *(f"![{caption}]({name})\n\n{caption}" for name, caption in plots.items()),
        "## Sizes",
        sizes(runs),
        "## Run again",
        f"Rows are run again by the command beside them (with `--data-dir` where their data lie in a folder), into a "
        f"folder of their own; then `python -m experiments.compare {folder} {OUT}` sets both side by side.",
        again_table(runs),
        "Every run and metric is a row of `runs.csv`.",
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def made_with(runs: pd.DataFrame) -> str:
    """Date, commit and device, as the rows have them."""
    names = {"date": "Date", "git_commit": "Commit", "device": "Device"}
    return facts({label: ", ".join(runs[name].dropna().unique()) for name, label in names.items() if name in runs})


def table(runs: pd.DataFrame) -> str:
    """A line per preset, dataset, cell, metric and split."""
    header = [*WHAT, "metric", "split", "mean", "95 % interval", "median [min, max]", "n", "without value"]
    with_chance = CHANCE in runs and runs[CHANCE].notna().any()
    header += [CHANCE] if with_chance else []
    lines = []
    for key, rows in runs.groupby([*WHAT, "metric", "split"], sort=False):
        values = rows["value"].astype(float)
        there = values.dropna().to_numpy()
        mean, low, high = mean_interval(there, yes_or_no=bool(rows["yes_or_no"].eq(True).all()))
        spread = f"{figure(np.median(there))} [{figure(there.min())}, {figure(there.max())}]" if len(there) else "–"
        interval = "–" if math.isnan(low) else f"{figure(low)} to {figure(high)}"
        lines.append([*key, figure(mean), interval, spread, len(values), len(values) - len(there)])
        if with_chance:
            chance = rows[CHANCE].dropna()
            lines[-1].append(figure(chance.mean()) if len(chance) else "–")
    return markdown(header, lines)


def sizes(runs: pd.DataFrame) -> str:
    """A line per preset, dataset and cell: parameters, examples, and the seconds of its runs together."""
    lines = []
    for key, rows in runs.groupby(WHAT, sort=False):
        counts = [_numbers(rows[name]) for name in ("num_params", "num_train", "num_test")]
        lines.append([*key, *counts, figure(rows.drop_duplicates(["seed", "wall_seconds"])["wall_seconds"].sum())])
    return markdown([*WHAT, "parameters", "training examples", "test examples", "seconds, all seeds"], lines)


def _numbers(values: pd.Series) -> str:
    different = sorted(values.unique())
    if len(different) > 3:
        return f"{different[0]:,.10g} to {different[-1]:,.10g}"
    return ", ".join(f"{value:,.10g}" for value in different)
