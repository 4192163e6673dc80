"""The page of published figures and ours."""

import json
import math
from pathlib import Path

import pandas as pd
from rich.console import Console

from experiments.published.options import Options
from experiments.shared.numbers import figure, markdown, mean_interval
from experiments.shared.results import TEXT

FIGURES = Path(__file__).with_name("published.csv")
HEADER = ["task", "source", "metric", "published", "ours", "95 % interval", "n", "better?", "what differs"]
HEADER += ["what was checked of theirs", "ours from"]
FEWEST = 3  # runs that a verdict takes: an interval of two says next to nothing


def run(console: Console, options: Options) -> None:
    """Write the page."""
    folder = options.results
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    path = folder / "published.md"
    path.write_text(report(folder), encoding="utf-8")
    console.print(str(path), markup=False)


def report(folder: Path) -> str:
    """The text of published.md."""
    published = pd.read_csv(FIGURES, keep_default_na=False)
    lines = [line(folder, one) for one in published.to_dict("records")]
    text = (
        "n runs, one per seed; the interval is Student's t over them. Of three or more, ours is told apart from the "
        "published one where that lies outside the interval; of fewer there is no verdict. Published figures carry no "
        "interval. A setting of theirs that was checked neither in the paper nor in its code is said to be unchecked."
    )
    parts = ["# Beside published figures", "`python -m experiments.published`", text, markdown(HEADER, lines)]
    return "\n\n".join(parts) + "\n"


def line(folder: Path, one: dict) -> list:
    """A published figure, and the mean of our runs of it."""
    values = ours(folder, one)
    mean, low, high = mean_interval(values.to_numpy(float))
    shown = [figure(mean) if len(values) else "–", "–" if math.isnan(low) else f"{figure(low)} to {figure(high)}"]
    metric = f"{one['metric']}, {one['split']}" + (f", at step {int(one['step']):,}" if one["step"] else "")
    verdict = better(one["published"], one["better"] == "higher", len(values), mean, low, high)
    theirs = [one["what"], one["source"], metric, figure(one["published"])]
    return [*theirs, *shown, len(values), verdict, one["differs"], one["checked"], origin(folder, one)]


def rows_of(folder: Path, one: dict) -> pd.DataFrame:
    """The rows of our runs; none where there is no such folder or row.

    Raises:
      ValueError: the rows are of several cells or settings, so that the figure must name one.
    """
    path = folder / one["folder"] / "runs.csv"
    if not path.exists():
        return pd.DataFrame()
    runs = pd.read_csv(path, dtype=TEXT)
    if "trial_id" in runs:
        runs = runs[(runs["task"] == one["preset"]) & (runs["variant"] == one["cell"])]
        if runs["seed"].duplicated().any():
            raise ValueError(
                f"{FIGURES.name}: {one['what']!r} fits several settings of {path.parent}: a seed has several rows"
            )
        return runs
    for name in ("preset", "metric", "split", *(["cell"] if one["cell"] else [])):
        runs = runs[runs[name] == one[name]]
    if runs["cell"].nunique() > 1:
        raise ValueError(f"{FIGURES.name}: {one['what']!r} must name a cell, of: {', '.join(runs['cell'].unique())}")
    return runs


def ours(folder: Path, one: dict) -> pd.Series:
    """The values of our runs, one per seed: of a sweep, a column of its rows, or a quantity of its curves at a step.

    Raises:
      ValueError: see `rows_of`; or a sweep's folder lacks the metric, or its curves the step.
    """
    runs = rows_of(folder, one)
    if runs.empty:
        return pd.Series(dtype=float)
    if "trial_id" not in runs:
        return runs["value"].dropna()
    there = folder / one["folder"]
    if not one["step"]:
        if one["metric"] not in runs:
            raise ValueError(f"{FIGURES.name}: {one['what']!r}: {there} has no column {one['metric']!r}")
        return runs[one["metric"]].dropna()
    curves = pd.read_parquet(there / "curves.parquet", filters=[("quantity", "==", one["metric"])])
    curves = curves[curves["trial_id"].isin(runs["trial_id"])]
    at = curves.loc[curves["index"] == int(one["step"]), "value"]
    if len(at) != len(runs):
        steps = ", ".join(f"{step:,}" for step in sorted(curves["index"].unique()))
        raise ValueError(
            f"{FIGURES.name}: {one['what']!r}: {there} has no {one['metric']} of every run at step {one['step']}; "
            f"it has those at {steps or 'no step'}"
        )
    return at.dropna()


def origin(folder: Path, one: dict) -> str:
    """Where our figure comes from: folder, commits and dates."""
    runs = rows_of(folder, one)
    if runs.empty:
        return "–"
    config = folder / one["folder"] / "config.json"
    dates = runs["date"].dropna().unique() if "date" in runs else [json.loads(config.read_text())["date"]]
    return ", ".join([f"[{one['folder']}]({one['folder']}/README.md)", *runs["git_commit"].unique(), *map(str, dates)])


def better(published: float, higher: bool, n: int, mean: float, low: float, high: float) -> str:
    """Whether ours is, and whether that is more than chance between seeds."""
    if n < FEWEST:
        return f"no verdict (n = {n})" if n else "not run"
    verdict = "yes" if (mean > published) == higher else "no"
    return verdict if published < low or published > high else f"{verdict}, not told apart"
