"""Any results folder as one long table: a row for each run and metric, with where it comes from on every row.

    what          task of a sweep, data set of a program, cell of a measurement's table
    at            its lag ("T = 100"), preset, or what else tells two figures of one variant apart
    variant, seed, metric, split, value
    command, commit, date, device

What else the folder's tables hold (settings, sizes) stays beside these in columns of its own.
"""

import json
from pathlib import Path

import pandas as pd

from experiments.shared.results import TEXT

PROVENANCE = ["command", "commit", "date", "device"]
COLUMNS = ["what", "at", "variant", "seed", "metric", "split", "value", *PROVENANCE]
# A sweep's measures, and on what they were taken.
OF_SWEEP = {
    "solved": "validation",
    "steps_to_solve": "validation",
    "validation_loss": "validation",
    "validation_accuracy": "validation",
    "train_loss": "training",
    "test_loss": "test",
    "test_accuracy": "test",
}
OF_BENCH = ["median_ms", "ratio_to_ours", "compile_seconds", "temporary_mb"]
NOT_SAID = "not said"


def read_records(folder) -> pd.DataFrame:
    """The folder's figures, long; COLUMNS come first.

    Raises:
      FileNotFoundError: there is no such folder, or it holds none of runs.csv, bench.csv, gradients.csv.
      ValueError: a runs.csv of neither kind.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    readers = {"runs.csv": _runs, "bench.csv": _bench, "gradients.csv": _gradients}
    parts = [
        read(pd.read_csv(folder / name, dtype=TEXT, skipinitialspace=True), folder)
        for name, read in readers.items()
        if (folder / name).is_file()
    ]
    if not parts:
        raise FileNotFoundError(f"{folder} holds none of {', '.join(readers)}")
    table = pd.concat([whole(part) for part in parts], ignore_index=True)
    return table[[*COLUMNS, *(name for name in table if name not in COLUMNS)]]


def _runs(runs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    if {"preset", "dataset", "cell", "metric", "split", "value"} <= set(runs):
        return runs.rename(columns={"dataset": "what", "preset": "at", "cell": "variant"})
    if {"task", "seq_len", "variant"} <= set(runs):
        return of_sweep(runs, folder)
    raise ValueError(
        f"{folder / 'runs.csv'} is neither a sweep's (task, seq_len, variant) nor a program's (preset, dataset, cell, "
        f"metric, split, value); it has: {', '.join(runs)}"
    )


def of_sweep(runs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """A sweep's rows, long; its command and date stand in config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    metrics = [name for name in OF_SWEEP if name in runs]
    long = runs.melt([name for name in runs if name not in metrics], metrics, "metric", "value")
    long["split"] = long["metric"].map(OF_SWEEP)
    long["value"] = [float({"True": 1, "False": 0}.get(value, value)) for value in long["value"]]
    long["at"] = [f"T = {lag}" for lag in long["seq_len"]]
    given = {name: str(config[name]) for name in ("command", "date") if config.get(name)}
    return long.rename(columns={"task": "what"}).assign(**given)


def _bench(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    metrics = [name for name in OF_BENCH if name in rows]
    long = rows.melt([name for name in rows if name not in metrics], metrics, "metric", "value")
    sizes = [name for name in ("seq_len", "batch_size", "input_size", "hidden_size") if name in rows]
    long["at"] = long["mode"] + long[sizes].astype(str).agg(", ".join, axis=1).radd(" ")
    return long.rename(columns={"cell": "what", "system": "variant", "machine": "device"})


def _gradients(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    long = rows.rename(columns={"time": "what", "cell": "variant", "quantity": "metric", "mean": "value"})
    return long.assign(at=[f"at {index}" for index in rows["index"]])


def whole(part: pd.DataFrame) -> pd.DataFrame:
    """With all of COLUMNS, "not said" where a table is silent about where it comes from."""
    part = part.rename(columns={"git_commit": "commit"})
    absent = {"seed": None, "split": "–", **dict.fromkeys(PROVENANCE, NOT_SAID)}
    part = part.assign(**{name: value for name, value in absent.items() if name not in part})
    return part.astype({"value": float, "what": str, "at": str, "variant": str})
