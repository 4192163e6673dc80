"""Trials that failed on a cluster: rows that say so, are believed when the sweep goes on, and run anew."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from experiments.sweep.cluster.groups import failed_result
from experiments.sweep.cluster.node import one_line
from experiments.sweep.record import folder as record
from experiments.sweep.record.checked import check
from experiments.sweep.record.folder import Folder
from experiments.sweep.record.resume import finished_trials
from experiments.sweep.record.rows import Outcome, curves_of, row_of, shared_columns
from experiments.sweep.report import write_report
from experiments.sweep.run import Progress, Result, run
from experiments.sweep.spec import Sweep, Trial
from experiments.sweep.trials.plan import Group, Plan, plan
from rnnjax.training.train import Metrics

QUICK = {"hidden_size": 2, "batch_size": 4, "num_steps": 4, "eval_every": 2, "num_validation": 20, "num_test": 20}
SWEEP = Sweep("example", "?", "!", Trial(seq_len=3, **QUICK), {"cell": ("elman", "gru"), "seed": range(2)})
ERROR = 'RuntimeError: no such luck, "really"; ünd\tso'


def result(one: Group, planned: Plan) -> Result:
    """What a group leaves, nothing having been trained."""
    task = planned.tasks["recall", 3]
    some = Metrics(*np.float32([[2.1, 2.0], [2.2, 2.1], [0.1, 0.2]]))
    outcomes = [Outcome(trial, some, 2.0, 0.25, False, np.zeros(4), np.zeros(4)) for trial in one.trials]
    shared = shared_columns(one, task, SimpleNamespace(compile_seconds=0.0, num_devices=1), 0.0, planned.stage)
    curves = pd.concat([curves_of(outcome) for outcome in outcomes], ignore_index=True)
    return Result([row_of(outcome, task, shared) for outcome in outcomes], curves)


def go_on(folder, failing=()) -> list[str]:
    """The cells that are run: groups of some cells fail, and all end at once."""

    def runner(planned: Plan, _: Path) -> Iterator[list[Progress]]:
        failed = lambda one: failed_result(one, planned, one_line(RuntimeError(ERROR[14:])))
        end = lambda one: failed(one) if one.trials[0].cell in failing else result(one, planned)
        yield [Progress(one, 4, end(one)) for one in planned.groups]

    found = check(folder.path, SWEEP)
    assert (found.damage, found.folded) == ((), 0)
    folder.prepare(SWEEP, "command")
    planned = plan(SWEEP, finished_trials(None, folder.path, SWEEP, "command"))
    return [one.group.trials[0].cell for one in run(planned, folder, runner)]


@pytest.fixture
def folder(tmp_path):
    """Of a sweep of two groups, of which one has failed."""
    folder = Folder(tmp_path)
    go_on(folder, failing=["gru"])
    return folder


def test_they_are_rows_without_results(folder):
    runs = folder.runs()
    assert list(runs.cell) == ["elman", "elman", "gru", "gru"]
    assert list(runs.error.fillna("")) == [""] * 2 + [ERROR.replace("\t", " ")] * 2
    assert list(runs.diverged[2:]) == [True, True]
    assert runs.test_loss.isna().tolist() == [False, False, True, True]
    said = write_report(folder.path).read_text()
    assert (
        "- Runs: 4, of which 2 diverged\n- Failed: 2, counted as diverged: 2 of gru on recall, T = 3 (Runtime" in said
    )


def test_they_alone_run_anew_and_nothing_of_the_failure_is_left(folder):
    assert go_on(folder) == ["gru"]
    runs = folder.runs()
    assert "error" not in runs
    assert runs.test_loss.notna().all()
    assert sorted(runs.trial_id) == sorted(trial.id for trial in SWEEP.trials())
    assert go_on(folder) == []


def test_killed_between_curves_and_rows_no_curve_is_there_twice(folder, monkeypatch):
    write = record.write_whole

    def killed(path, content):
        if path.name == "runs.csv":
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(record, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            go_on(folder)
    assert len(pd.read_parquet(folder.path / "curves.parquet").trial_id.unique()) == 4
    assert go_on(folder) == ["gru"]
    assert not pd.read_parquet(folder.path / "curves.parquet").duplicated(["trial_id", "quantity", "index"]).any()
    assert not check(folder.path, SWEEP).damage


def test_a_folder_of_nothing_else_is_whole(tmp_path):
    folder = Folder(tmp_path)
    assert go_on(folder, ["gru", "elman"]) == go_on(folder, ["gru", "elman"]) == ["elman", "gru"]
    assert not (tmp_path / "curves.parquet").exists()
    assert len(folder.runs()) == 4
    assert "Failed: 4" in write_report(tmp_path).read_text()


@pytest.mark.parametrize(
    ("row", "name", "value", "message"),
    [
        (2, "error", "", "curves.parquet: holds no train_loss of trial "),
        (2, "test_loss", "0.5", "runs.csv, line 4: test_loss is 0.5, though the trial failed"),
        (2, "solved", "True", "runs.csv, line 4: solved is True, though the trial failed"),
        (0, "error", "E", "runs.csv, line 2: train_loss is "),
        (0, "num_devices", "0", "runs.csv, line 2: num_devices is 0, though the trial did not fail"),
    ],
)
def test_an_error_beside_results_is_damage(folder, row, name, value, message):
    path = folder.path / "runs.csv"
    runs = pd.read_csv(path, dtype=str)
    runs.loc[row, name] = value
    runs.to_csv(path, index=False)
    damage = [str(one) for one in check(folder.path, SWEEP).damage]
    assert len(damage) == 1
    assert message in damage[0]


def test_an_error_is_one_line_without_colours():
    assert one_line(ValueError("first\n\x1b[31m  the last \x1b[0m\n\n")) == "ValueError: the last"
    assert one_line(ValueError("")) == "ValueError:"
    assert len(one_line(ValueError("x" * 1000))) == 300
