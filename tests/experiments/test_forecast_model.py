"""Networks that are kept and used again on a longer series, and further columns that they see."""

import json
import os
import shutil
from functools import cache

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.forecast import main as forecast, program
from experiments.forecast.data import Series
from experiments.forecast.network import make_forecaster, make_pairs
from experiments.forecast.rolling import fit_transforms, make_rolling, network_forecasts, scale
from experiments.forecast.saved_model import load
from rnnjax import gru
from rnnjax.data.series import make_transform
from rnnjax.training.optimizers import Hyper

QUIET = Console(quiet=True)
RNG = np.random.default_rng(0)
MONTHS = np.arange("2018-01", "2024-01", dtype="datetime64[M]")
LEVEL = RNG.normal(size=72)
PRICE = 50 + 4 * np.append(0, LEVEL[:-1]) + 0.3 * RNG.normal(size=72)  # follows the level by a month
WORDS = "--column price --exogenous level --transforms standard --seeds 2 --num-steps 150 --lags 2 "
WORDS += "--hidden-size 3 --shortcut --learning-rate 0.03 --horizon 6 --calibration 12 --refit 0"


def table(path, count, sep=";"):
    """The first months of a file as people have it, with decimal commas."""
    rows = zip(MONTHS[:count], PRICE, LEVEL, strict=False)
    lines = [f"{month}-01{sep}{price:.4f}{sep}{level:.4f}".replace(".", ",") for month, price, level in rows]
    path.write_text("\n".join([f"month{sep}price{sep}level", *lines]) + "\n")
    return path


def run(*arguments) -> int:
    return forecast.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    path = table(folder / "prices.csv", 60)
    argv = [path, *WORDS.split(), "--ahead", "6", "--model", folder / "model", "--out", folder / "out"]
    assert run(*argv) == 0
    return folder, argv


@pytest.fixture
def model(trained, tmp_path):
    """A copy of it elsewhere, where nothing else is."""
    shutil.copytree(trained[0] / "model", tmp_path / "elsewhere" / "model")
    return tmp_path / "elsewhere" / "model"


def test_the_same_series_again_gives_the_same(trained, model, tmp_path, capsys):
    assert run("predict", "--model", model, trained[0] / "prices.csv", "--out", tmp_path / "out") == 0
    assert "60 values; the networks were fitted on the first 60" in capsys.readouterr().out
    (before,) = (trained[0] / "out").glob("*-ahead.csv")
    ours, theirs = pd.read_csv(tmp_path / "out" / "prices-ahead.csv"), pd.read_csv(before)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5)
    assert ours["date"].tolist() == [f"2023-0{month}-01" for month in range(1, 7)]
    assert (tmp_path / "out" / "prices-ahead.png").stat().st_size > 10_000


def test_a_longer_series_in_another_folder(model, tmp_path, capsys):
    path = table(tmp_path / "longer.csv", 66, sep="\t")
    assert run("predict", "--model", model, path, "--ahead", 3, "--out", tmp_path / "out") == 0
    assert "66 values; the networks were fitted on the first 60" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "out" / "longer-ahead.csv")
    assert found["date"].tolist() == ["2023-07-01", "2023-08-01", "2023-09-01"]
    assert abs(found["forecast"][0] - PRICE[66]) < 2  # of the level of the month before it is known
    assert ((found["low"] < found["forecast"]) & (found["forecast"] < found["high"])).all()


def test_what_a_model_sees_is_scaled_as_in_training(model):
    kept, frequency = load(model)
    assert frequency == "monthly"
    known = kept.series
    longer = Series("longer", "price", np.append(known.y, 1e3), exogenous=np.append(known.exogenous, [[50.0]], axis=0))
    np.testing.assert_array_equal(kept.pairs(longer).xs[:, :-1], kept.pairs(known).xs)
    assert kept.pairs(longer).xs[0, -1].max() > 20


def test_the_same_command_trains_no_more_and_another_is_refused(trained, capsys):
    _, argv = trained
    assert run(*argv) == 0
    assert "on all values: going on from 19 of 19" in capsys.readouterr().out
    assert run(*argv, "--hidden-size", 4) == 2
    captured = capsys.readouterr()
    assert "hidden_size: 3 there, 4 now" in captured.err
    assert "loss" not in captured.out  # nothing was trained
    changed = table(trained[0] / "prices.csv", 59)
    assert run(*argv) == 2
    assert "series_digest" in capsys.readouterr().err
    table(changed, 60)


# --- further columns --------------------------------------------------------------------------------------------------


@cache
def small(window):
    options = {"window": window, "shortcut": True, "hyper": Hyper(1e-2, 1.0), "num_steps": 5}
    return make_forecaster(gru(3), num_exogenous=2, **options)


def rolled(y, columns, window):
    rolling = make_rolling(y, 40, horizon=4, refit=10, calibration=6)
    fitted = fit_transforms(rolling, make_transform("seasonal,standard", 6))
    scaled = [scale(columns, ["a", "b"], columns[:start]) for start in rolling.starts]
    return network_forecasts(rolling, fitted, small(window), 2, 2, QUIET, "x", exogenous=scaled)


@pytest.mark.parametrize("window", [0, 3])
def test_nothing_later_than_the_origin_is_used(window):
    y, columns = PRICE[:60], np.stack([LEVEL[:60], np.arange(60.0)], axis=1)
    changed = np.append(columns[:50], 9 + columns[50:], axis=0)
    one, two = (rolled(y, each, window)[0] for each in (columns, changed))
    np.testing.assert_allclose(one.rolled[:, :17], two.rolled[:, :17], rtol=1e-6)  # origins 34 .. 50
    assert (one.rolled[:, 18:] != two.rolled[:, 18:]).any()


@pytest.mark.parametrize("window", [0, 3])
def test_further_ahead_columns_stay_as_they_were_last(window):
    """Three steps ahead is one step ahead of a series with the forecasts in it, and of columns that stay constant."""
    z, columns = PRICE - 50, np.stack([LEVEL, RNG.normal(size=72)], axis=1)
    trained = rolled(PRICE[:60], columns[:60], window)[1]

    def ask(z, columns, position, horizon):
        xs = make_pairs([z] * 3, 2, [40] * 3, [columns] * 3).xs
        return small(window).forecast(trained.params, xs, np.full((3, 1), position), horizon)[1, 1, 0]

    known = columns.copy()
    known[40:] = columns[39]
    ahead, written = ask(z, columns, 38, 3), z.copy()
    for step in range(3):
        written[40 + step] = ask(written, known, 38 + step, 1)[0]
    np.testing.assert_allclose(ahead, written[40:43], rtol=1e-4, atol=1e-4)


def test_what_a_network_sees_of_columns():
    xs = make_pairs([np.arange(5.0)], 2, [5], [np.stack([10.0 + np.arange(5), 20.0 + np.arange(5)], axis=1)]).xs
    np.testing.assert_array_equal(xs[0, 1], [1, 2, 11, 12, 21, 22])


def test_a_column_that_leads_the_series_is_made_use_of(trained, tmp_path, capsys):
    runs = pd.read_csv(trained[0] / "out" / "runs.csv")
    assert "--exogenous level" in runs["preset"][0]
    words = WORDS.replace("--exogenous level ", "").split()
    assert run(trained[0] / "prices.csv", *words, "--out", tmp_path / "without") == 0
    without = pd.read_csv(tmp_path / "without" / "runs.csv")
    with_it, blind = (
        each.query("metric == 'RMSE, one step ahead' and split == 'test' and cell == 'mean of 2 lstm'")["value"].item()
        for each in (runs, without)
    )
    assert with_it < 0.4 * blind


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--exogenous levl", "unknown column 'levl'; did you mean 'level'"),
        ("--exogenous flat", "--exogenous flat: all values for training are 3, up to rounding"),
    ],
)
def test_columns_that_do_not_serve(tmp_path, capsys, words, message):
    frame = pd.DataFrame({"price": PRICE, "level": LEVEL, "flat": 3.0})
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert run(tmp_path / "a.csv", "--column", "price", *words.split()) == 2
    assert message in capsys.readouterr().err
    assert run("airline", *words.split()) == 2
    assert "airline is a preset, that is for files" in capsys.readouterr().err


def test_what_predict_cannot_do_is_said(model, tmp_path, capsys):
    path = table(tmp_path / "a.csv", 66)

    def error(*words):
        assert run("predict", "--model", *words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert "holds no trained model" in error(tmp_path, path)
    assert "the following arguments are required: FILE" in error(model)
    assert "--ahead 7 is beyond --horizon 6" in error(model, path, "--ahead", 7)
    assert "no file" in error(model, tmp_path / "b.csv")
    short = table(tmp_path / "short.csv", 3)
    assert "has 3 values; these networks need at least 4" in error(model, short)
    path.write_text(path.read_text().replace("level", "depth"))
    assert "unknown column 'level'" in error(model, path)
    days = pd.date_range("2020-01-01", periods=30).strftime("%Y-%m-%d")
    pd.DataFrame({"day": days, "price": PRICE[:30], "level": LEVEL[:30]}).to_csv(path, index=False)
    assert "was fitted on values that are monthly" in error(model, path)


def test_a_model_folder_runs_no_code_and_its_fields_are_checked(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(model.parent)
    path = table(tmp_path / "a.csv", 66)
    config = model / "config.json"
    whole = json.loads(config.read_text())
    hostile = {
        "cell": ("os:system", "evil:cell", "lstmm", 7, None),
        "hidden_size": ("touch ran", -1, 10**9, True),
        "transforms": ("eval", 3),
        "lags": (0, "2"),
        "seeds": (0, 3),
        "horizon": (3, -1),
        "series_digest": ("", None),
    }
    for field, values in hostile.items():
        for value in values:
            config.write_text(json.dumps({**whole, field: value}))
            assert run("predict", "--model", model, path) == 2, (field, value)
            said = capsys.readouterr().err
            assert said.startswith("error: "), (field, value, said)
            assert said.count("\n") == 1, (field, value, said)
    config.write_text(json.dumps({**whole, "cell": "os:system"}))
    assert run("predict", "--model", model, path) == 2
    assert "--trust-code" in capsys.readouterr().err
    assert os.listdir(model.parent) == ["model"]


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("series.json", {"values": [1.0, 2.0]}, "series.json does not belong to these weights"),
        ("errors.json", {"errors": [[1.0]]}, "errors.json is damaged: errors and spread are not tables of 6 columns"),
        ("errors.json", {"spread": "no"}, "errors.json is damaged: spread is not numbers in 2 axes"),
    ],
)
def test_a_damaged_file_is_named(model, tmp_path, capsys, file, changes, message):
    path = model / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert run("predict", "--model", model, table(tmp_path / "a.csv", 66)) == 2
    assert message in capsys.readouterr().err


def test_presets_are_kept_too(tmp_path, capsys):
    words = ["airline-best", "--seeds", "1", "--num-steps", "10", "--hidden-size", "2", "--refit", "0"]
    assert run(*words, "--model", tmp_path / "m") == 0
    assert f"kept, fitted on all values: {tmp_path / 'm'}" in capsys.readouterr().out
    y = program.data.airline().y
    (tmp_path / "a.csv").write_text("passengers\n" + "".join(f"{value:g}\n" for value in [*y, 450, 430]))
    assert run("predict", "--model", tmp_path / "m", tmp_path / "a.csv", "--column", "passengers") == 0
    assert "146 values; the networks were fitted on the first 144" in capsys.readouterr().out
