"""Sweeps of two stages: what chooses, what is reported, and that no kill changes either."""

import json
import re
import signal

import pandas as pd
import pytest

from experiments.sweep import command
from experiments.sweep.adjust import adjusted
from experiments.sweep.spec import Sweep, Trial
from experiments.sweep.trials.plan import plan
from experiments.sweep.trials.stages import plan_report, report_trials
from tests.experiments.sweep.processes import SIZES, here, output, runs_of, start, until

STOPPING = [*SIZES, "stop_when_solved=true", "--axis", "seq_len=3", "cell=elman", "learning_rate=0.01,0.1"]
TIMINGS = ["compile_seconds", "run_seconds", "git_commit"]


def example(choosing, reporting) -> Sweep:
    sweep_ = Sweep("example", "?", "!", Trial(seq_len=5), {"cell": ("gru", "elman"), "learning_rate": (0.1, 0.2)})
    return adjusted(sweep_, command.COMMAND.read(["--seeds", f"{choosing},{reporting}"]).options)


def finished(trials, steps, stage="choose") -> pd.DataFrame:
    """Rows of trials; steps(trial) to solve."""
    return pd.DataFrame(
        {
            **{"trial_id": t.id, "task": t.task, "seq_len": 5, "variant": t.variant, "learning_rate": t.learning_rate},
            **{"seed": t.seed, "validation_loss": 1.0, "steps_to_solve": steps(t), "diverged": False, "stage": stage},
        }
        for t in trials
    )


def test_each_variant_is_reported_at_the_rate_its_own_seeds_chose():
    of = example(2, 3)
    runs = finished(of.trials(), lambda t: 50 if (t.cell == "gru") == (t.learning_rate == 0.1) else 90)
    known, still_open = report_trials(of, runs)
    assert [(t.cell, t.learning_rate, t.seed) for t in known] == [
        *(("gru", 0.1, seed) for seed in (1000, 1001, 1002)),
        *(("elman", 0.2, seed) for seed in (1000, 1001, 1002)),
    ]
    assert still_open == []
    known, still_open = report_trials(of, runs[runs.trial_id != of.trials()[0].id])
    assert {t.cell for t in known} == {"elman"}
    assert [(t.cell, t.seed) for t in still_open] == [("gru", seed) for seed in (1000, 1001, 1002)]


def test_more_seeds_of_either_stage_run_what_is_new():
    of = example(2, 3)
    first = finished(of.trials(), lambda t: 50 if t.learning_rate == 0.1 else 90)
    first = pd.concat([first, finished(report_trials(of, first)[0], lambda t: 50, "report")])

    more = example(2, 5)
    assert plan(more, frozenset(first.trial_id)).num_trials == 0
    new = plan_report(more, first, plan(more).tasks)
    assert new.num_trials == 2 * 2
    assert {len({t.learning_rate for t in one.trials}) for one in new.groups} == {1}

    more = example(5, 3)
    assert plan(more, frozenset(first.trial_id)).num_trials == 2 * 2 * 3
    turned = lambda t: 90 if t.learning_rate == 0.1 and t.cell == "gru" else 50  # the three new ones outvote the two
    new = [trial for trial in more.trials() if trial.seed >= 2]
    later = pd.concat([first, finished(new, turned)], ignore_index=True)
    left = plan_report(more, later, plan(more).tasks)
    assert [(t.cell, t.learning_rate) for one in left.groups for t in one.trials] == [("gru", 0.2)] * 3


def test_a_group_of_the_second_stage_holds_one_rate():
    of = example(1, 2)
    runs = finished(of.trials(), lambda t: 50 if (t.cell == "gru") == (t.learning_rate == 0.1) else 90)
    of = adjusted(of, command.COMMAND.read(["--axis", "cell=elman,elman:bias=1", "--seeds", "1,2"]).options)
    runs = finished(of.trials(), lambda t: 50 if (t.cell == "elman") == (t.learning_rate == 0.1) else 90)
    together = plan(of)
    assert [len(one.trials) for one in together.groups] == [4]
    assert [len(one.trials) for one in plan_report(of, runs, together.tasks).groups] == [2, 2]


@pytest.mark.slow
def test_killed_in_either_stage_it_ends_as_if_undisturbed(tmp_path, capsys):
    cache, expected, folder = (tmp_path / name for name in ("cache", "undisturbed", "results"))
    command = [*STOPPING, "--seeds", "2,2"]
    code, said = here(capsys, *command, "--dry-run", "--out", folder)
    assert code == 0
    assert "4 trials choose, 2 trials report" in said
    assert "6 trials in 2 programs" in said
    process = start(command, expected, cache=cache)
    _, errors = output(process)
    assert (process.returncode, errors) == (0, "")

    for stage in ("choose", "report"):
        process = start(command, folder, driver=True, cache=cache)
        until(process, f"^at {stage} elman 6 False")
        process.kill()
        output(process)
        assert process.returncode == -signal.SIGKILL
    assert list(runs_of(folder).stage) == ["choose"] * 4
    process = start(command, folder, driver=True, cache=cache)
    printed, errors = output(process)
    assert process.returncode == 0, errors
    steps = re.findall(r"^at (\w+) elman (\d+)", printed, re.MULTILINE)
    assert {stage for stage, _ in steps} == {"report"}
    assert int(steps[0][1]) > 2  # from a checkpoint, not from the start

    runs, wanted = runs_of(folder), runs_of(expected)
    assert list(runs.stage) == ["choose"] * 4 + ["report"] * 2
    assert list(runs.seed[4:]) == [1000, 1001]
    assert runs.learning_rate[4:].nunique() == 1
    pd.testing.assert_frame_equal(runs.drop(columns=TIMINGS), wanted.drop(columns=TIMINGS), check_exact=True)
    table = lambda path: [line for line in (path / "README.md").read_text().splitlines() if line.startswith("|")]
    assert table(folder) == table(expected)
    assert "chosen by seeds of their own" in (folder / "README.md").read_text()
    assert json.loads((folder / "config.json").read_text())["report_seeds"] == [1000, 1001]

    code, said = here(capsys, *command, "--dry-run", "--out", folder)
    assert "0 trials in 0 programs" in said
    assert "6 finished already" in said
    code, said = here(capsys, *STOPPING, "--seeds", "2,1", "--out", folder)
    assert code == 2
    assert "1 of its seeds that report are not in this one" in said
