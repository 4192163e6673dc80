"""The second stage of a sweep: fresh seeds, at the setting that those of the first stage have chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from experiments.sweep.spec import Sweep, Trial
from experiments.sweep.tables.table import SIZES, best_rows, failed
from experiments.sweep.trials.plan import Plan, group
from rnnjax.tasks import Task


def report_trials(sweep: Sweep, runs: pd.DataFrame) -> tuple[list[Trial], list[Trial]]:
    """The trials of the second stage, and stand-ins for those whose setting is not chosen yet.

    A setting is chosen once all trials of the first stage of its (task, lag, variant) are in `runs`, by the rule of
    `table.best_rows`. A stand-in has the first of the settings that are tried.
    """
    places: dict[tuple, list[Trial]] = {}
    for trial in sweep.trials():
        key = trial.task, trial.seq_len, trial.variant, *(getattr(trial, name) for name in SIZES)
        places.setdefault(key, []).append(trial)
    tried = set(runs.trial_id)  # a trial that failed has had its say, too
    ids = {trial.id for trials in places.values() for trial in trials}
    first_stage = runs[runs.trial_id.isin(ids)]
    chosen = set(best_rows(first_stage.assign(stage="choose")).trial_id) if len(first_stage) else set()
    known, open_ = [], []
    for trials in places.values():
        if all(trial.id in tried for trial in trials):
            known += _fresh([trial for trial in trials if trial.id in chosen][:1], sweep.report_seeds)
        else:
            open_ += _fresh(trials[:1], sweep.report_seeds)
    return known, open_


def _fresh(trials: Sequence[Trial], seeds: Sequence[int]) -> list[Trial]:
    return [replace(trial, seed=seed) for trial in trials for seed in seeds]


def plan_report(sweep: Sweep, runs: pd.DataFrame, tasks: Mapping[tuple, Task]) -> Plan:
    """What is left to run of the second stage; what is not chosen yet is counted in full, at a rate that is tried."""
    known, open_ = report_trials(sweep, runs)
    groups = group(known, tasks, frozenset(runs.trial_id[~failed(runs)]), one_rate=True) + group(
        open_, tasks, one_rate=True
    )
    return Plan(tuple(groups), dict(tasks), "report")
