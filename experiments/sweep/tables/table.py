"""From runs to tables: which setting is shown, what is said of it, and how it is laid out.

A run is a row of runs.csv: one trial with one seed. Three rules hold in every table and plot:

- the setting that is shown (learning rate and other optimiser settings) is chosen by validation loss alone;
- sizes are never chosen: where a sweep holds several, each is a variant of its own;
- a diverged run is a run: not solved, of infinite test loss and of accuracy 0.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from experiments.shared.numbers import bootstrap, figure, horizon_text, markdown, percent, rough, wilson
from experiments.sweep.spec import FIELDS
from experiments.sweep.tables.survival import median_time

KEYS = ["task", "seq_len", "variant"]
# Settings that older runs lack, and what they had.
TERMS = {name: FIELDS[name].default for name in ("omega", "auxiliary", "auxiliary_lag")}
SETTINGS = ["optimizer", "learning_rate", "clip_norm", "clip_value", "l1", "l2", *TERMS, "batch_size"]
SIZES = ["hidden_size", "num_layers", "num_steps"]
TEXTS = ["trial_id", "variant", "cell", "cell_options", "task", "optimizer", "git_commit", "jax_version", "device"]
TEXTS += ["stage", "error"]
FLAGS = ["solved", "diverged", "gradient_horizon_censored", "gradient_horizon_trained_censored"]
NUMBERS = [
    *["seq_len", "hidden_size", "num_layers", "num_params", "num_steps", "learning_rate", "clip_norm", "clip_value"],
    *["l1", "l2", *TERMS, "batch_size", "seed", "train_loss", "validation_loss", "validation_accuracy", "test_loss"],
    *["test_accuracy", "chance_loss", "chance_accuracy", "steps_to_solve", "stopped_step", "gradient_horizon"],
    *["gradient_horizon_trained", "num_train", "num_validation", "num_test", "compile_seconds", "run_seconds"],
]
METRICS = {"solved": "share of seeds solved", "test_loss": "median test loss", "test_accuracy": "mean test accuracy"}
PENDING = "·"


def read_runs(folder, required=KEYS) -> pd.DataFrame:
    """runs.csv of a results folder, tidied. Missing folders, files and columns are named in the error."""
    folder = Path(folder)
    path = folder / "runs.csv"
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no runs.csv; is it the folder a sweep wrote?")
    try:
        # ids and commits stay text: 12e4567 is a commit, not a number, and "none" may be a name
        runs = pd.read_csv(path, converters=dict.fromkeys(TEXTS, str.strip), skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty") from None
    except pd.errors.ParserError as error:
        raise ValueError(f"{path} is not a table of comma-separated values: {error}") from None
    runs.columns = runs.columns.str.strip()
    if missing := [name for name in required if name not in runs]:
        raise ValueError(f"{path} lacks the columns: {', '.join(missing)}; it has: {', '.join(runs.columns)}")
    if runs.empty:
        raise ValueError(f"{path} holds no run")
    for name in [name for name in KEYS if name in runs]:
        if empty := int((runs[name].isna() | (runs[name] == "")).sum()):
            raise ValueError(f"{path}: column '{name}' is empty in {empty} of {len(runs)} rows")
    try:
        return tidy(runs)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def tidy(runs: pd.DataFrame) -> pd.DataFrame:
    """The same runs with numbers as numbers and flags as booleans. Tidying twice changes nothing."""
    runs = runs.copy()
    for name in runs.columns.intersection(NUMBERS):
        try:
            runs[name] = pd.to_numeric(runs[name])
        except (ValueError, TypeError) as error:
            raise ValueError(f"column '{name}' must hold numbers: {error}") from None
    for name in runs.columns.intersection(TERMS):
        runs[name] = runs[name].fillna(TERMS[name])
    for name in runs.columns.intersection(FLAGS):
        runs[name] = runs[name].map(_flag).astype(bool)
    if "seq_len" in runs and (runs["seq_len"] % 1 == 0).all():
        runs["seq_len"] = runs["seq_len"].astype(int)
    return runs


def _flag(value) -> bool:
    return str(value).strip().lower() in {"true", "yes", "1", "1.0"}


def varying(runs: pd.DataFrame, names) -> list[str]:
    """Those of the named columns that take several values within one task, seq_len and variant."""
    groups = runs.groupby(KEYS, dropna=False)
    return [name for name in names if name in runs and (groups[name].nunique(dropna=False) > 1).any()]


def name_sizes(runs: pd.DataFrame, sizes=None) -> pd.DataFrame:
    """The runs with the sizes that vary written into the variant: 'gru hidden_size=64'."""
    runs = runs.copy()
    for name in varying(runs, SIZES) if sizes is None else sizes:
        runs["variant"] = [f"{v} {name}={s:.10g}" for v, s in zip(runs["variant"], runs[name], strict=True)]
    return runs


def best_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that are reported of every (task, seq_len, variant): those of its chosen setting, one row per seed.

    Chosen is the setting with the lowest mean validation loss over its seeds. A diverged run counts as infinite; if
    every setting has one, fewer diverged runs win, then the loss of the others. A setting with fewer seeds than
    another (a sweep under way) does not compete. Test columns are never looked at.

    In a sweep of two stages the runs of the first choose: by the share that met the criterion on the validation set,
    then by the median number of steps that took, then by validation loss as above. Those of the second are reported,
    and they alone; what was run at a setting that is no longer the chosen one is left out (`num_stale`).
    """
    runs = name_sizes(tidy(runs))
    settings = [name for name in SETTINGS if name in runs]
    if "validation_loss" not in runs:
        if several := varying(runs, settings):
            raise ValueError(f"several values of {', '.join(several)}, but no column validation_loss to choose by")
        return runs
    reports, two_stages = _reports(runs), "stage" in runs and runs["stage"].isin(["choose", "report"]).any()
    place = runs.groupby(KEYS, dropna=False, sort=False).ngroup()
    choosing = ~reports | ~place.isin(place[~reports])
    loss = runs["validation_loss"].where(np.isfinite(runs["validation_loss"]) & ~diverged(runs))
    setting = runs.groupby(KEYS + settings, dropna=False, sort=False).ngroup()
    groups = loss[choosing].groupby(setting)
    scores = pd.DataFrame({"seeds": -groups.size(), "bad": groups.size() - groups.count(), "rest": groups.mean()})
    scores["mean"] = scores["rest"].where(scores["bad"] == 0, np.inf)
    order = ["seeds", "mean", "bad", "rest", *settings]
    if two_stages:
        steps = runs["steps_to_solve"].mask(diverged(runs))[choosing]
        scores["unsolved"] = steps.isna().groupby(setting).mean()
        scores["steps"] = steps.fillna(np.inf).groupby(setting).median()
        order[1:1] = ["unsolved", "steps"]
    first = runs.loc[~setting.duplicated(), KEYS + settings].set_axis(setting.unique())
    ranked = scores.join(first).sort_values(order)
    chosen = setting.isin(ranked.drop_duplicates(KEYS).index)
    return runs[chosen & (reports if reports.any() else True)]


def _reports(runs: pd.DataFrame) -> pd.Series:
    """Which runs are of the second of two stages; none where the column is missing."""
    return runs["stage"] == "report" if "stage" in runs else pd.Series(False, index=runs.index)


def num_stale(runs: pd.DataFrame) -> int:
    """How many runs of the second stage are not in the table: seeds that came later have chosen another setting."""
    return int(_reports(runs).sum() - _reports(best_rows(runs)).sum())


def diverged(runs: pd.DataFrame) -> pd.Series:
    """Which runs diverged; none where the column is missing."""
    return runs["diverged"] if "diverged" in runs else pd.Series(False, index=runs.index)


def failed(runs: pd.DataFrame) -> pd.Series:
    """Which runs could not be run to their end, as their `error` says; none where the column is missing."""
    return runs["error"].fillna("") != "" if "error" in runs else pd.Series(False, index=runs.index)


def outcomes(rows: pd.DataFrame, metric: str) -> pd.Series:
    """A metric of each run, indexed like the rows: diverged runs filled in by the rule above, other gaps left out."""
    worst = {"solved": 0.0, "test_loss": np.inf, "test_accuracy": 0.0}[metric]
    return rows[metric].astype(float).mask(diverged(rows), worst).dropna()


def center(metric: str):
    """What stands for a metric over seeds: the median of losses, the mean of shares."""
    return np.median if metric == "test_loss" else np.mean


def _median(values: pd.Series) -> float:
    values = values.dropna().to_numpy(float)
    return float(np.median(values)) if len(values) else math.nan


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per (task, seq_len, variant) at its chosen setting.

    `solved` of `n` seeds, its share with a 95 % Wilson interval in `solved_low`, `solved_high`; `test_loss` is the
    median, with `_min` and `_max`; `test_accuracy` the mean, with a 95 % bootstrap interval in `_low`, `_high`;
    `steps_to_solve` the Kaplan-Meier median, infinite where half of the seeds did not solve in time; gradient horizons
    are medians in which a censored one (it lies beyond seq_len) is infinite; `trial_id` is that of the first run. Tasks
    and variants stand in the order of the runs, lags ascending.
    """
    rows = best_rows(runs)
    order = {name: {value: i for i, value in enumerate(name_sizes(tidy(runs))[name].unique())} for name in KEYS}
    groups = rows.groupby(KEYS, sort=False, dropna=False)
    cells = pd.DataFrame([dict(zip(KEYS, key, strict=True)) | _summarise(group) for key, group in groups])
    return cells.sort_values(KEYS, key=lambda c: c if c.name == "seq_len" else c.map(order[c.name]), ignore_index=True)


def _summarise(rows: pd.DataFrame) -> dict:
    rows = rows.reindex(columns=rows.columns.union([*NUMBERS, "solved"], sort=False))
    solved, loss, accuracy = (outcomes(rows, metric) for metric in METRICS)
    low, high = wilson(solved.sum(), len(solved))
    accuracy_low, accuracy_high = bootstrap([accuracy], np.mean)
    horizons = {}
    for name in ("gradient_horizon", "gradient_horizon_trained"):
        censored = f"{name}_censored"
        beyond = rows[censored] if censored in rows else rows[name] > rows["seq_len"]
        horizons[name] = _median(rows[name].mask(beyond, np.inf))
    constant = ["num_params", "chance_loss", "chance_accuracy", "num_train", "num_validation", "num_test"]
    return {
        "n": len(rows),
        "solved": int(solved.sum()),
        "solved_low": low,
        "solved_high": high,
        "test_loss": _median(loss),
        "test_loss_min": loss.min(),
        "test_loss_max": loss.max(),
        "test_accuracy": accuracy.mean() if len(accuracy) else math.nan,
        "test_accuracy_low": accuracy_low,
        "test_accuracy_high": accuracy_high,
        "steps_to_solve": median_time(*steps(rows)),
        "num_steps": rows["num_steps"].max(),
        **{name: rows[name].iloc[0] for name in SETTINGS if name in rows},
        **horizons,
        **{name: rows[name].iloc[0] for name in constant},
        "diverged": int(diverged(rows).sum()),
        "run_seconds": rows["run_seconds"].sum(),
        "trial_id": rows["trial_id"].iloc[0] if "trial_id" in rows else "",
    }


def steps(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of each run the step at which it first met the criterion and True, or num_steps and False, where it is censored.

    A diverged run has not solved.
    """
    found = rows["steps_to_solve"].astype(float).mask(diverged(rows))
    censored = rows["num_steps"].astype(float).fillna(found.max() if found.notna().any() else 0.0)  # where unrecorded
    return found.fillna(censored).to_numpy(float), found.notna().to_numpy()


def steps_text(value: float, latest: float) -> str:
    """A median of steps to solve: '350', or '> 500' where it lies beyond the steps there were."""
    return figure(value) if np.isfinite(value) else f"> {figure(latest)}"


def cell_text(solved, n, value, metric="test_loss", num_diverged=0) -> str:
    """One cell: '4/5 · 0.0004 (1 diverged)'. Losses have one digit: a rerun beside other trials changes the next."""
    text = f"{solved}/{n} {PENDING} {percent(value) if metric == 'test_accuracy' else rough(value)}"
    return f"{text} ({num_diverged} diverged)" if num_diverged else text


def markdown_table(cells: pd.DataFrame, metric="test_loss") -> str:
    """For each task a table of variants by lag, from summary(): solved/n and the metric, the chance level below.

    metric is 'test_loss' or 'test_accuracy', or a dict of these by task. Best (solved share, then metric) in bold.
    """
    parts = []
    for task, rows in cells.groupby("task", sort=False):
        chosen = metric.get(task, "test_loss") if isinstance(metric, dict) else metric
        lags = sorted(rows["seq_len"].unique())
        texts = {(row.variant, row.seq_len): _cell(row, chosen) for row in rows.itertuples()}
        for _, column in rows.groupby("seq_len"):
            best = _best(column, chosen)
            if best is not None:
                shown = texts[best]
                texts |= {k: f"**{shown}**" for k, text in texts.items() if k[1] == best[1] and text == shown}
        lines = [
            [variant, *(texts.get((variant, lag), PENDING) for lag in lags)] for variant in rows["variant"].unique()
        ]
        chance = rows.groupby("seq_len")[chosen.replace("test", "chance")].first()
        show = percent if chosen == "test_accuracy" else figure
        lines.append(["*chance*", *(f"*{show(chance[lag])}*" for lag in lags)])
        counts = ", ".join(map(str, sorted(rows["n"].unique())))
        lone = f" {PENDING} alone: not run." if len(texts) < rows["variant"].nunique() * len(lags) else ""
        legend = f"Seeds solved / n (n = {counts}) {PENDING} {METRICS[chosen]} over them; best in bold.{lone}"
        parts.append(f"### {task}\n\n{legend}\n\n" + markdown([f"{task}, lag T =", *map(str, lags)], lines))
    return "\n\n".join(parts) + "\n"


def _cell(row, metric) -> str:
    return cell_text(row.solved, row.n, getattr(row, metric), metric, row.diverged)


def _best(rows: pd.DataFrame, metric):
    """(variant, seq_len) of the best row; None if none has the metric."""
    sign = 1 if metric == "test_loss" else -1
    rank = rows.assign(share=-rows["solved"] / rows["n"], value=sign * rows[metric]).dropna(subset="value")
    rank = rank[np.isfinite(rank["value"])].sort_values(["share", "value"])
    return None if rank.empty else (rank["variant"].iloc[0], rank["seq_len"].iloc[0])


def detail_table(cells: pd.DataFrame) -> str:
    """Every column of summary() that a reader may want to check, as one Markdown table."""
    header = ["task", "T", "variant", "n", "solved [95 %]", "diverged", "median test loss [min, max]", "chance loss"]
    header += ["mean test accuracy [95 %]", "chance accuracy", "median steps to solve", "learning rate"]
    others = [name for name in SETTINGS if name != "learning_rate" and name in cells and cells[name].nunique() > 1]
    header += [*others, "gradient horizon", "after training", "parameters", "a row of it"]
    lines = [
        [
            *(row.task, row.seq_len, row.variant, row.n),
            f"{row.solved} [{percent(row.solved_low)}, {percent(row.solved_high)}]",
            row.diverged,
            f"{rough(row.test_loss)} [{rough(row.test_loss_min)}, {rough(row.test_loss_max)}]",
            figure(row.chance_loss),
            f"{percent(row.test_accuracy)} [{percent(row.test_accuracy_low)}, {percent(row.test_accuracy_high)}]",
            percent(row.chance_accuracy),
            steps_text(row.steps_to_solve, row.num_steps),
            figure(getattr(row, "learning_rate", math.nan)),
            *(value if isinstance(value := getattr(row, name), str) else figure(value) for name in others),
            horizon_text(row.gradient_horizon, row.seq_len),
            horizon_text(row.gradient_horizon_trained, row.seq_len),
            "–" if pd.isna(row.num_params) else f"{row.num_params:,.0f}",
            f"`{row.trial_id}`" if row.trial_id else "–",
        ]
        for row in cells.itertuples()
    ]
    return markdown(header, lines) + "\n"


def live_table(runs: pd.DataFrame, planned: pd.DataFrame | None = None, metric="test_loss") -> Table:
    """The runs so far for the terminal: solved/n and the metric at the best setting so far, variants by task and lag.

    `planned` (columns task, seq_len, variant, trial_id; a row per trial and seed of the whole sweep, or of the stage
    under way) gives the cells still to come, shown as "·", and marks those under way with "…". `runs` may be empty if
    it is given.
    """
    runs = runs if runs.empty else tidy(runs)
    whole = planned is None or runs.empty
    counted = runs if whole else runs[runs["trial_id"].isin(planned["trial_id"])]
    planned = runs if planned is None else planned
    sizes = varying(planned, SIZES)
    planned, runs = name_sizes(planned, sizes), runs if runs.empty else name_sizes(runs, sizes)
    counted = counted if counted.empty else name_sizes(counted, sizes)
    lags = planned.groupby("task", sort=False)["seq_len"].unique()
    columns = [(task, lag) for task in lags.index for lag in sorted(lags[task])]
    total, done = planned.groupby(KEYS).size(), {} if counted.empty else counted.groupby(KEYS).size()
    finished = {} if runs.empty else dict(iter(best_rows(runs).groupby(KEYS)))
    names = planned["variant"].unique()
    table = Table(
        title=f"{len(counted)} of {len(planned)} runs: seeds solved {PENDING} {METRICS[metric]}", expand=False
    )
    table.add_column("variant", no_wrap=True)
    for task, lag in columns:
        table.add_column(Text(f"{task}\nT = {lag}"), justify="right", no_wrap=True)
    for name in names:
        table.add_row(Text(name), *(_live_cell(finished, done, total, (*column, name), metric) for column in columns))
    if not runs.empty:
        chance = runs.groupby(["task", "seq_len"])[metric.replace("test", "chance")].first()
        texts = (figure(chance[column]) if column in chance.index else PENDING for column in columns)
        table.add_section()
        table.add_row(Text("chance", style="italic"), *(Text(text, style="italic") for text in texts))
    return table


def _live_cell(finished, done, total, key, metric) -> Text:
    if key not in finished:
        return Text(PENDING, style="dim")
    rows = finished[key]
    solved, values = int(outcomes(rows, "solved").sum()), outcomes(rows, metric)
    value = center(metric)(values) if len(values) else math.nan
    text = cell_text(solved, len(rows), value, metric, int(diverged(rows).sum()))
    waiting = key in total and done.get(key, 0) < total[key]
    return Text(f"{text} …", style="dim") if waiting else Text(text, style="green" if solved == len(rows) else "")
