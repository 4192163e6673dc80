"""What the command line makes of a sweep: no cell under another one's name, no trial counted twice."""

import dataclasses

import pytest

from experiments import remedies, zoo
from experiments.sweep import command
from experiments.sweep.adjust import adjusted
from experiments.sweep.spec import Sweep, Trial
from experiments.sweep.trials.plan import plan


@pytest.fixture(autouse=True)
def my_cell(tmp_path, monkeypatch):
    (tmp_path / "cell_beside.py").write_text("from rnnjax import gru\n\ndef mine(size):\n    return gru(size)\n")
    monkeypatch.syspath_prepend(tmp_path)


def changed(of, *words):
    return adjusted(of, command.COMMAND.read(words).options)


def rows(of, *words):
    """variant -> the cells that are run under its name."""
    found = {}
    for trial in changed(of, *words).trials():
        found.setdefault(trial.variant, set()).add(trial.cell)
    return found


def test_a_cell_is_one_more_remedy():
    before, after = rows(remedies.SWEEP), rows(remedies.SWEEP, "--cell", "cell_beside:mine")
    assert after == {**before, "cell_beside:mine": {"cell_beside:mine"}}
    (own,) = {
        dataclasses.replace(trial, seed=0, seq_len=1, learning_rate=1.0)
        for trial in changed(remedies.SWEEP, "--cell", "cell_beside:mine").trials()
        if trial.cell == "cell_beside:mine"
    }
    assert (own.label, own.task, own.num_steps, own.hidden_size, own.omega) == ("", "recall", 300, 32, 0.0)


def test_a_cell_is_one_more_row_of_the_zoo_of_equal_size():
    before, after = rows(zoo.SWEEP), rows(zoo.SWEEP, "--cell", "cell_beside:mine")
    assert after == {**before, "cell_beside:mine": {"cell_beside:mine"}}
    sizes = {
        cell: {
            (t.task, t.num_steps, t.hidden_size) for t in changed(zoo.SWEEP, "--cell", own).trials() if t.cell == cell
        }
        for cell, own in (("gru", "cell_beside:mine"), ("cell_beside:mine", "cell_beside:mine"))
    }
    assert sizes["gru"] == sizes["cell_beside:mine"]
    assert {task for task, _, _ in sizes["gru"]} == set(zoo.TASKS)


@pytest.mark.parametrize("of", [remedies.SWEEP, zoo.SWEEP], ids=lambda of: of.name)
@pytest.mark.parametrize("option", ["--axis", "--set"])
def test_a_cell_in_place_of_all_others_bears_its_own_name(of, option):
    assert rows(of, option, "cell=cell_beside:mine") == {"cell_beside:mine": {"cell_beside:mine"}}


def test_cells_that_are_there_keep_their_settings():
    assert rows(remedies.SWEEP, "--axis", "cell=lstm:forget_bias=chrono") == {
        "LSTM chrono": {"lstm:forget_bias=chrono"}
    }
    few = changed(zoo.SWEEP, "--axis", "cell=gru,lstm", "task=adding").trials()
    assert {(t.cell, t.task, t.num_steps) for t in few} == {("gru", "adding", 600), ("lstm", "adding", 600)}
    assert {t.hidden_size for t in few} < {t.hidden_size for t in zoo.SWEEP.trials()}


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("remedies", ["--set", "label=x"], "the name 'x' would stand for two cells"),
        (
            "lstm_gates",
            ["--set", "label=x"],
            "the name 'x' would stand for two cells, 'lstm_np:forget_bias=1:input_bias=0'",
        ),
        ("lstm_gates", ["--axis", "label=a,b", "cell=gru"], "'a' and 'b' would be one and the same trial"),
        ("remedies", ["--set", "alpha=0.3"], "alpha=0.3 is no field of a trial, and no option for all cells"),
        ("zoo", ["--axis", "forget_bias=1,2"], "forget_bias=1,2 is no field of a trial"),
        ("remedies", ["--set", "clip_norm=1"], "'plain' and 'clip norm' would be one and the same trial"),
        ("remedies", ["--set", "omega=0.1"], "'plain' and 'Omega' would be one and the same trial"),
        ("remedies", ["--cell", "experiments.remedies:rnn"], "would be one and the same trial"),
        ("lstm_gates", ["--axis", "num_test=20,30"], "differ in num_test 20 and 30"),
        ("remedies", ["--set", "label=x", "--axis", "cell=gru,lstm"], "the name 'x' would stand for two cells"),
        ("zoo", ["--set", "task=temporal_order"], "task='temporal_order': this sweep sets other fields by it"),
        ("zoo", ["--cell", "lstmm"], "unknown cell 'lstmm'; did you mean 'lstm'"),
        ("zoo", ["--cell", "lstm:forget_bas=1"], "did you mean 'forget_bias'"),
        ("lstm_gates", ["--seeds", "2,x"], "--seeds takes C or C,R, whole numbers, got '2,x'"),
        ("lstm_gates", ["--seeds", "2,0"], "--seeds 2,0 must be at least 1"),
        ("lstm_gates", ["--seeds", "1001,2"], "at most 1000 seeds can choose"),
        ("lstm_gates", ["--set", "stop_when_solved=maybe"], "stop_when_solved='maybe' is not true or false"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_would_be_wrong_in_silence_is_refused(name, words, says, tmp_path, capsys):
    assert command.main([name, *words, "--dry-run", "--out", str(tmp_path)]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_a_changed_sweep_has_a_title_of_its_own():
    same = changed(remedies.SWEEP, "--cell", "cell_beside:mine", "--seeds", "3", "--axis", "seed=1,2")
    assert (same.name, same.question, same.expects) == ("remedies", remedies.SWEEP.question, remedies.SWEEP.expects)
    other = changed(remedies.SWEEP, "--axis", "seq_len=7", "--set", "hidden_size=4")
    assert other.name == "remedies, changed"
    assert "--axis seq_len=7" in other.question
    assert "--set hidden_size=4" in other.question
    assert other.expects == ""


def test_contrasts_name_variants():
    def of(*pairs):
        return Sweep("example", "?", "!", Trial(seq_len=5), {"cell": ("gru", "elman")}, contrasts=pairs)

    assert plan(of(("gru", "elman"))).num_trials == 2
    with pytest.raises(ValueError, match="unknown variant in contrasts 'elmann'; did you mean 'elman'"):
        plan(of(("gru", "elmann")))
    with pytest.raises(ValueError, match="9 contrasts are named; at most 8"):
        of(*[("gru", "elman")] * 9)
    assert changed(of(("gru", "elman")), "--axis", "cell=gru").contrasts == ()
