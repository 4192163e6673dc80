"""What a results folder of a sweep holds, believed only as far as it can be shown to be whole.

- Every cell of runs.csv has its column's type and range; measured losses and accuracies are numbers of float32.
- Every row's id is made again from the row's own values. What is in an id but not in a row (steps between evaluations,
  the label, the sizes of held-out sets where a data set has its own, and whether the length is the task's own) is that
  of a trial of the sweep in config.json with this task, cell and name.
- What all rows of a kind have in common (number of parameters, chance levels, the sizes of a data set) is as in most.
- Every row has its curves, evaluated as often as it was trained for; its training loss is their last and its validation
  loss their lowest. A row that says why its trial failed has none, and no results.

Nothing tells of a change to `solved`, `steps_to_solve`, seconds, versions and devices, or to a gradient horizon, that
leaves each of its type and in its range.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.shared.cells import parse_cell
from experiments.shared.csv_rows import Column, Damage, Row, as_frame, read_table, shown
from experiments.sweep.record.config import read_config
from experiments.sweep.record.folder import CURVES, TEXT
from experiments.sweep.spec import FIELDS, Sweep, Trial, parse_field

COUNT = Column("whole", least=1)
SECONDS = Column("number", least=0)
MEASURED = Column("float32", blank=True)
SHARE = Column("float32", blank=True, least=0, most=1)
SCHEMA = {
    **dict.fromkeys(["trial_id", "variant", "cell", "cell_options", "task", "optimizer"], Column("text")),
    **dict.fromkeys(["seq_len", "hidden_size", "num_layers", "batch_size", "num_steps", "num_train"], COUNT),
    **dict.fromkeys(["num_validation", "num_test"], COUNT),
    **dict.fromkeys(["num_params", "seed", "num_devices"], Column("whole", least=0)),
    **dict.fromkeys(["learning_rate", "clip_norm", "clip_value", "l1", "l2"], Column("number")),
    **dict.fromkeys(["omega", "auxiliary"], Column("number", blank=True, optional=True)),
    "auxiliary_lag": Column("whole", blank=True, optional=True),
    **dict.fromkeys(["train_loss", "validation_loss", "test_loss"], MEASURED),
    **dict.fromkeys(["validation_accuracy", "test_accuracy"], SHARE),
    "chance_loss": Column("number", blank=True),
    "chance_accuracy": Column("number", blank=True, least=0, most=1),
    **dict.fromkeys(["solved", "diverged"], Column("flag")),
    "steps_to_solve": Column("whole", blank=True, least=1),
    "stopped_step": Column("whole", blank=True, optional=True, least=1),
    **dict.fromkeys(["gradient_horizon", "gradient_horizon_trained"], Column("number", blank=True)),
    **dict.fromkeys(
        ["gradient_horizon_censored", "gradient_horizon_trained_censored"], Column("flag", blank=True, optional=True)
    ),
    **dict.fromkeys(["compile_seconds", "run_seconds"], SECONDS),
    **dict.fromkeys(["git_commit", "jax_version", "device"], Column("text")),
    "error": Column("text", blank=True, optional=True),
}
OF_A_TRIAL = ("seq_len", "num_validation", "num_test")  # a row holds the data's where the trial leaves it to them
TIMINGS = ("compile_seconds", "run_seconds")
KIND = ("task", "seq_len", "git_commit")
MODEL = (*KIND, "cell", "cell_options", "hidden_size", "num_layers")
IN_COMMON = {  # column: among rows that are equal in these
    "chance_loss": KIND,
    "chance_accuracy": KIND,
    "num_params": MODEL,
    "num_train": (*KIND, "batch_size", "num_steps"),
}
QUANTITIES = ("train_loss", "validation_loss", "validation_accuracy")
LEFT_BY_FAILED = {  # what a trial that failed has in the columns of results
    **dict.fromkeys([*QUANTITIES, "test_loss", "test_accuracy", "steps_to_solve", "stopped_step"], ""),
    **{"solved": "False", "diverged": "True", "num_devices": "0"},
}


class Checked(NamedTuple):
    """What a folder holds."""

    runs: pd.DataFrame  # the whole rows
    curves: pd.DataFrame  # of these
    damage: tuple[Damage, ...]
    sign: str  # of a spreadsheet that has saved runs.csv
    folded: int  # rows that say again what another says


def check(folder: Path, sweep: Sweep) -> Checked:
    """Read a results folder; changes nothing.

    Args:
      folder: it may be absent, or hold no trial yet.
      sweep: what rows are compared with where config.json is missing or damaged.

    Raises:
      OSError: a file is there and may not be read.
    """
    config, runs = folder / "config.json", folder / "runs.csv"
    nothing = Checked(pd.DataFrame({"trial_id": []}), pd.DataFrame({name: [] for name in CURVES}), (), "", 0)
    if not folder.is_dir():
        return nothing
    damage: list[Damage] = []
    if config.exists():
        described, damage = read_config(config)
        sweep = described or sweep
    elif runs.exists():
        damage = [Damage(config, None, "is missing, and there are runs")]
    if not runs.exists():
        return nothing._replace(damage=tuple(damage))
    columns, rows, found, sign = read_table(runs, SCHEMA)
    damage += found
    rows, found = _true_ids(runs, rows, sweep)
    damage += found
    rows, found, num_folded = _once(runs, rows)
    damage += found
    rows, found = _in_common(runs, rows)
    damage += found
    curves, found = _read_curves(folder / "curves.parquet", not all(row.cells.get("error") for row in rows))
    damage += found
    rows, found = _with_curves(folder, rows, curves) if not found else ([], [])
    damage += found
    ran = {row.cells["trial_id"] for row in rows if not row.cells.get("error")}
    curves = curves[curves["trial_id"].isin(ran)]
    frame = as_frame(columns, rows, TEXT) if rows else nothing.runs
    return Checked(frame, curves, tuple(damage), sign, num_folded)


# --- rows -------------------------------------------------------------------------------------------------------------


def _true_ids(path: Path, rows: Iterable[Row], sweep: Sweep) -> tuple[list[Row], list[Damage]]:
    """Rows whose id is that of their values."""
    trials = {trial.id: trial for trial in sweep.trials()}
    alike: dict[tuple, dict[tuple, Trial]] = defaultdict(dict)
    for trial in trials.values():
        unseen = trial.cell, trial.label, trial.eval_every, *(getattr(trial, name) for name in OF_A_TRIAL)
        alike[_key(trial)][unseen] = trial
    in_sweep = {replace(trial, seed=0) for trial in trials.values()}  # other seeds of it may have been chosen later
    whole, damage = [], []
    sizes: dict[tuple[str, str], Counter] = defaultdict(Counter)  # of data sets
    for row in rows:
        key = row.cells["task"], row.cells["cell"], row.cells["cell_options"], row.cells["variant"]
        made = [one for like in alike.get(key, {}).values() for one in _trials_of(row, like)]
        if any(one.id == row.cells["trial_id"] and replace(one, seed=0) in in_sweep for one in made):
            whole.append(row)
            for name in OF_A_TRIAL:
                sizes[row.cells["task"], name][row.cells[name]] += 1
        else:
            damage.append(Damage(path, row.line, _wrong_id(row, key, made, trials)))
    kept = []
    for row in whole:
        own = trials.get(row.cells["trial_id"])
        for name in OF_A_TRIAL if own else ():
            value, most = row.cells[name], sizes[row.cells["task"], name].most_common(1)[0][0]
            if getattr(own, name) != float(value) and value != most:
                damage.append(Damage(path, row.line, f"{name} is {value}, but {most} in other runs of this task"))
                break
        else:
            kept.append(row)
    return kept, damage


def _key(trial: Trial) -> tuple[str, str, str, str]:
    name, options = parse_cell(trial.cell)
    return trial.task, name, json.dumps(options), trial.variant


def _trials_of(row: Row, like: Trial) -> list[Trial]:
    """The trials that a row may be of, all its values its own and the rest as in `like`."""
    seen = {name: row.cells[name] for name in FIELDS if name not in ("task", "cell", "label") and row.cells.get(name)}
    try:
        values = {name: parse_field(name, text) for name, text in seen.items()}
    except ValueError:  # a number where it cannot be
        return []
    own = {name: values.pop(name) for name in OF_A_TRIAL if name in values}
    of_task = {name: getattr(like, name) for name in OF_A_TRIAL}
    if of_task["seq_len"] is None:
        own["seq_len"] = None
    return [replace(like, **values, **sizes) for sizes in (own, of_task)]


def _wrong_id(row: Row, key: tuple, made: Sequence[Trial], trials: dict[str, Trial]) -> str:
    """What is wrong with a row whose id is not that of its values."""
    said = row.cells["trial_id"]
    if said in trials:
        trial = trials[said]
        for name, cell, value in zip(("task", "cell", "cell_options", "variant"), key, _key(trial), strict=True):
            if cell != value:
                return f"{name} is {shown(cell)}, but {shown(value)} in trial {said}"
        for name in FIELDS:
            if made and getattr(made[0], name) != getattr(trial, name):
                return f"{name} is {row.cells.get(name, '')}, but {getattr(trial, name)} in trial {said}"
        return f"its values are not those of trial {said}"
    for one in made:
        if one.id in trials:
            return f"trial_id is {said!r:.160}, but its values are those of {one.id}"
    return f"trial_id {said!r:.160} is of no trial of this sweep"


def _once(path: Path, rows: Sequence[Row]) -> tuple[list[Row], list[Damage], int]:
    """Rows by trial: one where several say the same (they may have taken other times), none where they differ."""
    by_trial: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_trial[row.cells["trial_id"]].append(row)
    whole, damage = [], []
    for name, same in by_trial.items():
        said = {tuple(value for key, value in row.cells.items() if key not in TIMINGS) for row in same}
        if len(said) == 1:
            whole.append(same[0])
        else:
            lines = ", ".join(str(row.line) for row in same)
            damage.append(
                Damage(path, same[1].line, f"trial {name} is there {len(same)} times (lines {lines}), differing")
            )
    return whole, damage, len(rows) - sum(map(len, by_trial.values())) + sum(len(s) - 1 for s in by_trial.values())


def _in_common(path: Path, rows: Sequence[Row]) -> tuple[list[Row], list[Damage]]:
    """Rows that have what others of their kind have; where there is no majority, none of them is believed."""
    seen: dict[tuple, Counter] = defaultdict(Counter)
    of = lambda row, name: (name, *(row.cells[key] for key in IN_COMMON[name]))
    for row in rows:
        for name in IN_COMMON:
            seen[of(row, name)][row.cells[name]] += 1
    whole, damage = [], []
    for row in rows:
        for name in IN_COMMON:
            counts = seen[of(row, name)]
            if 2 * counts[row.cells[name]] <= counts.total():
                others = ", ".join(value for value in counts if value != row.cells[name])
                damage.append(
                    Damage(path, row.line, f"{name} is {row.cells[name]}, but {others} in runs of the same kind")
                )
                break
        else:
            whole.append(row)
    return whole, damage


# --- curves -----------------------------------------------------------------------------------------------------------


def _read_curves(path: Path, needed: bool) -> tuple[pd.DataFrame, list[Damage]]:
    """All curves of a file."""
    none = pd.DataFrame({name: [] for name in CURVES})
    if path.is_dir():
        return none, [Damage(path, None, "is a folder, not a file")]
    if not path.exists():
        return none, [Damage(path, None, "is missing, and there are runs")] * needed
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        if missing := [name for name in CURVES if name not in table.column_names]:
            return none, [Damage(path, None, f"lacks the columns {', '.join(missing)}")]
        table = table.select(CURVES)
        is_text = lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind)
        for name, fits in zip(CURVES, (is_text, is_text, pa.types.is_integer, pa.types.is_floating), strict=True):
            if not fits(table.schema.field(name).type):
                return none, [Damage(path, None, f"its column {name} is of type {table.schema.field(name).type}")]
            if name != "value" and table[name].null_count:
                return none, [Damage(path, None, f"its column {name} has empty cells")]
        table.validate(full=True)
        return table.to_pandas(ignore_metadata=True).drop_duplicates(ignore_index=True), []
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        return none, [Damage(path, None, f"cannot be read: {shown(' '.join(str(error).split()))}")]


def _with_curves(folder: Path, rows: Sequence[Row], curves: pd.DataFrame) -> tuple[list[Row], list[Damage]]:
    """Rows that agree with their curves, and those of trials that failed."""
    some = curves[curves["quantity"].isin(QUANTITIES)].sort_values("index", kind="stable")
    series = {
        key: (part["index"].to_numpy(), part["value"].to_numpy())
        for key, part in some.groupby(["trial_id", "quantity"], sort=False)
    }
    there: dict[str, set] = {k: set(v) for k, v in curves.groupby("trial_id", sort=False)["quantity"].unique().items()}
    whole, damage = [], []
    for row in rows:
        name = row.cells["trial_id"]
        if row.cells.get("error"):  # curves that are there all the same are of a later attempt, killed before its row
            if wrong := _odd_failure(row):
                damage.append(Damage(folder / "runs.csv", row.line, wrong))
            else:
                whole.append(row)
        elif missing := [one for one in QUANTITIES if one not in there.get(name, ())]:
            damage.append(Damage(folder / "curves.parquet", None, f"holds no {missing[0]} of trial {name}"))
        elif wrong := _odd_curve(row, {one: series[name, one] for one in QUANTITIES}):
            damage.append(Damage(folder / "curves.parquet", None, f"{wrong} of trial {name}"))
        elif wrong := _unlike(row, *(series[name, one][1] for one in QUANTITIES)):
            damage.append(Damage(folder / "runs.csv", row.line, wrong))
        else:
            whole.append(row)
    return whole, damage


def _odd_failure(row: Row) -> str:
    """A result of a trial that failed."""
    for name, cell in LEFT_BY_FAILED.items():
        if row.cells.get(name, "") != cell:
            return f"{name} is {row.cells[name] or 'empty'}, though the trial failed"
    return ""


def _odd_curve(row: Row, series: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """A curve that is not measured at even steps up to the last one."""
    last = int(float(row.cells.get("stopped_step") or row.cells["num_steps"]))
    for name, (index, _) in series.items():
        if len(index) == 0 or not np.array_equal(index, np.arange(1, len(index) + 1) * (last // len(index))):
            return f"{name} is not measured at even steps up to {last}"
    return ""


def _unlike(row: Row, train: np.ndarray, validation: np.ndarray, accuracy: np.ndarray) -> str:
    """A figure of a row that is not its curve's."""
    if row.cells["num_devices"] == "0":
        return "num_devices is 0, though the trial did not fail"
    expected = {"train_loss": train[-1]}
    if row.cells["diverged"] == "False":
        finite = np.isfinite(validation)
        best = int(np.nanargmin(validation)) if finite.any() else -1
        expected |= {"validation_loss": validation[best], "validation_accuracy": accuracy[best]}
        for name in ("test_loss", "test_accuracy"):
            if not row.cells[name]:
                return f"{name} is empty, though the trial did not diverge"
    else:
        expected |= dict.fromkeys(("validation_loss", "validation_accuracy", "test_loss", "test_accuracy"), math.nan)
    for name, value in expected.items():
        cell = np.float32(row.cells[name] or math.nan)
        if not (cell == value or (np.isnan(cell) and np.isnan(value))):
            return f"{name} is {row.cells[name] or 'empty'}, but {value:.9g} by its curve"
    return ""
