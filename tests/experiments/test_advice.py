"""Advice tested: every trial belongs to one piece of advice, and a verdict follows from the differences."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import experiments.advice
from experiments.advice import main, reading as advice
from experiments.shared.cells import build_cell, variant
from experiments.sweep.spec import Trial


def test_every_trial_is_of_one_piece_of_advice():
    found = []
    for trial in advice.SWEEP.at_full_size().trials():
        fields = {**dataclasses.asdict(trial), "variant": variant(trial.cell), "trial_id": trial.id}
        found.append((trial.task, trial.seed, advice.name_of(pd.Series(fields)), trial.learning_rate))
    assert len(set(found)) == len(found) == 2 * 5 * 3 * len(advice.ADVICE)
    for cell in {trial.cell for trial in advice.SWEEP.trials()}:
        assert build_cell(cell, 3, 10).output_size == 3


def runs(accuracies: dict[str, list[float]]) -> pd.DataFrame:
    rows = []
    for name in advice.ADVICE:
        change = {"cell": advice.BASE, **advice.ADVICE[name]}
        for seed, accuracy in enumerate(accuracies.get(name, accuracies["base"])):
            trial = dataclasses.asdict(dataclasses.replace(Trial(seq_len=30, seed=seed), **change))
            more = {"trial_id": f"{name}-{seed}", "test_accuracy": accuracy, "validation_loss": 1.0, "diverged": False}
            more |= {"variant": variant(change["cell"]), "num_train": 10, "num_test": 20, "chance_accuracy": 0.125}
            rows.append({**trial, **more})
    return pd.DataFrame(rows)


def test_verdicts_follow_the_intervals():
    table = advice.verdicts(
        runs(
            {
                "base": [0.5, 0.6, 0.7],
                "forget bias 1": [0.7, 0.8, 0.9],  # always 0.2 better
                "RMSProp": [0.4, 0.5, 0.6],  # always 0.1 worse
                "clip the norm at 1": [0.2, 0.6, 1.0],  # now better, now worse
            }
        )
    ).set_index("advice")
    assert list(table.index) == list(advice.ADVICE)
    assert table.verdict["forget bias 1"] == "helps"
    assert table.difference["forget bias 1"] == pytest.approx(0.2)
    assert table.verdict["RMSProp"] == "hurts"
    assert table.verdict["clip the norm at 1"] == "no difference shown"
    half = 4.302653 * np.std([-0.3, 0, 0.3], ddof=1) / np.sqrt(3)  # Student's t, 2 degrees of freedom
    assert table.high["clip the norm at 1"] == pytest.approx(half, rel=1e-5)


def test_a_diverged_run_counts_as_nothing_right():
    made = runs({"base": [0.5, 0.5, 0.5]})
    made.loc[made.trial_id == "AdaGrad-1", "diverged"] = True
    assert advice.verdicts(made).set_index("advice").accuracy["AdaGrad"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_from_the_command_to_the_verdicts(tmp_path, monkeypatch, capsys):
    few = {name: advice.ADVICE[name] for name in ("base", "clip the norm at 1", "layer normalisation")}
    for module in (advice, experiments.advice):
        monkeypatch.setattr(module, "ADVICE", few)
    axes = {"clip_norm": experiments.advice._variants()}
    monkeypatch.setattr(advice, "SWEEP", dataclasses.replace(advice.SWEEP, axes=axes))
    sizes = ["num_steps=4", "eval_every=2", "hidden_size=2", "seq_len=3", "num_validation=20", "num_test=20"]
    assert main.main(["--set", *sizes, "--seeds", "2", "--out", str(tmp_path)]) == 0
    readme = (tmp_path / "README.md").read_text()
    assert all(f"| {name} |" in readme for name in few)
    assert "2 seeds" in readme
    assert (tmp_path / "differences.png").stat().st_size > 10_000
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 3 * 3 * 2
    assert main.main(["--set", "hiden_size=2"]) == 2
    assert "did you mean 'hidden_size'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_norm=1", "--set clip_norm=1: advice is told apart by clip_norm"),
        ("optimizer=sgd", "told apart by optimizer"),
        ("l2=1e-4", "told apart by l2"),
        ("clip_value=0.1", "told apart by clip_value"),
        ("cell=gru", "told apart by cell"),
        ("learning_rate=0.1", "python -m experiments.sweep --axis learning_rate="),
        ("seed=3", "--seeds N sets how many"),
        ("label=x", "told apart by label"),
        ("forget_bias=1", "unknown setting 'forget_bias'"),
        ("num_steps", "--set takes KEY=VALUE, got 'num_steps'"),
    ],
)
def test_what_the_report_could_not_read_is_refused_before_anything_runs(text, message):
    with pytest.raises(ValueError, match=message):
        advice.changed(advice.SWEEP, [text])


def test_what_the_full_size_has_values_of_its_own_for_is_refused_there_alone():
    assert advice.changed(advice.SWEEP, ["num_steps=50"]).base.num_steps == 50
    with pytest.raises(ValueError, match="told apart by num_steps, or has values of its own for it"):
        advice.changed(advice.SWEEP.at_full_size(), ["num_steps=50"])
