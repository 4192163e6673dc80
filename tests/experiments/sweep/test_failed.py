"""Trials that failed on a cluster: rows that say so, are believed when the sweep goes on, and run anew."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from experiments.sweep.cluster.groups import failed_result
from experiments.sweep.cluster.node import one_line
from experiments.sweep.record import folder as record
from experiments.sweep.record.checked import check
from experiments.sweep.record.folder import Folder
from experiments.sweep.record.resume import finished_trials
from experiments.sweep.report import write_report
from experiments.sweep.run import Progress, run, run_here
from experiments.sweep.spec import Sweep, Trial
from experiments.sweep.trials.plan import Plan, plan

QUICK = {"hidden_size": 2, "batch_size": 4, "num_steps": 4, "eval_every": 2, "num_validation": 20, "num_test": 20}
SWEEP = Sweep("example", "?", "!", Trial(seq_len=3, **QUICK), {"cell": ("elman", "gru"), "seed": range(2)})
ERROR = 'RuntimeError: no such luck, "really"; ünd\tso'


def failing(cells):
    """A runner under which groups of these cells fail, and all end at once."""

    def runner(planned: Plan, checkpoints: Path) -> Iterator[list[Progress]]:
        lost = [one for one in planned.groups if one.trials[0].cell in cells]
        ends = [Progress(one, 4, failed_result(one, planned, one_line(RuntimeError(ERROR[14:])))) for one in lost]
        others = tuple(one for one in planned.groups if one not in lost)
        yield [*ends, *(one for some in run_here(Plan(others, planned.tasks), checkpoints) for one in some)]

    return runner


def go_on(folder, runner=None) -> list[Progress]:
    found = check(folder.path, SWEEP)
    assert (found.damage, found.folded) == ((), 0)
    folder.prepare(SWEEP, "command")
    return list(run(plan(SWEEP, finished_trials(None, folder.path, SWEEP, "command")), folder, runner))


@pytest.fixture(scope="module")
def half_failed(tmp_path_factory):
    folder = Folder(tmp_path_factory.mktemp("results"))
    go_on(folder, failing(["gru"]))
    return folder


@pytest.fixture
def folder(half_failed, tmp_path):
    for path in half_failed.path.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return Folder(tmp_path)


def test_they_are_rows_without_results(folder):
    runs = folder.runs()
    assert list(runs.cell) == ["gru", "gru", "elman", "elman"]
    assert list(runs.error.fillna("")) == [ERROR.replace("\t", " ")] * 2 + [""] * 2
    assert list(runs.diverged[:2]) == [True, True]
    assert runs.test_loss.isna().tolist() == [True, True, False, False]
    said = write_report(folder.path).read_text()
    assert (
        "- Runs: 4, of which 2 diverged\n- Failed: 2, counted as diverged: 2 of gru on recall, T = 3 (Runtime" in said
    )


def test_they_alone_run_anew_and_nothing_of_the_failure_is_left(folder):
    ends = [one for one in go_on(folder) if one.finished]
    assert [one.group.trials[0].cell for one in ends] == ["gru"]
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
    go_on(folder)
    assert not pd.read_parquet(folder.path / "curves.parquet").duplicated(["trial_id", "quantity", "index"]).any()
    assert not check(folder.path, SWEEP).damage


def test_a_folder_of_nothing_else_is_whole(tmp_path):
    folder = Folder(tmp_path)
    go_on(folder, failing(["gru", "elman"]))
    assert not (tmp_path / "curves.parquet").exists()
    assert go_on(folder, failing(["gru", "elman"]))[0].result.error.startswith("RuntimeError")
    assert len(folder.runs()) == 4
    assert "Failed: 4" in write_report(tmp_path).read_text()


@pytest.mark.parametrize(
    ("row", "name", "value", "message"),
    [
        (0, "error", "", "curves.parquet: holds no train_loss of trial "),
        (0, "test_loss", "0.5", "runs.csv, line 2: test_loss is 0.5, though the trial failed"),
        (0, "solved", "True", "runs.csv, line 2: solved is True, though the trial failed"),
        (2, "error", "E", "runs.csv, line 4: train_loss is "),
        (2, "num_devices", "0", "runs.csv, line 4: num_devices is 0, though the trial did not fail"),
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
