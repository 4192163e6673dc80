"""The README of a results folder, made from what the sweep stored there and from nothing else."""

import datetime
import json
from pathlib import Path

import pandas as pd

from experiments.shared.numbers import facts, figure, rough
from experiments.sweep.plots.panels import sizes
from experiments.sweep.plots.write import QUANTITIES, write_plots
from experiments.sweep.spec import sweep_from
from experiments.sweep.tables.contrasts import contrasts, contrasts_table
from experiments.sweep.tables.ranking import solved_by_most
from experiments.sweep.tables.table import (
    KEYS,
    METRICS,
    SETTINGS,
    detail_table,
    diverged,
    failed,
    markdown_table,
    name_sizes,
    num_stale,
    read_runs,
    summary,
)

NEEDED = [*KEYS, "trial_id", "seed", "validation_loss", *METRICS, "chance_loss", "chance_accuracy", "diverged"]
CAPTIONS = {
    "success_by_lag.png": "Share of seeds that solve the task, by lag.",
    "learning_curves.png": "Validation loss while training, at each variant's chosen setting.",
    "gradient_norm_by_lag.png": "Norm of the gradient by the carry k steps back, at each task's longest lag (of those "
    "that at least half of the variants were run at).",
}


def write_page(folder) -> Path:
    """Draws the plots of a results folder and writes its README.md; returns the path of the latter."""
    folder = Path(folder)
    runs = read_runs(folder, NEEDED)
    config = read_config(folder)
    curves = read_curves(folder)
    drawn = write_plots(folder, runs, curves, config.get("name", folder.resolve().name))
    path = folder / "README.md"
    path.write_text(report(config, runs, drawn, date_of(folder, config), folder), encoding="utf-8")
    return path


def read_config(folder) -> dict:
    """config.json of a results folder; empty if there is none."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def read_curves(folder) -> pd.DataFrame | None:
    """The curves that are drawn; None if none were stored."""
    path = Path(folder) / "curves.parquet"
    return pd.read_parquet(path, filters=[("quantity", "in", QUANTITIES)]) if path.is_file() else None


def report(config: dict, runs: pd.DataFrame, drawn=(), date="", folder: str | Path = "DIR") -> str:
    """The text of the README of a folder. `drawn`: paths of the plots, shown by their names."""
    cells = summary(runs)
    name = config.get("name", "results")
    asked = config.get("question") or config.get("description")
    metric = config.get("metric", "test_loss")
    tested = contrasts(runs, _pairs(config))
    parts = [
        f"# {name}",
        asked,
        partial(config, runs),
        f"```\n{config['command']}\n```" if config.get("command") else None,
        made_with(runs, date),
        "## Variants by lag",
        markdown_table(cells, metric),
        how_to_read(runs, cells),
        *(("## Contrasts", contrasts_table(tested)) if len(tested) else ()),
        "## Expected and seen" if config.get("expects") else "## Seen",
        f"Expected: {config['expects']}" if config.get("expects") else None,
        ("Seen:\n\n" if config.get("expects") else "") + "\n".join(f"- {line}" for line in seen(cells)),
        "## Plots" if drawn else None,
        *(f"![{CAPTIONS[path.name]}]({path.name})\n\n{CAPTIONS[path.name]}" for path in drawn),
        "## Every cell",
        again(runs, folder),
        detail_table(cells),
        "Every run is a row of `runs.csv`; `curves.parquet` holds what was recorded along the way.",
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def again(runs: pd.DataFrame, folder: str | Path) -> str | None:
    """The command that runs a row anew."""
    if "trial_id" not in runs:
        return None
    return (
        "A row is run anew by its `trial_id`, of which the last column has one of each cell, and set beside the "
        f"recorded one:\n\n```\npython -m experiments.compare {folder} --trial {runs['trial_id'].iloc[0]}\n```"
    )


def _pairs(config: dict) -> list[tuple[str, str]]:
    """The contrasts of config.json."""
    pairs = config.get("contrasts", [])
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair) for pair in pairs
    ):
        raise ValueError(f"contrasts in config.json must be pairs of variants, got {pairs!r}")
    return [(variant, baseline) for variant, baseline in pairs]


def partial(config: dict, runs: pd.DataFrame) -> str | None:
    """That trials of the sweep are still to be run, where they are."""
    if not {"base", "axes", "name", "question", "expects", "metric"} <= set(config):
        return None
    trials = {trial.id for trial in sweep_from(config).trials()}
    done = trials & set(runs["trial_id"])
    if len(done) == len(trials):
        return None
    return f"**Partial**: {len(done):,} of the {len(trials):,} trials are run; the same command goes on from here."


def made_with(runs: pd.DataFrame, date="") -> str:
    """What the runs say of how they were made: date, commits, versions, device, sizes, seconds.

    Compilation is left out of the seconds: runs that share a program each carry the time of the whole program.
    """
    lines = {
        "Date": date,
        "Commit": _values(runs, "git_commit"),
        "JAX": _values(runs, "jax_version"),
        "Device": _values(runs, "device") + (f" × {_values(runs, 'num_devices')}" if "num_devices" in runs else ""),
        "Runs": f"{len(runs)}, of which {int(diverged(runs).sum())} diverged",
        "Failed": failures(runs),
        "Sizes": sizes(runs),
        "Tried": "; ".join(f"{name} {_values(runs, name)}" for name in SETTINGS if name in runs),
        "Seconds": f"{runs['run_seconds'].sum():,.0f} of running, summed over the runs"
        if "run_seconds" in runs
        else "",
        "Sequences": counts(runs),
    }
    return facts(lines)


def failures(runs: pd.DataFrame) -> str:
    """The runs that could not be run to their end, and why; they count as diverged ones. Empty where there are none."""
    rows_failed = runs[failed(runs)]
    if rows_failed.empty:
        return ""
    texts = [
        f"{len(rows)} of {variant} on {task}, T = {seq_len} ({error})"
        for (task, seq_len, variant, error), rows in rows_failed.groupby([*KEYS, "error"], sort=False)
    ]
    return f"{len(rows_failed)}, counted as diverged: {'; '.join(texts)}. The same command tries them again"


def counts(runs: pd.DataFrame) -> str:
    """How many sequences were trained on, chosen by and tested on, by task where that differs."""
    names = [name for name in ("num_train", "num_validation", "num_test") if name in runs]
    texts = {
        task: ", ".join(f"{_values(rows, name)} for {name.removeprefix('num_')}" for name in names)
        for task, rows in runs.groupby("task", sort=False)
    }
    same = len(set(texts.values())) == 1
    return next(iter(texts.values())) if same else "; ".join(f"{task}: {text}" for task, text in texts.items())


def how_to_read(runs: pd.DataFrame, cells: pd.DataFrame) -> str:
    """How a cell's setting was chosen, and what the words of the tables mean."""
    two_stages = "stage" in runs and (runs["stage"] == "report").any()
    tuned = [name for name in SETTINGS if name in runs and runs[name].nunique() > 1]
    what = ", ".join(name.replace("_", " ") for name in tuned)
    text = "Test sequences are seen once, after training, and choose nothing. "
    if two_stages:
        text += (
            f"In each cell the {what or 'setting'} was chosen by seeds of their own, by the share that met the "
            "criterion on the validation set, then the median steps to that, then the mean validation loss; the seeds "
            "shown are fresh ones, run at the chosen one alone. "
        )
        if waiting := int(name_sizes(runs).groupby(KEYS).ngroups) - len(cells):
            text += f"{waiting} cells have no such runs yet, and are not in the tables. "
        if stale := num_stale(runs):
            text += f"{stale} runs at settings that are no longer the chosen ones are not in the tables. "
    elif tuned:
        text += (
            f"In each cell the {what} is the one with the lowest mean validation loss over the seeds; a diverged run "
            "counts as infinite there. "
        )
    text += (
        "Steps to solve are those to the first evaluation that meets the criterion on the validation set, as a "
        "Kaplan-Meier median. A diverged run is not solved, of infinite test loss and of accuracy 0. "
        "Chance is the best score of a predictor that never looks at its input."
    )
    if edge := _at_the_edge(runs, cells):
        text += f"\n\nChosen at the edge of the learning rates tried, so a wider range might do better: {edge}."
    return text


def _at_the_edge(runs: pd.DataFrame, cells: pd.DataFrame) -> str:
    """'3 of 12 cells at the lowest, 2 at the highest'; empty where no cell is, or only one rate was tried."""
    if "learning_rate" not in runs:
        return ""
    rates = name_sizes(runs).groupby(KEYS)["learning_rate"].agg(["min", "max"]).reset_index()
    joined = cells.merge(rates, on=KEYS)
    joined = joined[joined["min"] < joined["max"]]
    lowest, highest = (int((joined["learning_rate"] == joined[end]).sum()) for end in ("min", "max"))
    return f"{lowest} of {len(joined)} cells at the lowest, {highest} at the highest" if lowest + highest else ""


def seen(cells: pd.DataFrame) -> list[str]:
    """For each task: who solves its longest lag, and the longest lag that each of the others solves."""
    lines = []
    for task, rows in cells.groupby("task", sort=False):
        longest = rows["seq_len"].max()
        last = rows[rows["seq_len"] == longest]
        every = last.loc[last["solved"] == last["n"], "variant"]
        some = [f"{r.variant} ({r.solved}/{r.n})" for r in last.itertuples() if 0 < r.solved < r.n]
        none = last.loc[last["solved"] == 0, "variant"]
        lines.append(
            f"{task}, T = {longest}: solved by every seed of {_names(every)}; by some seeds of {_names(some)}; "
            f"by no seed of {_names(none)}."
        )
        if rows["seq_len"].nunique() > 1:
            reach = rows[solved_by_most(rows)].groupby("variant")["seq_len"].max()
            order = [name for name in rows["variant"].unique()]
            texts = [f"{name} {reach[name] if name in reach.index else 'none'}" for name in order]
            lines.append(f"{task}, longest lag that more than half of the seeds solve: {', '.join(texts)}.")
        best = rows[rows["seq_len"] == longest].dropna(subset="test_loss").nsmallest(1, "test_loss")
        lines += [
            f"{task}, T = {longest}: lowest median test loss {rough(r.test_loss)} ({r.variant}, n = {r.n}); chance "
            f"{figure(r.chance_loss)}."
            for r in best.itertuples()
        ]
    return lines


def _names(names) -> str:
    return ", ".join(names) or "none"


def _values(runs: pd.DataFrame, name: str) -> str:
    """The values a column takes, in order: '0.001, 0.003, 0.01'."""
    if name not in runs:
        return ""
    values = sorted(runs[name].dropna().unique())
    return ", ".join(value if isinstance(value, str) else f"{value:,.10g}" for value in values)


def date_of(folder: Path, config: dict) -> str:
    """The sweep's own date, or that of the last change of its runs."""
    if config.get("date"):
        return str(config["date"])
    return datetime.date.fromtimestamp((folder / "runs.csv").stat().st_mtime).isoformat()
