"""A verdict on every piece of advice, from the runs of its sweep."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from experiments.advice import ADVICE, BASE, PLOT, SWEEP
from experiments.advice.options import Options
from experiments.shared.cells import variant
from experiments.shared.numbers import facts, figure, markdown, mean_interval
from experiments.shared.one_writer import one_writer
from experiments.shared.provenance import command
from experiments.sweep.adjust import key_and_value
from experiments.sweep.main import execute
from experiments.sweep.page import again
from experiments.sweep.record.folder import Folder
from experiments.sweep.record.resume import REPAIR, finished_trials
from experiments.sweep.spec import Sweep, parse_field
from experiments.sweep.tables.table import best_rows, read_runs
from experiments.sweep.trials.plan import plan

TOLD_BY = {"optimizer": "adam", "clip_norm": np.inf, "clip_value": np.inf, "l1": 0.0, "l2": 0.0}  # and the variant


def name_of(run: pd.Series) -> str:
    """The piece of advice that a row of runs.csv tests."""
    for name, change in ADVICE.items():
        wanted = TOLD_BY | {"variant": variant(BASE)} | {k: v for k, v in change.items() if k != "cell"}
        if "cell" in change:
            wanted["variant"] = variant(change["cell"])
        if all(run[field] == value for field, value in wanted.items()):
            return name
    raise ValueError(f"trial {run.trial_id} is none of the advice tested here")


def verdicts(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per task and piece of advice: test accuracy, its difference to the base seed by seed, and a verdict.

    Difference: mean over seeds and its 95 % interval by Student's t. A diverged run counts as accuracy 0.
    """
    runs = runs.assign(variant=[name_of(run) for _, run in runs.iterrows()])
    best = best_rows(runs)
    best["accuracy"] = best["test_accuracy"].where(~best["diverged"], 0.0)
    rows = []
    for task, of_task in best.groupby("task", sort=False):
        accuracy = of_task.pivot(index="seed", columns="variant", values="accuracy")
        rates = of_task.groupby("variant")["learning_rate"].first()
        for name in ADVICE:
            difference = accuracy[name] - accuracy["base"]
            mean, low, high = mean_interval(difference.to_numpy())
            verdict = "helps" if low > 0 else "hurts" if high < 0 else "no difference shown"
            rows.append(
                {
                    "task": task,
                    "advice": name,
                    "accuracy": accuracy[name].mean(),
                    "difference": mean,
                    "low": low,
                    "high": high,
                    "verdict": "–" if name == "base" else verdict,
                    "learning_rate": rates[name],
                    "num_seeds": len(difference),
                    "num_train": int(of_task["num_train"].iloc[0]),
                    "num_test": int(of_task["num_test"].iloc[0]),
                    "chance": of_task["chance_accuracy"].iloc[0],
                    "trial_id": of_task.loc[of_task["variant"] == name, "trial_id"].iloc[0],
                }
            )
    return pd.DataFrame(rows)


def write_verdicts(folder: Path) -> Path:
    """README.md and a plot from the runs of a folder."""
    runs = read_runs(folder)
    table = verdicts(runs)
    plot(table, folder / PLOT)
    config = json.loads((folder / "config.json").read_text())
    columns = {"Commit": "git_commit", "Device": "device", "JAX": "jax_version"}
    values = {label: ", ".join(map(str, runs[column].unique())) for label, column in columns.items()}
    made = facts({"Date": config["date"], **values})
    parts = ["# Advice on training recurrent networks, tested", SWEEP.question, SWEEP.expects]
    parts += [f"```\n{config['command']}\n```", made]
    for task, rows in table.groupby("task", sort=False):
        first = rows.iloc[0]
        parts.append(
            f"## {task}\n\n{first.num_seeds} seeds, {first.num_train:,} training and {first.num_test:,} test examples; "
            f"chance {figure(first.chance)}."
        )
        header = ["advice", "test accuracy", "difference to the base", "95 % interval", "verdict", "learning rate"]
        header += ["a row of it"]
        lines = [
            [
                row.advice,
                figure(row.accuracy),
                "" if row.advice == "base" else f"{row.difference:+.4f}",
                "" if row.advice == "base" else f"{row.low:+.4f} to {row.high:+.4f}",
                row.verdict,
                figure(row.learning_rate),
                f"`{row.trial_id}`",
            ]
            for row in rows.itertuples()
        ]
        parts.append(markdown(header, lines))
    parts.append(
        f"Differences are seed by seed, with Student's t. With {len(table) - table.task.nunique()} comparisons some "
        "5 % would be called a help or a harm by chance alone. Learning rates are the best of three by validation "
        "loss, for every piece of advice on its own. Every run is a row of `runs.csv`."
    )
    parts.append(again(runs, folder))
    parts.append(f"![Difference of test accuracy to the base, with 95 % intervals]({PLOT})")
    readme = folder / "README.md"
    readme.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return readme


def plot(table: pd.DataFrame, path: Path) -> None:
    """Differences with their intervals, a panel per task."""
    shown = table[table.advice != "base"]
    tasks = list(shown.task.unique())
    figure_ = Figure(figsize=(4.2 + 3.4 * len(tasks), 5.2), layout="constrained")
    colours = {"helps": "C0", "hurts": "C3", "no difference shown": "0.55"}
    for axis, task in zip(np.atleast_1d(figure_.subplots(1, len(tasks), sharey=True)), tasks, strict=True):
        rows = shown[shown.task == task].iloc[::-1]
        for place, row in enumerate(rows.itertuples()):
            axis.plot([row.low, row.high], [place, place], color=colours[row.verdict], linewidth=2)
            axis.plot(row.difference, place, "o", color=colours[row.verdict], markersize=5)
        axis.set_yticks(range(len(rows)), rows.advice)
        axis.axvline(0, color="0.3", linewidth=0.8)
        axis.set_xlabel("difference of test accuracy to the base")
        axis.set_title(task, fontsize=11)
        axis.grid(axis="x", color="0.92", linewidth=0.7)
    figure_.savefig(path, dpi=144)


def changed(sweep: Sweep, texts: Sequence[str]) -> Sweep:
    """The sweep with KEY=VALUE texts applied to every trial.

    Raises:
      ValueError: no KEY=VALUE, an unknown key, a value of another type, or a field by which one piece of advice is told
        from another, which would be overruled or leave trials that are of none.
    """
    base = sweep.base
    own = {field for values in sweep.axes.values() for value in values if isinstance(value, Mapping) for field in value}
    own |= {*(axis for axis in sweep.axes if axis != "clip_norm"), "label", *TOLD_BY}
    for text in texts:
        key, value = key_and_value(text, "--set")
        parsed = parse_field(key, value)
        if key in own:
            hint = "; --seeds N sets how many" if key == "seed" else ""
            raise ValueError(
                f"--set {text}: advice is told apart by {key}, or has values of its own for it{hint}. To try other "
                f"values, use python -m experiments.sweep --axis {key}=..."
            )
        base = dataclasses.replace(base, **{key: parsed})
    return dataclasses.replace(sweep, base=base)


def run(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Run what is left of the sweep, and write the verdicts."""
    sweep = SWEEP.at_full_size() if options.full else SWEEP
    if options.seeds is not None:
        sweep = dataclasses.replace(sweep, axes={**sweep.axes, "seed": range(options.seeds)})
    sweep = changed(sweep, options.set)
    folder = Folder(options.out or ("results/advice" if options.full else "results/advice-quick"))
    called = command("experiments.advice", [word for word in argv if word != REPAIR])
    with one_writer(folder.path):
        finished = finished_trials(console, folder.path, sweep, called, repair=options.repair)
        planned = plan(sweep, finished, options.data_dir)
        folder.prepare(sweep, called)
        execute(console, sweep, planned, folder, write_verdicts)
