"""python -m experiments.gradients: from cells as text to a page, a table and a report."""

import math
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from experiments.gradients import main as gradients, measure as gradients_measure
from experiments.gradients.measure import AFTER, BEFORE, INPUTS, LAGS, Setting, measure_cell
from experiments.gradients.report import _lags
from experiments.gradients.settings import NUM_CHUNKS, SHORTEST, Inputs, Options
from rnnjax.tasks import make_task

SMALL = ["--hidden-size", "4", "--seq-len", "20", "--seeds", "2", "--examples", "2"]


def test_from_the_command_to_the_page(tmp_path, capsys):
    assert gradients.main(["elman", "lstm:forget_bias=2", *SMALL, "--out", str(tmp_path)]) == 0
    rows = pd.read_csv(tmp_path / "gradients.csv")
    assert list(rows.columns) == ["cell", "time", "quantity", "index", "mean", "low", "high", "n"]
    assert set(rows.cell) == {"elman", "lstm forget_bias=2"}
    assert set(rows.n) == {1, 2}  # theory is of one seed
    of = lambda cell, quantity: rows[(rows.cell == cell) & (rows.quantity == quantity)]
    for cell, size in (("elman", 4), ("lstm forget_bias=2", 8)):
        assert list(of(cell, "log10_gradient_norm")["index"].astype(float)) == list(range(1, 21))
        assert len(of(cell, "lyapunov_exponent")) == size
        assert len(of(cell, "log10_jacobian:max")) == 5  # lags 1 to 20
    gate = of("lstm forget_bias=2", "log10_theory:forget_gate alone")["mean"]
    np.testing.assert_allclose(gate, np.arange(1, 21) * math.log10(1 / (1 + math.exp(-2))), rtol=1e-4)
    shares = of("lstm forget_bias=2", "gate:forget_gate")["mean"]
    assert shares.sum() == pytest.approx(1, abs=1e-3)
    assert len(of("lstm forget_bias=2", "time_constant:forget_gate")) == 4
    assert of("elman", "log10_theory:mean field")["mean"].is_monotonic_decreasing
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| lstm forget_bias=2 | at initialisation |" in text
    assert "2 seeds with 2 sequences each" in text
    assert "python -m experiments.gradients elman lstm:forget_bias=2" in text
    assert (tmp_path / "gradients.png").stat().st_size > 20_000
    assert "elman" in capsys.readouterr().out


def test_long_curves_are_thinned():
    assert list(_lags(7)) == list(range(1, 8))
    lags = _lags(1000)
    assert list(lags[:100]) == list(range(1, 101))
    assert lags[-1] == 1000
    assert (np.diff(lags) > 0).all()
    assert len(lags) == 130


@pytest.mark.slow
def test_before_and_after_training(monkeypatch):
    """Of a state too large for whole Jacobians, along random directions."""
    monkeypatch.setattr(gradients_measure, "MOST_EXACT", 3)
    monkeypatch.setattr(gradients_measure, "NUM_PROBES", 2)
    task = make_task("recall", 6)
    setting = Setting(hidden_size=4, seq_len=6, num_seeds=2, num_examples=3, task=task, trained=2 * NUM_CHUNKS)
    found = measure_cell("gru", setting)
    assert list(found.measured) == [BEFORE, AFTER]
    assert not found.exact
    assert found.measured[BEFORE].jacobian.shape == (2, 3, 2, 2)  # seeds, lags 1 2 5, examples, probes
    assert found.matrix.shape == (2, NUM_CHUNKS + 1, 7)
    np.testing.assert_allclose(found.matrix[:, 0], found.measured[BEFORE].mean_by_lag, atol=1e-4)
    assert not np.allclose(found.matrix[:, -1], found.matrix[:, 0])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["lstmm"], "did you mean 'lstm'"),
        (["lstm:forget_biass=2"], "did you mean 'forget_bias'"),
        (["lstm", "--inputs", "norml"], "did you mean 'normal'"),
        (["lstm", "--task", "recal"], "did you mean 'recall'"),
        (["lstm", "--trained", "100"], "--trained needs a --task"),
        (["lstm", "--task", "recall", "--trained", "7"], "must be a multiple of 10"),
        (["lstm", "--task", "mnist_pixels"], "only synthetic tasks"),
        (["lstm", "--task", "recall", "--inputs", "zeros"], "exclude each other"),
        (["lstm", "--seeds", "0"], "--seeds 0 must be at least 1"),
        (["lstm", "--seq-len", "3"], "--seq-len 3 must be at least 5"),
    ],
)
def test_bad_input_is_named(argv, message, capsys, tmp_path):
    assert gradients.main([*argv, "--out", str(tmp_path / "none")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_what_the_settings_say_is_what_is_measured():
    assert get_args(Inputs) == tuple(INPUTS)
    assert LAGS[2] == SHORTEST
    options, setting = Options(cells=("lstm",)), Setting()
    for name in ("hidden_size", "trained", "learning_rate"):
        assert getattr(options, name) == getattr(setting, name)
    assert (options.seeds, options.examples) == (setting.num_seeds, setting.num_examples)
