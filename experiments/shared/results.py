"""The results folder of a program: DIR/runs.csv, a row per run and metric, and a README.md made from it alone.

A program hands in rows, dicts with at least the columns of NEEDED; what it adds beyond them is kept. Rows of the same
preset, dataset, cell and seed replace those of an earlier call, so that several commands may fill one folder.
"""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.shared.numbers import figure, markdown, mean_interval

WHAT = ["preset", "dataset", "cell"]
RUN = [*WHAT, "seed"]
NEEDED = [*WHAT, "metric", "split", "value", "seed", "num_params", "num_train", "num_test", "wall_seconds"]
NEEDED += ["command", "git_commit", "device"]
NONE: Mapping[str, str] = {}
TEXT = dict.fromkeys([*WHAT, "metric", "split", "command", "git_commit", "device", "date"], str)


def record(
    folder, rows: Iterable[Mapping[str, Any]], *, title: str, text: str, plots: Mapping[str, str] = NONE
) -> Path:
    """Write runs.csv and README.md; returns the path of the latter.

    Args:
      folder: where to; made if it is not there.
      rows: a dict per run and metric; `value` is a number, or a truth value where a run either does or does not (the
        column yes_or_no keeps that), or NaN where there is none (never solved, diverged).
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
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "runs.csv"
    if path.exists():
        old = pd.read_csv(path, dtype=TEXT)
        _check(old, str(path))
        new = replace(old, new.astype(dict.fromkeys(WHAT, str)), RUN)
    unfinished = path.with_name("runs.csv.unfinished")
    new.to_csv(unfinished, index=False)
    os.replace(unfinished, path)
    readme = folder / "README.md"
    readme.write_text(report(pd.read_csv(path, dtype=TEXT), title, text, plots), encoding="utf-8")
    return readme


def replace(old: pd.DataFrame, new: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of old whose keys (the values in these columns) new does not have, and then all of new."""
    there = pd.MultiIndex.from_frame(old[keys]).isin(pd.MultiIndex.from_frame(new[keys]))
    return new if there.all() else pd.concat([old[~there], new], ignore_index=True)


def _check(runs: pd.DataFrame, where: str = "rows") -> None:
    if runs.empty:
        raise ValueError(f"{where}: there is nothing to record")
    if missing := [name for name in NEEDED if name not in runs]:
        raise ValueError(f"{where}: columns missing: {', '.join(missing)}")
    if empty := [name for name in NEEDED if name != "value" and runs[name].isna().any()]:
        raise ValueError(f"{where}: columns with empty cells: {', '.join(empty)}")


def report(runs: pd.DataFrame, title: str, text: str, plots: Mapping[str, str] = NONE) -> str:
    """The text of the README."""
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
        "Every run and metric is a row of `runs.csv`.",
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def made_with(runs: pd.DataFrame) -> str:
    """Date, commit and device, as the rows have them."""
    names = {"date": "Date", "git_commit": "Commit", "device": "Device"}
    return "\n".join(
        f"- {label}: {', '.join(runs[name].dropna().unique())}" for name, label in names.items() if name in runs
    )


def table(runs: pd.DataFrame) -> str:
    """A line per preset, dataset, cell, metric and split."""
    header = [*WHAT, "metric", "split", "mean", "95 % interval", "median [min, max]", "n", "without value"]
    lines = []
    for key, rows in runs.groupby([*WHAT, "metric", "split"], sort=False):
        values = rows["value"].astype(float)
        there = values.dropna().to_numpy()
        mean, low, high = mean_interval(there, yes_or_no=bool(rows["yes_or_no"].eq(True).all()))
        spread = f"{figure(np.median(there))} [{figure(there.min())}, {figure(there.max())}]" if len(there) else "–"
        interval = "–" if math.isnan(low) else f"{figure(low)} to {figure(high)}"
        lines.append([*key, figure(mean), interval, spread, len(values), len(values) - len(there)])
    return markdown(header, lines)


def sizes(runs: pd.DataFrame) -> str:
    """A line per preset, dataset and cell: parameters, examples, and the seconds of its runs together."""
    lines = []
    for key, rows in runs.groupby(WHAT, sort=False):
        counts = [_numbers(rows[name]) for name in ("num_params", "num_train", "num_test")]
        lines.append([*key, *counts, figure(rows.drop_duplicates(["seed", "wall_seconds"])["wall_seconds"].sum())])
    return markdown([*WHAT, "parameters", "training examples", "test examples", "seconds, all seeds"], lines)


def _numbers(values: pd.Series) -> str:
    return ", ".join(f"{value:,.10g}" for value in sorted(values.unique()))
