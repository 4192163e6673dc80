"""The sweep as people run it: what it writes, what it survives, what it refuses."""

import json
import math
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.sweep import command, main as sweep
from experiments.sweep.record import rows
from experiments.sweep.settings import SWEEPS
from experiments.sweep.spec import Sweep, Trial
from rnnjax.tasks import make_task
from tests.experiments.sweep.processes import SIZES, here, output, runs_of, start, until

TWO = [*SIZES, "--axis", "seq_len=3", "cell=elman,elman:activation=softsign", "learning_rate=0.01,1e38"]
COLUMNS = [
    *["trial_id", "cell", "cell_options", "task", "seq_len", "hidden_size", "num_layers", "num_params", "optimizer"],
    *["learning_rate", "clip_norm", "batch_size", "num_steps", "seed", "train_loss", "test_loss", "test_accuracy"],
    *["chance_loss", "solved", "steps_to_solve", "diverged", "gradient_horizon", "compile_seconds", "run_seconds"],
    *["git_commit", "jax_version", "device", "num_devices", "num_train", "num_test"],
]
TIMINGS = ["compile_seconds", "run_seconds", "git_commit"]  # the last of these changes when a file does


# --- interruption ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(folder, what was printed, cache of programs) of a run of two programs, four trials each."""
    folder, cache = tmp_path_factory.mktemp("undisturbed") / "results", tmp_path_factory.mktemp("cache")
    process = start([*TWO, "--seeds", "2", "--data-dir", "somewhere"], folder, cache=cache)
    printed, errors = output(process)
    assert process.returncode == 0, errors
    assert errors == ""
    return folder, printed, cache


@pytest.mark.slow
def test_what_a_run_leaves(undisturbed):
    folder, printed, _ = undisturbed
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("config.json", "runs.csv", "curves.parquet", "README.md"),
        *("learning_curves.png", "success_by_lag.png", "gradient_norm_by_lag.png"),
    }
    runs = runs_of(folder)
    assert set(COLUMNS) <= set(runs.columns)
    assert len(runs) == runs.trial_id.nunique() == 8
    whole = [name for name in COLUMNS if name not in ("train_loss", "test_loss", "test_accuracy", "steps_to_solve")]
    assert runs[whole].notna().all(axis=None)
    assert (runs.num_train == 12 * 4).all()
    assert (runs.num_test == 20).all()
    assert (runs.seq_len == 3).all()
    assert list(runs.num_params.unique()) == [62]  # 2 (16 + 2 + 1) + 8 (2 + 1)
    np.testing.assert_allclose(runs.chance_loss, math.log(8))
    assert set(map(json.dumps, map(json.loads, runs.cell_options))) == {"{}", '{"activation": "softsign"}'}

    curves = pd.read_parquet(folder / "curves.parquet")
    assert list(curves.columns) == ["trial_id", "quantity", "index", "value"]
    assert set(curves.trial_id) == set(runs.trial_id)
    sizes = curves.groupby("quantity").size() / 8
    of_training = dict.fromkeys(["train_loss", "validation_loss", "validation_accuracy"], 6)
    of_gradients = dict.fromkeys(["log10_gradient_norm", "log10_gradient_norm_trained"], 4)
    assert sizes.to_dict() == of_training | of_gradients
    assert set(curves[curves.quantity == "train_loss"]["index"]) == {2, 4, 6, 8, 10, 12}

    config = json.loads((folder / "config.json").read_text())
    assert config["command"].startswith("python -m experiments.sweep --set num_steps=12 eval_every=2")
    assert "somewhere" not in config["command"]
    assert "data-dir" not in config["command"]
    assert config["command"].split("```")[0].strip() in (folder / "README.md").read_text()
    for said in ("8 trials, 0 of them finished", "100%", "left", "8 of 8 runs", "chance", "README.md", "runs.csv"):
        assert said in printed


@pytest.mark.slow
def test_a_diverged_trial_is_a_row_and_others_are_untouched(undisturbed):
    runs = runs_of(undisturbed[0])
    bad = runs[runs.learning_rate == 1e38]
    assert len(bad) == 4
    assert bad.diverged.all()
    assert not bad.solved.any()
    assert bad[["test_loss", "test_accuracy", "validation_loss"]].isna().all(axis=None)
    good = runs[runs.learning_rate == 0.01]
    assert not good.diverged.any()
    assert np.isfinite(good[["train_loss", "validation_loss", "test_loss", "test_accuracy"]]).all(axis=None)


@pytest.mark.slow
def test_interrupted_and_killed_it_ends_as_if_undisturbed(undisturbed, tmp_path, capsys):
    expected, _, cache = undisturbed
    folder = tmp_path / "results"
    command = [*TWO, "--seeds", "2"]

    process = start(command, folder, cache=cache)
    until(process, "elman .*finished")
    process.send_signal(signal.SIGINT)
    printed, errors = output(process)
    assert (process.returncode, errors) == (130, "")
    assert "the same command goes on from here" in printed
    after_interrupt = runs_of(folder)
    assert list(after_interrupt.cell_options) == ["{}"] * 4
    assert not (folder / "README.md").exists()

    process = start(command, folder, driver=True, cache=cache)
    lines = until(process, "^at .* 6 False")
    process.kill()
    output(process)
    assert process.returncode == -signal.SIGKILL
    assert "4 of them finished already" in "".join(lines)
    assert not re.search("^at both elman ", "".join(lines), re.MULTILINE)  # that group is finished
    pd.testing.assert_frame_equal(runs_of(folder), after_interrupt)
    assert list((folder / "checkpoints").glob("*/[0-9]*"))

    process = start(command, folder, driver=True, cache=cache)
    printed, errors = output(process)
    assert process.returncode == 0, errors
    steps = re.findall(r"^at both (\S+) (\d+) (\w+)", printed, re.MULTILINE)
    assert {cell for cell, _, _ in steps} == {"elman:activation=softsign"}
    assert int(steps[0][1]) > 2  # from a checkpoint, not from the start

    runs, wanted = runs_of(folder), runs_of(expected)
    pd.testing.assert_frame_equal(runs[:4], after_interrupt)
    pd.testing.assert_frame_equal(runs.drop(columns=TIMINGS), wanted.drop(columns=TIMINGS), check_exact=True)
    left, right = (pd.read_parquet(path / "curves.parquet") for path in (folder, expected))
    pd.testing.assert_frame_equal(left, right, check_exact=True)
    assert {path.name for path in folder.iterdir()} == {path.name for path in expected.iterdir()}
    table = lambda path: [line for line in (path / "README.md").read_text().splitlines() if line.startswith("|")]
    assert table(folder) == table(expected)

    code, said = here(capsys, *command, "--out", folder)
    assert code == 0
    assert "8 trials, 8 of them finished already" in said
    pd.testing.assert_frame_equal(runs_of(folder), runs)


# --- one process -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_cell_of_ones_own_more_seeds_and_a_changed_spec(tmp_path, monkeypatch, capsys):
    (tmp_path / "cells_nearby.py").write_text(
        "from rnnjax import elman\n\ndef mine(hidden_size, *, bias=0.0):\n    return elman(hidden_size, bias=bias)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    own = "cells_nearby:mine:bias=0.5"
    command = [*SIZES, "--axis", "seq_len=3", "cell=elman", "learning_rate=0.01", "--cell", own]

    code, said = here(capsys, *command, "--seeds", 1, "--dry-run")
    assert code == 0
    assert "2 trials in 1 programs" in said
    assert not (tmp_path / "results").exists()

    code, said = here(capsys, *command, "--seeds", 1)
    assert code == 0, said
    folder = Path("results/lstm_gates-quick")
    first = runs_of(folder)
    assert list(first.variant) == ["elman", "cells_nearby:mine bias=0.5"]
    assert list(first.cell) == ["elman", "cells_nearby:mine"]
    assert first.test_loss.nunique() == 2
    assert "| cells_nearby:mine bias=0.5 |" in (folder / "README.md").read_text()

    code, said = here(capsys, *command, "--seeds", 2)
    assert code == 0, said
    assert "4 trials, 2 of them finished already" in said
    both = runs_of(folder)
    pd.testing.assert_frame_equal(both[:2], first, check_dtype=False)
    assert list(both.seed) == [0, 0, 1, 1]
    assert json.loads((folder / "config.json").read_text())["axes"]["seed"] == [0, 1]

    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, said = here(capsys, *command, "--seeds", 2, "--axis", "learning_rate=0.02", "--set", "batch_size=5")
    assert code == 2
    assert "holds another sweep: 4 of its trials are not in this one" in said
    assert "base batch_size: 4 there, 5 now" in said
    assert "axes learning_rate: [0.01] there, [0.02] now" in said
    code, said = here(capsys, *command, "--seeds", 1)
    assert code == 2
    assert "axes seed: [0, 1] there, [0] now" in said
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


def test_the_list(capsys):
    code, said = here(capsys, "--list")
    assert code == 0
    assert all(f"{name} (" in said for name in SWEEPS)
    assert "Which parts of the LSTM let it learn across long lags?" in said


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    out = tmp_path / "results"
    code, said = here(capsys, *TWO, "--dry-run", "--out", out)
    assert code == 0
    assert "12 trials in 2 programs" in said
    assert "0 finished already" in said
    assert "learning_rate: 0.01, 1e+38" in said
    assert not out.exists()


def test_settings_reach_every_part_of_a_sweep():
    def trials(*words):
        return sweep.adjusted(example, command.COMMAND.read(words).options).trials()

    several = ({"task": "recall", "num_steps": 200}, {"task": "adding", "num_steps": 300})
    axes = {"task": several, "cell": ("elman", "gru"), "seed": range(3)}
    example = Sweep("example", "?", "!", Trial(seq_len=20, num_steps=400), axes)

    assert {trial.num_steps for trial in trials("--set", "num_steps=100", "eval_every=50")} == {100}
    assert {trial.task: trial.num_steps for trial in trials()} == {"recall": 200, "adding": 300}
    assert {trial.task: trial.num_steps for trial in trials("--set", "task=adding")} == {"adding": 400}
    few = trials("--seeds", "1", "--set", "forget_bias=3", "--axis", "cell=lstm,lstm_cifg", "peepholes=true,false")
    assert list(dict.fromkeys(trial.cell for trial in few)) == [
        f"{cell}:forget_bias=3:peepholes={peepholes}"
        for cell in ("lstm", "lstm_cifg")
        for peepholes in ("true", "false")
    ]
    own = trials("--set", "forget_bias=3", "--axis", "cell=lstm", "--cell", "my_module:mine:scale=2")
    assert {trial.cell for trial in own} == {"lstm:forget_bias=3", "my_module:mine:scale=2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lstm_gate"], "unknown sweep 'lstm_gate'; did you mean 'lstm_gates'"),
        (["--cell", "lstmm"], "unknown cell 'lstmm'; did you mean 'lstm'"),
        (["--cell", "no_such_module:mine"], "cannot import module 'no_such_module'"),
        (["--cell", "lstm:forget_bas=1"], "did you mean 'forget_bias'"),
        (["--set", "task=recal"], "unknown task 'recal'; did you mean 'recall'"),
        (["--axis", "optimizer=adam,adamm"], "unknown optimizer 'adamm'; did you mean 'adam'"),
        (["--set", "forget_bias=3", "--axis", "cell=elman"], "unknown option of cell 'elman' 'forget_bias'"),
        (["--set", "forget_bias=much", "--axis", "cell=lstm"], "forget_bias='much' is not understood"),
        (["--set", "num_steps=100", "cell=lstm", "forget_bias=much"], "forget_bias='much' is not understood"),
        (["--axis", "cell=lstm", "forget_bias=1,much"], "forget_bias='much' is not understood"),
        (["--set", "cell=lstm:forget_bias=much"], "forget_bias='much' is not understood"),
        (["--set", "num_step=10"], "'num_step'"),
        (["--set", "num_steps"], "--set takes KEY=VALUE, got 'num_steps'"),
        (["--axis", "seq_len=5,"], "--axis takes KEY=VALUE, got 'seq_len=5,'"),
        (["--axis", "seq_len=5,long"], "seq_len='long' is not a whole number"),
        (["--axis", "seq_len=-5"], "task 'recall': seq_len is -5; it must be an integer of at least 1"),
        (["--set", "task=mnist_rows", "seq_len=5"], "task 'mnist_rows': seq_len is 5, but its sequences have 28"),
        (["--set", "hidden_size=-3"], "hidden_size=-3 must be at least 1"),
        (["--set", "batch_size=0"], "batch_size=0 must be at least 1"),
        (["--set", "num_layers=0"], "num_layers=0 must be at least 1"),
        (["--set", "num_validation=-1"], "num_validation=-1 must be at least 1"),
        (["--set", "num_steps=100", "eval_every=30"], "num_steps=100 must be a multiple of eval_every=30"),
        (["--axis", "learning_rate=0"], "learning_rate=0.0 must be above 0"),
        (["--axis", "learning_rate=nan"], "learning_rate=nan must be above 0"),
        (["--axis", "learning_rate=inf"], "learning_rate=inf must be"),
        (["--set", "clip_norm=-1"], "clip_norm=-1.0 must be above 0"),
        (["--set", "l2=-1"], "l2=-1.0 must be 0 or above"),
        (["--axis", "seed=-1"], "seed=-1 must be 0 or above"),
        (["--axis", "seed=99999999999"], "seed=99999999999 must be"),
        (["--seeds", "0"], "--seeds 0 must be at least 1"),
        (["--set", "seq_len=1", "cell=lstm:forget_bias=chrono"], "needs t_max above 2"),
        (["mnist_pixels", "--data-dir", "{tmp}"], "ylecun"),
        (["mnist_pixels", "--data-dir", "{tmp}/absent"], "absent"),
        (["--out", "{file}/results"], "cannot write to the output folder"),
        (["--out", "{file}"], "cannot write to the output folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_before_work_starts(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "execute", lambda *arguments: pytest.fail("this should have been refused"))
    file = tmp_path / "file"
    file.write_text("")
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = [word.format(tmp=empty, file=file) for word in arguments]
    if "--out" not in arguments:
        arguments += ["--out", tmp_path / "results"]
    code, said = here(capsys, *arguments)
    assert code == 2
    assert said.startswith("error: ")
    assert message in said
    assert not (tmp_path / "results").exists()


def test_an_unknown_option_of_the_command(capsys):
    assert here(capsys, "--no-such-option") == (2, "error: unknown option '--no-such-option'; --help shows all")


@pytest.mark.parametrize(
    ("words", "recorded"),
    [
        (["lstm_gates", "--data-dir", "/somewhere", "--seeds", "2"], "lstm_gates --seeds 2"),
        (["--data-dir=/somewhere", "--full"], "--full"),
        (["--set", "cell=lstm:forget_bias=uniform(1,3)"], "--set 'cell=lstm:forget_bias=uniform(1,3)'"),
    ],
)
def test_the_command_that_is_recorded(words, recorded):
    assert sweep.command("experiments.sweep", words) == f"python -m experiments.sweep {recorded}"


def test_options_of_the_command_are_not_abbreviated(capsys):
    """--data would be recorded, path and all."""
    assert here(capsys, "--data", "/somewhere") == (2, "error: unknown option '--data'; did you mean '--data-dir'?")


def test_a_loss_at_every_step_has_no_horizon():
    norms = np.arange(10) * math.log(0.5)
    assert rows.horizon_of(norms, make_task("recall", 10)).steps == pytest.approx(1 / math.log(2))
    assert math.isnan(rows.horizon_of(norms, make_task("copy_memory", 10)).steps)
