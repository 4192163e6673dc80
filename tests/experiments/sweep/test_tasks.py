"""Tasks and sweeps of one's own: modules and files that the user names, and the identity of a file's trials."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from experiments.sweep import command
from experiments.sweep.adjust import adjusted
from experiments.sweep.checks import check_evaluations
from experiments.sweep.named import load
from experiments.sweep.settings import Options
from experiments.sweep.spec import Sweep, Trial
from experiments.sweep.tasks import build_task, pin, pinned
from experiments.sweep.trials.plan import plan

MODULE = """
from dataclasses import replace
import jax, jax.numpy as jnp
from experiments.sweep.spec import Sweep, Trial
from rnnjax import elman
from rnnjax.tasks import Task, make_task

def first(seq_len):
    return make_task("recall", seq_len)

def short():
    return make_task("recall", 4)

def wrong():
    return make_task("recall", 4)._replace(input_size=3)

def other(seq_len):
    return "no task"

def mine(hidden_size):
    return elman(hidden_size)

SIZES = {"hidden_size": 3, "num_steps": 4, "eval_every": 2, "num_test": 10, "num_validation": 10}
BASE = Trial(task="NAME:short", cell="NAME:mine", **SIZES)
SWEEP = Sweep("my sweep", "Is it?", "Yes.", BASE, {"seed": range(2)})
OTHER = Sweep("other", "Is it?", "Yes.", BASE, {"seed": range(3)})
"""
SMALL = ["hidden_size=3", "num_steps=4", "eval_every=2", "batch_size=8", "learning_rate=0.01", "clip_norm=1"]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module with tasks, a cell and sweeps, of a name that no other test imports."""
    name = f"mine_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE.replace("NAME", name))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


def write(path, seed=0):
    rng = np.random.default_rng(seed)
    sequences, splits = rng.normal(size=(40, 6, 2)), np.repeat(["train", "validation", "test"], [24, 8, 8])
    np.savez(path, sequences=sequences, targets=(sequences[:, 0, 0] > 0).astype(int), splits=splits)


def test_a_task_of_the_users_module(module):
    assert build_task(f"{module}:first", 7).num_steps == 8
    assert build_task(f"{module}:short").num_steps == 5
    sweep = Sweep("example", "?", "!", Trial(), {"cell": ("gru",)})
    sweep = adjusted(sweep, Options(set=(f"task={module}:first", "seq_len=3")))
    assert [one.title for one in plan(sweep).groups] == [f"{module}:first T=3: gru (1 trials)"]


@pytest.mark.parametrize(
    ("task", "seq_len", "message"),
    [
        ("{0}:frist", 5, "unknown factory in {0} 'frist'; did you mean 'first'"),
        ("{0}:first", None, "is a factory of seq_len: give it with seq_len=N"),
        ("{0}:short", 5, "takes no seq_len, got 5; leave it out"),
        ("{0}:wrong", None, "inputs of an example are"),
        ("{0}:other", 5, "the factory returned str, not an rnnjax.tasks.Task"),
        ("{0}:first", 0, "it must be an integer of at least 1"),
        ("no_such_module:first", 5, "cannot import module 'no_such_module'"),
        ("a b:first", 5, "is not of the form my_module:my_task"),
        ("recal", 5, "unknown task 'recal'; did you mean 'recall'.*; or my_module:my_task, or a .npz or .parquet file"),
        ("mine.npz", None, "task 'mine.npz' lacks the digest"),
    ],
)
def test_what_is_no_task_is_told(module, task, seq_len, message):
    with pytest.raises(ValueError, match=message.format(module)):
        build_task(task.format(module), seq_len)


def test_the_id_of_a_file_s_trial_holds_its_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("mine.npz")
    task = pin("mine.npz")
    assert pin(task) == task
    assert build_task(task).input_size == 2
    before = Trial(task=task).id
    write("mine.npz", seed=1)
    assert Trial(task=pin("mine.npz")).id != before
    with pytest.raises(ValueError, match="the file has changed"):
        build_task(task)
    with pytest.raises(ValueError, match=r"task 'other\.npz': there is no such file"):
        pin("other.npz")
    with pytest.raises(ValueError, match="seq_len is 5, but the lengths are those of the file"):
        build_task(pin("mine.npz"), 5)


def test_files_are_found_in_bases_axes_and_bundles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        write(f"{name}.npz", seed=ord(name))
    axes = {"task": ["b.npz", {"task": "c.npz", "num_steps": 2}], "seed": range(1)}
    sweep = pinned(Sweep("example", "?", "!", Trial(task="a.npz"), axes))
    assert [sweep.base.task, *(trial.task for trial in sweep.trials())] == [pin(f"{name}.npz") for name in "abc"]
    assert pinned(sweep) == sweep


def test_a_changed_file_does_not_go_on_with_the_table_of_the_old_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("mine.npz")
    words = ["forget_bias", "--set", "task=mine.npz", *SMALL, "--axis", "forget_bias=1", "--seeds", "1", "--out", "out"]
    assert command.main(words) == 0
    runs = pd.read_csv("out/runs.csv")
    assert list(runs.task) == [pin("mine.npz")]
    assert (runs.num_train[0], runs.num_test[0], runs.seq_len[0]) == (24, 8, 6)
    assert command.main(words) == 0
    assert "1 trials, 1 of them finished already" in capsys.readouterr().out
    write("mine.npz", seed=1)
    assert command.main(words) == 2
    assert "holds another sweep" in capsys.readouterr().err


def test_a_sweep_of_the_users_file_or_module(module, tmp_path, capsys):
    assert len(load(f"{module}.py").trials()) == 2
    assert len(load(f"{module}.py:OTHER").trials()) == len(load(f"{module}:OTHER").trials()) == 3
    assert command.main([f"{module}.py"]) == 0
    config = json.loads((tmp_path / "results" / "my-sweep-quick" / "config.json").read_text())
    assert config["name"] == "my sweep"
    runs = pd.read_csv(tmp_path / "results" / "my-sweep-quick" / "runs.csv")
    assert list(runs.cell) == [f"{module}:mine"] * 2
    for name, message in [
        ("no_such.py", "there is no file no_such.py"),
        (f"{module}:SWEP", "did you mean 'SWEEP'"),
        ("no_such_module:SWEEP", "cannot import no_such_module"),
        ("lstm_gate", "unknown sweep 'lstm_gate'; did you mean 'lstm_gates'"),
    ]:
        assert command.main([name]) == 2
        assert message in capsys.readouterr().err.replace("\n", " ")


def test_a_file_that_shadows_another_module_is_refused(tmp_path):
    (tmp_path / "json.py").write_text("SWEEP = 1\n")
    with pytest.raises(ValueError, match="another module is named json"):
        load(str(tmp_path / "json.py"))


@pytest.mark.parametrize(
    ("num_steps", "eval_every", "message"),
    [
        (1000, 300, "num_steps 900 or 1200 would do, or eval_every 250 or 500"),
        (10, 50, "num_steps 50 would do, or eval_every 10"),
        (7, 2, "num_steps 6 or 8 would do, or eval_every 1 or 7"),
    ],
)
def test_what_does_not_divide_is_told_with_what_would_do(num_steps, eval_every, message):
    with pytest.raises(
        ValueError, match=f"num_steps={num_steps} must be a multiple of eval_every={eval_every}; {message}"
    ):
        check_evaluations(num_steps, eval_every)


def test_a_message_names_the_option_that_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("mine.npz")
    base = Trial(task="mine.npz", seq_len=None, batch_size=8)
    with pytest.raises(ValueError, match=r"eval_every=50 steps .*; eval_every can be at most 3"):
        plan(pinned(Sweep("example", "?", "!", base, {})))
    with pytest.raises(ValueError, match="batch_size=32 is more than the 24 training examples"):
        plan(pinned(Sweep("example", "?", "!", Trial(task="mine.npz"), {})))
