"""One row of a sweep run anew, beside the recorded one."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from experiments.compare.options import Options
from experiments.shared.cells import check_named_by_file
from experiments.shared.csv_rows import told
from experiments.shared.numbers import figure, markdown
from experiments.shared.settings import would_import
from experiments.sweep.record.config import read_config
from experiments.sweep.record.folder import Folder
from experiments.sweep.run import Progress, run as run_trials
from experiments.sweep.spec import FIRST_REPORT_SEED, Sweep, Trial
from experiments.sweep.tables.table import read_runs, tidy
from experiments.sweep.tasks import build_task, is_file
from experiments.sweep.trials.plan import Plan, group
from rnnjax.errors import unknown

# What is set side by side, and how it is called.
SHOWN = {
    "solved": "solved",
    "steps_to_solve": "step at which the validation set met the criterion",
    "stopped_step": "step at which it ended before its time",
    "diverged": "diverged",
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "gradient_horizon": "gradient horizon at the start",
    "gradient_horizon_trained": "gradient horizon after training",
    "run_seconds": "seconds of running",
    "git_commit": "commit",
    "jax_version": "JAX",
    "device": "device",
    "num_devices": "number of devices",
}
VERDICT = ("solved", "diverged")
EXPECTED = (
    "Beside other trials, on another machine or at another commit sums are taken in another order: third digits differ "
    "at once, after many steps losses do, by a factor of two where training is not smooth, and with them the step at "
    "which the criterion is met first. Where even the verdict is another, it hangs on such chance: more seeds tell."
)


def recorded(folder: Path, name: str) -> pd.Series:
    """The row of this id.

    Raises:
      FileNotFoundError, ValueError: no folder of a sweep, or no such row.
    """
    runs = read_runs(folder, ["trial_id", *VERDICT])
    same = runs[runs["trial_id"] == name]
    if same.empty:
        raise ValueError(f"{folder}: {unknown('trial', name, list(runs['trial_id']))}")
    return same.iloc[0]


def trial_of(folder: Path, name: str, seed: int) -> Trial:
    """The trial of this id and seed in the sweep that config.json describes; ids are made of all values of a trial.

    Raises:
      ValueError: config.json is missing or damaged, or has no such trial.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing, and says what a row does not: how often it is evaluated, and on what")
    sweep, damage = read_config(path)
    if sweep is None:
        raise ValueError(told(damage))
    for trial in _trials(sweep, seed):
        if trial.id == name:
            return trial
    raise ValueError(f"trial {name} is in {folder / 'runs.csv'}, but {path} describes no such trial")


def _trials(sweep: Sweep, seed: int) -> list[Trial]:
    """Those with this seed; of seeds that report, trials of any rate that was tried."""
    trials = sweep.trials()
    if seed < FIRST_REPORT_SEED:
        return [trial for trial in trials if trial.seed == seed]

    return list(dict.fromkeys(replace(trial, seed=seed) for trial in trials))


def check_code(trial: Trial, folder: Path, trust_code: bool) -> None:
    """A folder never chooses what code runs.

    Raises:
      ValueError: its trial names a module for cell or task, and the user has not said that it may be imported.
    """
    where = str(folder / "config.json")
    check_named_by_file(trial.cell, where, trust_code)
    if ":" in trial.task and not is_file(trial.task) and not trust_code:
        raise would_import(f"{where}: task {trial.task!r}")


def run_anew(console: Console, trial: Trial, stage: str, data_dir: Path | None) -> pd.Series:
    """The row of a trial that is run by itself, in a folder that is gone afterwards."""
    key = trial.task, trial.seq_len
    tasks = {key: build_task(*key, data_dir)}
    planned = Plan(tuple(group([trial], tasks)), tasks, stage)
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(place)
        for progress in run_trials(planned, folder):
            _tell(console, progress, trial)
        return tidy(folder.runs()).iloc[0]


def _tell(console: Console, progress: Progress, trial: Trial) -> None:
    if progress.measured is not None:
        loss = float(progress.measured.validation_loss[0])
        console.print(f"step {progress.step:,} of {trial.num_steps:,}: validation loss {figure(loss)}", markup=False)


def beside(before: pd.Series, after: pd.Series) -> list[list[str]]:
    """A line per quantity: recorded, and anew."""
    both = (before, after)
    return [[what, *(_text(row.get(name)) for row in both)] for name, what in SHOWN.items() if name in after]


def _text(value) -> str:
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return "–"
    return {True: "yes", False: "no"}[bool(value)] if str(value) in ("True", "False") else figure(value)


def verdict(before: pd.Series, after: pd.Series) -> str:
    """'The same verdict: solved, recorded and anew.'"""
    texts = ["diverged" if row["diverged"] else "solved" if row["solved"] else "not solved" for row in (before, after)]
    if texts[0] == texts[1]:
        return f"The same verdict: {texts[0]}, recorded and anew."
    return f"Another verdict: {texts[0]} as recorded, {texts[1]} anew."


def run(console: Console, options: Options) -> None:
    """Run the row anew, and show both; written where --out says."""
    (folder,) = options.folders
    before = recorded(folder, options.trial)
    trial = trial_of(folder, options.trial, int(before["seed"]))
    check_code(trial, folder, options.trust_code)
    after = run_anew(console, trial, str(before.get("stage", "both")), options.data_dir)
    text = "\n\n".join(
        [
            f"# {options.trial}",
            f"A row of `{folder}`, recorded and run anew.",
            verdict(before, after),
            markdown(["", "recorded", "anew"], beside(before, after)),
            EXPECTED,
        ]
    )
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    console.print(text, markup=False)
