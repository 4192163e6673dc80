"""python -m experiments.gradients: from cells as text to a page, a table and a report."""

import math
import re
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from experiments.gradients import main as gradients, measure as gradients_measure
from experiments.gradients.measure import AFTER, BEFORE, INPUTS, LAGS, Setting, measure_cell
from experiments.gradients.report import _lags, horizon, horizon_with_interval, in_words
from experiments.gradients.settings import NUM_CHUNKS, SHORTEST, Inputs, Options
from rnnjax.gradients import Derivatives, horizon_interval
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


def test_on_a_task_the_reach_is_measured_and_said_in_words(tmp_path, capsys):
    cells = ["lstm:forget_bias=8:input_bias=-8", "lstm:forget_bias=-3"]
    assert gradients.main([*cells, *SMALL, "--task", "recall", "--out", str(tmp_path)]) == 0
    rows = pd.read_csv(tmp_path / "gradients.csv").set_index(["cell", "quantity"])["mean"]
    kept, lost = "lstm forget_bias=8 input_bias=-8", "lstm forget_bias=-3"
    assert rows[kept, "reach"] == 1
    assert rows[lost, "reach"] == pytest.approx(rows[lost, "size_lag"] / 20)
    assert rows[lost, "size_lag"] < 15
    assert math.isinf(rows[kept, "size_lag"])
    assert math.isinf(rows[kept, "coherence_lag"])
    assert len(rows[kept, "coherence"]) == len(rows[kept, "log10_output_derivative"]) == 21  # steps of T = 20
    assert rows[kept, "coherence"].min() > 0.9
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for said in (text, capsys.readouterr().out):
        assert f"{kept}, at initialisation: reach 1 of T = 20: gradients arrive, and agree" in said
        assert "gradients are under a thousandth from lag" in said


def measured(log_rms, coherence):
    """What `in_words` sees of one seed: logarithms and coherence by lag 1..T."""
    return SimpleNamespace(derivatives=Derivatives(np.array([log_rms]), np.array([coherence])))


@pytest.mark.parametrize(
    ("size", "common", "said"),
    [
        (1.0, 1.0, "reach 1 of T = 10: gradients arrive, and agree"),
        (0.1, 1.0, "reach 0.5 of T = 10: gradients are under a thousandth from lag 5 on; a gate that keeps more"),
        (1.5, 0.5, "reach 0.6 of T = 10: gradients grow and disagree .*, from lag 6 on; a shut input gate would help"),
        (1.0, 0.5, "reach 0.6 of T = 10: gradients disagree from one sequence to the next, from lag 6 on"),
        (math.inf, 1.0, "no reach: a derivative is NaN or infinite"),
    ],
)
def test_what_ends_the_reach_is_said(size, common, said):
    lags = np.arange(1, 12)  # recall at T = 10 has 11 steps
    setting = Setting(task=make_task("recall", 10))
    assert re.match(said, in_words(measured(lags * math.log(size), common**lags), setting))


def test_with_a_loss_at_every_step_there_is_no_horizon():
    m = SimpleNamespace(mean_by_lag=np.log([[1.0, 0.5, 0.25]]), by_lag=np.log([[[1.0], [0.5], [0.25]]]))
    steps = [horizon(m, Setting(task=make_task(name, 10))).steps for name in ("recall", "copy_memory")]
    assert steps[0] == pytest.approx(1 / math.log(2))
    assert math.isnan(steps[1])


def test_horizons_of_gradients_that_grow_say_so():
    text = lambda factor: horizon_with_interval(horizon_interval(np.arange(1, 101)[:, None] * math.log(factor)), 100)
    assert text(1.1) == "grows"
    assert text(1.0) == "> 100"
    assert text(0.9) == "9.49"


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
    assert found.measured[AFTER].derivatives.coherence.shape == (2, 7)
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
