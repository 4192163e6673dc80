"""How far the gradient reaches at the start, measured for every variant of a finished sweep, and judged.

reach.csv has a row per task, lag, variant and seed: what `rnnjax.gradients.gradient_reach` makes of 1,024 sequences.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from rich.console import Console

from experiments.shared.numbers import figure, rank_correlation
from experiments.shared.settings import OWN_CELLS
from experiments.sweep.spec import Trial
from experiments.sweep.tables.table import KEYS, best_rows, outcomes, read_runs
from experiments.sweep.trials.plan import Group, group, network
from rnnjax.cells import CELLS
from rnnjax.compiling import run_once_options
from rnnjax.gradients import Derivatives, gradient_reach, output_derivatives
from rnnjax.models.model import make_model
from rnnjax.tasks import OWN_SEQ_LEN, TASKS, Task, make_task

NUM_EXAMPLES = 1024
FILE = "reach.csv"
COLUMNS = [*KEYS, "seed", "reach", "size_lag", "coherence_lag", "log10_size", "coherence"]
RUN = [*KEYS, "trial_id", "seed", "cell", "cell_options", "hidden_size", "num_layers", "batch_size"]
RESAMPLES = 999
FEWEST_FAMILIES = 4  # of which a bootstrap says anything


def variants(runs: pd.DataFrame) -> tuple[list[Trial], list[str]]:
    """A trial for every task, lag and variant of the runs that can be measured, and the variants that cannot.

    Only cells of this library and of this project's own sweeps are built, and only synthetic tasks drawn: a table never
    chooses what code runs.
    """
    trials, refused = [], []
    for (task, seq_len, label), rows in runs.groupby(KEYS, sort=False):
        first = rows.iloc[0]
        if first.cell not in (*CELLS, *OWN_CELLS) or task not in TASKS or task in OWN_SEQ_LEN:
            refused.append(f"{label} on {task}")
            continue
        options = json.loads(first.cell_options)
        sizes = {name: int(first[name]) for name in ("hidden_size", "num_layers", "batch_size")}
        cell = ":".join([first.cell, *(f"{key}={value}" for key, value in options.items())])
        trials.append(Trial(task=task, seq_len=int(seq_len), cell=cell, label=label, **sizes))
    return trials, list(dict.fromkeys(refused))


def measured(trials: Sequence[Trial], num_seeds: int) -> Iterator[tuple[Group, list[dict]]]:
    """The rows of reach.csv, group by group of trials that share a program."""
    tasks = {(trial.task, trial.seq_len): make_task(trial.task, trial.seq_len) for trial in trials}
    for one in group(trials, tasks):
        yield one, _rows(one.trials, tasks[one.trials[0].task, one.trials[0].seq_len], num_seeds)


def _rows(trials: Sequence[Trial], task: Task, num_seeds: int) -> list[dict]:
    cell = network(trials[0], task)

    @jax.jit
    def measure(params, key) -> Derivatives:
        drawn = jax.vmap(task.sample)(jax.random.split(jax.random.fold_in(key, 1), NUM_EXAMPLES))
        xs = jnp.moveaxis(task.prepare_inputs(drawn.inputs), 0, 1)
        return output_derivatives(cell, params, xs, lengths=drawn.length)

    keys = [jax.random.key(seed) for seed in range(num_seeds)]
    rows = []
    for trial in trials:
        model = make_model(network(trial, task), task.output_size, outputs=task.outputs)
        init = jax.jit(lambda key, model=model: model.init(key, task.input_size).recurrent)
        init = init.lower(keys[0]).compile(compiler_options=run_once_options())
        for seed, key in enumerate(keys):
            found = jax.device_get(measure(init(key), key))
            reach = gradient_reach(found, task.seq_len, trial.batch_size)
            last = task.seq_len - 1
            values = [task.name, task.seq_len, trial.variant, seed, reach.share, reach.size_lag, reach.coherence_lag]
            values += [(found.log_rms[last] - found.log_rms[0]) / np.log(10), found.coherence[last]]
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def read_reach(folder) -> pd.DataFrame | None:
    """reach.csv of a results folder; None if there is none.

    Raises:
      ValueError: a file that lacks a column, or holds what is no number.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    found = pd.read_csv(path, dtype={"variant": str, "task": str})
    if missing := [name for name in COLUMNS if name not in found]:
        raise ValueError(f"{path} lacks the columns: {', '.join(missing)}")
    for name in COLUMNS:
        if name not in ("variant", "task"):
            found[name] = pd.to_numeric(found[name])
    return found


def beside_outcomes(runs: pd.DataFrame, reach: pd.DataFrame) -> pd.DataFrame:
    """A row per task, lag and variant: share solved at the chosen rate, median horizon and reach, and the cell."""
    rows = best_rows(runs)
    rows = rows.assign(solved=outcomes(rows, "solved"), horizon=rows["gradient_horizon"])
    groups = rows.groupby(KEYS, sort=False)
    cells = groups.agg(solved=("solved", "mean"), horizon=("horizon", "median"), cell=("cell", "first")).reset_index()
    return cells.merge(reach.groupby(KEYS)["reach"].median().reset_index(), on=KEYS)


def judged(cells: pd.DataFrame, family: str = "cell") -> pd.DataFrame:
    """How reach and horizon rank the share solved: Spearman's rank correlation by task and lag.

    `low` and `high`: 95 % percentile bootstrap over families (the values of that column), which are drawn whole, for
    variants of one cell are not independent; NaN of fewer than four families. NaN too where all shares are equal.
    """
    lines = []
    for (task, seq_len), rows in cells.groupby(["task", "seq_len"], sort=False):
        line = {"task": task, "seq_len": seq_len, "n": len(rows), "families": rows[family].nunique()}
        members = [np.flatnonzero(rows[family] == name) for name in rows[family].unique()]
        draws = np.random.default_rng(0).integers(len(members), size=(RESAMPLES, len(members)))
        samples = [np.concatenate([members[i] for i in draw]) for draw in draws]
        values = {name: rows[name].to_numpy(float) for name in ("reach", "horizon", "solved")}
        for name in ("reach", "horizon"):
            line[name] = float(rank_correlation(values[name], values["solved"]))
            again = [rank_correlation(values[name][some], values["solved"][some]) for some in samples]
            again = [one for one in again if not np.isnan(one)]
            enough = len(members) >= FEWEST_FAMILIES and again
            low, high = np.quantile(again, [0.025, 0.975]) if enough else (np.nan, np.nan)
            line |= {f"{name}_low": low, f"{name}_high": high}
        lines.append(line)
    return pd.DataFrame(lines)


def verdict(line: pd.Series) -> str:
    """'recall, T = 100: rank correlation with the share solved, 13 variants of 11 cells: reach 0.85 [..], ...'"""

    def text(name: str) -> str:
        low, high = line[f"{name}_low"], line[f"{name}_high"]
        return f"{name} {figure(line[name])}" + ("" if np.isnan(low) else f" [{figure(low)}, {figure(high)}]")

    return (
        f"{line.task}, T = {line.seq_len}: rank correlation with the share solved, {line.n} variants of "
        f"{line.families} cells: {text('reach')}, {text('horizon')}"
    )


def write_reach(console: Console, folder: Path, num_seeds: int) -> None:
    """Measure every variant of the folder's runs, and write reach.csv beside them.

    Raises:
      ValueError: no variant can be measured.
    """
    trials, refused = variants(read_runs(folder, RUN))
    if not trials:
        raise ValueError(f"{folder} holds no cell of this library on a synthetic task")
    rows: list[dict] = []
    for one, more in measured(trials, num_seeds):
        rows += more
        console.print(f"{len(rows) // num_seeds} of {len(trials)}: {one.title}", markup=False)
    path = folder / FILE
    pd.DataFrame(rows, columns=COLUMNS).to_csv(path, index=False, float_format="%.5g")
    console.print(f"one row per task, lag, variant and seed: {path}")
    if refused:
        console.print(f"not measured: {', '.join(refused)}", markup=False)


def judge(console: Console, folder: Path) -> None:
    """Set reach.csv beside the share solved.

    Raises:
      ValueError: there is none.
    """
    reach = read_reach(folder)
    if reach is None:
        raise ValueError(f"{folder} holds no {FILE}; run this without --judge first")
    for _, line in judged(beside_outcomes(read_runs(folder, RUN), reach)).iterrows():
        console.print(verdict(line), markup=False)
