"""Forecasting: nothing later than an origin is used, measures are what they say, one small run from end to end."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.forecast import ahead, data, main as forecast, plots, program, scores
from experiments.forecast.baselines import persistence
from experiments.forecast.network import lstm_keras, make_forecaster, make_pairs
from experiments.forecast.outcome import Difference
from experiments.forecast.rolling import baselines, fit_transforms, make_rolling, network_forecasts, roll
from experiments.forecast.settings import PRESETS, Settings, autoregressions
from rnnjax import elman, gru
from rnnjax.data.series import make_transform
from rnnjax.training.optimizers import Hyper

QUIET = Console(quiet=True)
WAVE = 10 + np.arange(60) / 10 + 3 * np.sin(2 * np.pi * np.arange(60) / 6)
WAVE += 0.3 * np.random.default_rng(0).normal(size=60)


@cache
def small(window=0, num_steps=5, shortcut=True, batch_size=1):
    hyper = Hyper(1e-2, 1.0)
    options = {"window": window, "shortcut": shortcut, "num_steps": num_steps, "batch_size": batch_size}
    return make_forecaster(gru(3), hyper=hyper, **options)


def networks(y, forecaster, refit=6, lags=2, text="seasonal,standard"):
    rolling = make_rolling(y, 40, horizon=4, refit=refit, calibration=6)
    fitted = fit_transforms(rolling, make_transform(text, 6))
    return rolling, network_forecasts(rolling, fitted, forecaster, lags, 2, QUIET, "small")


# --- data -------------------------------------------------------------------------------------------------------------


def test_the_airline_series_is_the_known_one():
    y = data.airline().y
    assert (len(y), y.sum(), y.max()) == (144, 40363, 622)
    published = [scores.rmse(np.diff(y)[part]) for part in (slice(0, 94), slice(96, 142))]
    np.testing.assert_allclose(published, [23.18, 48.66], atol=0.005)  # persistence, as it is known


def test_the_sine_is_the_same_for_the_same_seed():
    one, two, other = data.sine(), data.sine(), data.sine(seed=1)
    np.testing.assert_array_equal(one.y, two.y)
    assert (one.y != other.y).any()
    np.testing.assert_allclose(one.truth[[0, 25]], 0, atol=1e-12)
    assert np.std(one.y - one.truth) == pytest.approx(data.SINE_NOISE, rel=0.1)
    assert len(one.until(100).truth) == len(one.until(100).y) == 100


def csv(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "file.csv"
    path.write_text(text, encoding=encoding)
    return path


def read(path, *words):
    """The series of a command line."""
    return program.load(forecast.COMMAND.read([str(path), *words]))


def counted(first, count):
    return [f"{number},{first + number}" for number in range(count)]


def test_a_column_of_a_csv(tmp_path):
    path = csv(tmp_path, "month,n, price\nJan,1,2.5\nFeb,2,3\n")
    np.testing.assert_array_equal(read(path, "--column", "price").y, [2.5, 3])
    path = csv(tmp_path, "месяц;x\nянварь;1\nмай;2\n", "cp1251")
    np.testing.assert_array_equal(read(path, "--encoding", "cp1251").y, [1, 2])


def test_decimal_commas_separators_and_thousands(tmp_path):
    prices = 101.25 + np.arange(48)
    rows = [f"{month};{price:.2f}".replace(".", ",") for month, price in enumerate(prices, 1)]
    path = csv(tmp_path, "\n".join(["month;price", *rows]))
    for words in ([], ["--sep", ";", "--decimal", ","], ["--sep", "semicolon", "--thousands", "."]):
        np.testing.assert_array_equal(read(path, "--column", "price", *words).y, prices)
    path = csv(tmp_path, "a,b\n" + "".join(f"{i},'1.{100 + i}'\n" for i in range(3)).replace("'", '"'))
    words = ["--column", "b", "--sep", ",", "--decimal"]
    np.testing.assert_array_equal(read(path, *words, ",").y, [1100, 1101, 1102])
    np.testing.assert_array_equal(read(path, *words, ".").y, [1.1, 1.101, 1.102])


def test_a_trailing_comma_shifts_nothing(tmp_path):
    path = csv(tmp_path, "\n".join(["month,price", *(f"{row}," for row in counted(101, 48))]))
    np.testing.assert_array_equal(read(path, "--column", "price").y, 101 + np.arange(48))


def test_a_file_without_a_heading(tmp_path):
    path = csv(tmp_path, "\n".join(str(100.5 + i) for i in range(48)))
    for words in ([], ["--no-heading"]):
        np.testing.assert_array_equal(read(path, *words).y, 100.5 + np.arange(48))
    np.testing.assert_array_equal(read(path, "--heading").y, 101.5 + np.arange(47))


def test_dates_are_put_in_order_and_gaps_are_named(tmp_path):
    months = np.arange("2020-01", "2022-01", dtype="datetime64[M]")
    rows = [f"{month}-01,{100 + i}" for i, month in enumerate(months)]
    path = csv(tmp_path, "\n".join(["date,price", *reversed(rows)]))
    series = read(path)
    np.testing.assert_array_equal(series.y, 100 + np.arange(24))
    assert series.dates[[0, -1]].astype("datetime64[D]").astype(str).tolist() == ["2020-01-01", "2021-12-01"]
    ahead = series.until(12).dates_ahead(2)
    assert ahead.astype("datetime64[D]").astype(str).tolist() == ["2021-01-01", "2021-02-01"]
    path = csv(tmp_path, "\n".join(["date,price", *rows[:5], *rows[6:]]))
    with pytest.raises(ValueError, match=r"1 of 24 values are missing \(monthly\): 2020-06-01.*--missing interpolate"):
        read(path)
    np.testing.assert_array_equal(read(path, "--missing", "interpolate").y, 100 + np.arange(24))
    assert len(read(path, "--missing", "skip").y) == 23
    path = csv(tmp_path, "day,other,price\n" + "".join(f"0{i}/02/2020,0{i}.03.2021,{i}\n" for i in (3, 2, 1)))
    assert read(path, "--dates", "day", "--date-format", "%d/%m/%Y").dates[0] == np.datetime64("2020-02-01")


def test_blank_lines_are_gaps(tmp_path):
    values = ["value", *("" if i % 4 == 2 else f"{i}" for i in range(60))]
    path = csv(tmp_path, "\n".join(values))
    with pytest.raises(ValueError, match="15 of 60 values are missing: in rows 3, 7, 11"):
        read(path)
    np.testing.assert_array_equal(read(path, "--missing", "interpolate").y, np.arange(60))


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("", "", "is empty"),
        ("a,b\n", "", "no rows under the heading a, b"),
        ("a,b\n1,2\n3,4\n", "", "has 2 columns of numbers: a, b; choose one with --column; all columns: a, b"),
        ("a\nx\ny\n", "", "has no columns of numbers; choose one with --column; all columns: a"),
        ("month,price\n1,2\n", "--column pric", "unknown column 'pric'; did you mean 'price'. known: month, price"),
        ("a,b\n1,x\n2,y\n", "--column b", "'x' in row 1"),
        ("a,b\n1,x\n,y\n3,z\n", "--column a", "1 of 3 values are missing: in rows 2"),
        ("a,b\n1,x\ninf,y\n", "--column a", "'inf' in row 2"),
        ("price,price\n1,2\n", "", "the heading has 'price' more than once"),
        ("a,b\n1,2\n", "--column a --decimal x", "--decimal 'x': the decimal mark is"),
        ("a,b\n1,2\n", "--column a --missing drop", "unknown missing 'drop'"),
    ],
)
def test_a_csv_that_does_not_serve(tmp_path, text, words, message):
    with pytest.raises(ValueError, match=message):
        read(csv(tmp_path, text), *words.split())


def test_a_csv_in_another_encoding(tmp_path):
    with pytest.raises(ValueError, match=r"file.csv is not utf-8.*--encoding windows-1251"):
        read(csv(tmp_path, "цена товара\n1\n", "cp1251"))
    with pytest.raises(ValueError, match="unknown encoding"):
        read(csv(tmp_path, "a\n1\n"), "--encoding", "utf-9")


@pytest.mark.parametrize(("slope", "transforms"), [(0, "standard"), (0.1, "difference,standard")])
def test_a_series_constant_up_to_rounding_is_refused(tmp_path, capsys, slope, transforms):
    path = csv(tmp_path, "value\n" + "".join(f"{7.7 + slope * i}\n" for i in range(96)))
    assert forecast.main([str(path), "--transforms", transforms]) == 2
    assert "up to rounding: nothing to scale" in capsys.readouterr().err


def test_too_few_origins_give_no_verdict():
    """Twelve origins of twelve steps are one block: all resamples are the same, and an interval would have no width."""
    ours, theirs = np.random.default_rng(0).normal(size=(2, 23, 12)) * [[[1.0]], [[9.0]]]
    value, *interval = scores.rmse_difference(ours, theirs)
    assert value < 0
    assert np.isnan(interval).all()
    unknown = Difference("persistence", "1 to 12 steps ahead", value, *interval)
    assert not unknown.beats
    assert unknown.verdict == "too few origins to tell from persistence"
    longer = [np.concatenate([errors, errors[:1]]) for errors in (ours, theirs)]
    low, high = scores.rmse_difference(*longer)[1:]
    assert low < high < 0


# --- rolling origin ---------------------------------------------------------------------------------------------------


def test_origins_fits_and_targets():
    rolling = make_rolling(np.arange(10.0), 6, horizon=3, refit=3, calibration=2)
    assert rolling.origins.tolist() == [4, 5, 6, 7, 8, 9]
    assert rolling.starts.tolist() == [4, 6, 9]
    assert rolling.fit_of.tolist() == [0, 0, 1, 1, 1, 2]
    assert rolling.test.tolist() == [False, False, True, True, True, True]
    assert rolling.first_fit == 1
    np.testing.assert_array_equal(rolling.targets[[0, -1]], [[4, 5, 6], [9, np.nan, np.nan]])
    assert make_rolling(np.arange(10.0), 6, 3, refit=0, calibration=2).starts.tolist() == [4, 6]
    assert make_rolling(np.arange(10.0), 6, 3, refit=0, calibration=0).starts.tolist() == [6]


@pytest.mark.parametrize(
    ("horizon", "calibration", "message"), [(5, 2, "has 4 values, fewer than the horizon 5"), (3, 6, "leaves nothing")]
)
def test_too_short_to_roll(horizon, calibration, message):
    with pytest.raises(ValueError, match=message):
        make_rolling(np.arange(10.0), 6, horizon, 3, calibration)


def test_baselines_use_nothing_later_than_the_origin():
    changed = np.append(WAVE[:50], 100 + WAVE[50:])
    for one, two in zip(*(_rolled(y) for y in (WAVE, changed)), strict=True):
        np.testing.assert_array_equal(one[:17], two[:17])  # origins 34 .. 50
        assert (one[18:] != two[18:]).any()


def _rolled(y):
    rolling = make_rolling(y, 40, horizon=8, refit=5, calibration=6)
    return [roll(rolling, method) for method in baselines(rolling, 6, [(2, "seasonal,standard"), (6, "log")])]


@pytest.mark.parametrize("window", [0, 3])
def test_networks_use_nothing_later_than_the_origin(window):
    changed = np.append(WAVE[:50], 100 + WAVE[50:])
    (_, (one, _)), (_, (two, _)) = (networks(y, small(window)) for y in (WAVE, changed))
    np.testing.assert_allclose(one.rolled[:, :17], two.rolled[:, :17], rtol=1e-6)
    assert (one.rolled[:, 18:] != two.rolled[:, 18:]).any()
    np.testing.assert_allclose(one.free, two.free, rtol=1e-6)  # from origin 40


def test_every_seed_and_every_fit_is_a_network_of_its_own():
    rolling, (forecasts, trained) = networks(WAVE, small(0))
    assert rolling.starts.tolist() == [34, 40, 46, 52, 58]
    assert trained.num_params == 3 * 3 * (2 + 3 + 1) + 3 + (3 + 1) + 2  # GRU, readout, shortcut
    W = trained.params.model.W.reshape(5 * 2, 3)
    assert len(np.unique(W, axis=0)) == 10
    assert forecasts.rolled.shape == (2, 26, 4)
    assert forecasts.training.shape == (2, 40 - 8)
    np.testing.assert_allclose(forecasts.free[:, :4], forecasts.rolled[:, 6], rtol=1e-6)  # from origin 40 both


@pytest.mark.parametrize("window", [0, 3])
def test_forecasts_further_ahead_are_fed_back(window):
    """Three steps ahead is one step ahead of a series that the forecasts have been written into."""
    forecaster, z = small(window), WAVE - 10
    params = networks(WAVE, forecaster)[1][1].params

    def ask(z, position, horizon):
        xs = make_pairs([z] * 5, 2, [40] * 5).xs
        return forecaster.forecast(params, xs, np.full((5, 1), position), horizon)[:, :, 0]

    ahead = ask(z, 38, 3)  # sees z[38] and z[39]
    for fit, seed in ((0, 0), (4, 1)):
        known = z.copy()
        for step in range(3):
            known[40 + step] = ask(known, 38 + step, 1)[fit, seed, 0]
        np.testing.assert_allclose(ahead[fit, seed], known[40:43], rtol=1e-4, atol=1e-5)


def test_windows_of_a_batch_are_learnt_from_without_repetition():
    """Plain gradient descent at rate 1e-4 over one epoch of single windows: order aside, a full batch's sum."""
    z = WAVE - 10
    pairs = make_pairs([z], 1, [21])
    hyper = Hyper(1e-4)
    kinds = {"one by one": (20, 1), "all at once": (1, 20)}
    after = {}
    for name, (num_steps, batch_size) in kinds.items():
        options = {"window": 1, "optimizer": "sgd", "num_steps": num_steps, "batch_size": batch_size}
        after[name] = (
            make_forecaster(elman(3), hyper=hyper, **options).train(pairs, 1, QUIET, name).params.model.b[0, 0]
        )
    assert after["one by one"] == pytest.approx(20 * after["all at once"], rel=0.02)


@pytest.mark.parametrize(
    ("num_known", "lags", "window", "batch_size", "message"),
    [(5, 4, 0, 1, "5 transformed values"), (12, 2, 4, 8, "batches of 8 windows, but .* has 7 of 4 steps")],
)
def test_too_little_to_learn_from(num_known, lags, window, batch_size, message):
    with pytest.raises(ValueError, match=message):
        small(window, batch_size=batch_size).train(make_pairs([WAVE], lags, [num_known]), 1, QUIET, "small")


def test_a_diverged_training_is_an_error():
    pairs = make_pairs([WAVE[6:]] * 5, 2, [30] * 5)
    pairs = pairs._replace(targets=np.full_like(pairs.targets, np.inf))
    with pytest.raises(ValueError, match="try a lower --learning-rate"):
        small(0).train(pairs, 2, QUIET, "small")


def test_the_initial_values_of_keras():
    import jax

    W = lstm_keras(50).init(jax.random.key(0), 2).W
    limit = np.sqrt(6 / (2 + 4 * 50))
    assert 0.95 * limit < np.abs(W).max() <= limit


# --- measures ---------------------------------------------------------------------------------------------------------


def test_measures():
    forecasts, targets = np.array([[1.0, 5.0], [4.0, 9.0]]), np.array([[2.0, 3.0], [4.0, np.nan]])
    found = scores.measures(forecasts, targets, scale=2.0)
    assert found == pytest.approx({"RMSE": np.sqrt(5 / 3), "MAE": 1, "MASE": 0.5, "MAPE": 100 * (1 / 2 + 2 / 3) / 3})
    assert np.isnan(scores.measures(forecasts, targets * 0, 2.0)["MAPE"])
    assert scores.mase_scale(np.array([1.0, 2, 4, 7, 11]), 2) == pytest.approx((3 + 5 + 7) / 3)


def test_the_interval_of_a_difference():
    rng = np.random.default_rng(0)
    bad = rng.normal(size=(60, 3))
    assert scores.rmse_difference(bad, bad) == (0, 0, 0)
    difference, low, high = scores.rmse_difference(0.5 * bad, bad)
    assert difference == pytest.approx(-0.5 * scores.rmse(bad))
    assert low < difference < high < 0
    _, low, high = scores.rmse_difference(rng.normal(size=(60, 3)), bad)
    assert low < 0 < high


def test_the_interval_of_a_difference_covers():
    """Of two forecasts that are equally good the interval holds 0 about 95 times in 100."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        _, low, high = scores.rmse_difference(*rng.normal(size=(2, 100, 1)))
        held += low <= 0 <= high
    assert 88 <= held <= 99


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-2, -1, "beats X"), (-2, 1, "does not beat X, nor is it worse"), (1, 2, "is worse than X")],
)
def test_verdicts(low, high, verdict):
    assert Difference("X", "one step ahead", (low + high) / 2, low, high).verdict == verdict


def test_prediction_intervals_by_hand():
    errors = np.array([[1.0], [-3.0], [2.0], [9.0], [0.5]])
    halves = scores.conformal_widths(errors, np.zeros((5, 1)), coverage=0.5)
    np.testing.assert_allclose(
        halves[:, 0], [np.nan, 1, 3, 2, 3], rtol=1e-12
    )  # |e| known: 1 of 1, 2 of 2, 2 of 3, 3 of 4
    spread = np.array([[0.0], [0.0], [0.0], [4.0]])
    r2 = 14 / 3
    expected = 2 / np.sqrt(r2) * np.sqrt(16 + r2)  # the second smallest score of three, at the new spread
    assert scores.conformal_widths(errors[:4], spread, 0.5)[3, 0] == pytest.approx(expected)


def test_prediction_intervals_know_only_targets_that_have_come():
    """Two steps ahead, the last error but one belongs to a target that is not known yet."""
    errors, spread = np.ones((6, 2)), np.zeros((6, 2))
    changed = errors.copy()
    changed[3:, 1] = 100
    for o in range(5):
        np.testing.assert_array_equal(*(scores.conformal_widths(e, spread, 0.8)[o, 1] for e in (errors, changed)))
    assert scores.conformal_widths(changed, spread, 0.8)[5, 1] == pytest.approx(100)


def test_prediction_intervals_cover():
    rng = np.random.default_rng(0)
    errors, spread = rng.normal(size=(500, 2)), rng.uniform(0, 1, (500, 2))
    share, count = scores.measured_coverage(errors, scores.conformal_widths(errors, spread, 0.9))
    assert count == 500 - 9 + 500 - 10  # nine known errors are the fewest for 90 %
    assert share == pytest.approx(0.9, abs=0.02)


# --- the program ------------------------------------------------------------------------------------------------------


def test_autoregressions_of_the_command_line():
    settings = Settings(lags=3, transforms="log")
    assert autoregressions(settings) == [(3, "log")]
    settings = Settings(transforms="log", autoregression=("2", "13:difference,standard", "2"))
    assert autoregressions(settings) == [(2, "log"), (13, "difference,standard")]


BAD = {
    "airlin": "unknown preset 'airlin'; did you mean 'airline'?",
    "nothing.csv": "nothing.csv",
    "airline --column x": "--column x: airline is a preset, that is for files",
    "airline --transforms lag": "unknown transform 'lag'",
    "airline --transforms standard,log": "the logarithm needs values above 0",
    "airline --cell lstmm": "unknown cell 'lstmm'",
    "airline --optimizer adm": "unknown optimizer 'adm'",
    "airline --scale-on test": "unknown scale on 'test'",
    "airline --autoregression x": "--autoregression 'x' is not LAGS",
    "airline --autoregression 50": "an autoregression on 50 values needs more than 101 of them, got 72",
    "airline --horizon 49": "the test part has 48 values, fewer than the horizon 49",
    "airline --period 72": "a period of 72 needs a longer training part than 72 values",
    "airline --lags 80": "the last 80 needs at least 82",
    "airline --until 145": "--until 145 must lie between 1 and 144",
    "airline --train-share 1": "--train-share 1.0 must be above 0 and below 1",
    "airline --learning-rate nan": "--learning-rate nan is not a number",
    "airline --clip-norm 0": "--clip-norm 0.0 must be above 0",
    "airline --seeds 0": "--seeds 0 must be at least 1",
    "airline --ahead 13": "--ahead 13 is beyond --horizon 12",
    "airline --refit -1": "--refit -1 must be at least 0",
}


@pytest.mark.parametrize("words", BAD, ids=str)
def test_bad_input_is_one_line(words, capsys):
    assert forecast.main([*words.split()]) == 2
    captured = capsys.readouterr()
    assert BAD[words] in captured.err
    assert len(captured.err.splitlines()) == 1
    assert "loss" not in captured.out  # nothing was trained


def test_presets_are_named_with_what_was_changed():
    for name in PRESETS:
        assert program.choose(forecast.COMMAND.read([name])).preset == name
    words = "airline-lstm4 --scale-on training --autoregression 1 2 --until 100 --shortcut"
    chosen = program.choose(forecast.COMMAND.read(words.split()))
    assert chosen.preset == "airline-lstm4 --scale-on training --shortcut --autoregression 1 2 --until 100"
    assert chosen.file == "airline-lstm4-scale-on-training-shortcut-autoregression-1-2-until-100.png"
    assert (chosen.settings.autoregression, len(chosen.series.y)) == (("1", "2"), 100)


def test_from_a_file_to_a_results_folder(tmp_path, capsys):
    path = csv(tmp_path, "day,visits\n" + "".join(f"{i},{value}\n" for i, value in enumerate(WAVE)))
    words = "--column visits --period 6 --transforms log,difference,standard --lags 6 --seeds 2 --num-steps 60 "
    words += "--hidden-size 3 --shortcut --horizon 3 --calibration 12 --refit 10 --learning-rate 0.01 --cell gru"
    out = tmp_path / "out"
    assert forecast.main([str(path), *words.split(), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "one step ahead: beats persistence" in printed
    assert "1 to 3 steps ahead: beats persistence" in printed

    runs = pd.read_csv(out / "runs.csv")
    names = {"mean of 2 gru", "gru", "persistence", "seasonal naive", "autoregression, 6 lags, log, difference"}
    assert set(runs["cell"]) == names
    assert set(runs["dataset"]) == {"file.csv: visits"}
    assert (runs["num_train"] == 40).all()
    assert (runs["num_test"] == 20).all()
    assert runs.query("cell == 'gru'")["seed"].unique().tolist() == [0, 1]
    persisted = runs.query("cell == 'persistence' and metric == 'RMSE, one step ahead' and split == 'test'")
    errors = [persistence(WAVE[:o], 1)[0] - WAVE[o] for o in range(40, 60)]
    assert persisted["value"].item() == pytest.approx(scores.rmse(np.array(errors)))
    shares = runs[runs["metric"].str.startswith("share within the 90% interval")]
    assert shares["value"].between(0, 1).all()
    assert (out / "README.md").exists()
    assert len(list(out.glob("*.png"))) == 1


@pytest.mark.parametrize("dated", [True, False])
def test_forecasts_are_drawn_over_dates_where_there_are_some(tmp_path, dated):
    series = data.airline()
    y, first = series.y, 96
    ahead_of = y[first:]
    nothing = np.full(len(ahead_of), np.nan)
    named = {"persistence": ahead_of}
    title = "a preset with a great many settings " * 4
    drawn = plots.plot(
        tmp_path / "plot.png", title, series.unit, y, first, ahead_of, (nothing, nothing), named, "interval",
        dates=series.dates if dated else None,
    )  # fmt: skip
    below = drawn.axes[1]
    ticks = [tick.get_text() for tick in below.get_xticklabels()]
    assert ("1958" in ticks) == dated
    assert below.get_xlabel() == ("" if dated else "number of the value")
    assert max(map(len, drawn.get_suptitle().splitlines())) <= plots.TITLE


def test_what_comes_next_with_dates(tmp_path, capsys):
    """A season that repeats, forecast past its end: the values continue it, and its dates the months."""
    season = 50 + 10 * np.sin(2 * np.pi * np.arange(66) / 6) + 0.1 * np.random.default_rng(1).normal(size=66)
    months = np.arange("2019-01", "2024-01", dtype="datetime64[M]")
    rows = [f"{month}-01;{value:.6f}".replace(".", ",") for month, value in zip(months, season, strict=False)]
    path, out = csv(tmp_path, "\n".join(["month;price", *rows])), tmp_path / "out"
    words = "--period 6 --transforms seasonal,standard --seeds 2 --num-steps 20 --hidden-size 3 --shortcut --horizon 6 "
    words += "--calibration 12 --refit 0 --lags 2 --ahead 6 --out"
    assert forecast.main([str(path), *words.split(), str(out)]) == 0
    assert "2024-06-01" in capsys.readouterr().out
    (file,) = out.glob("*-ahead.csv")
    table = pd.read_csv(file)
    assert list(table) == ["date", "forecast", "low", "high"]
    assert table["date"].tolist() == [f"2024-0{month}-01" for month in range(1, 7)]
    np.testing.assert_allclose(table["forecast"], season[60:], atol=1)
    assert ((table["low"] < table["forecast"]) & (table["forecast"] < table["high"])).all()
    assert (table["high"] - table["low"]).max() < 2
    (plot,) = out.glob("*-ahead.png")
    assert plot.name in (out / "README.md").read_text()


def test_intervals_ahead_are_of_errors_known_by_then():
    """Of one network, whose spread is 0, half a width is a quantile of the absolute errors known by then."""
    rolling = make_rolling(WAVE, 40, horizon=2, refit=0, calibration=6)
    forecaster = small(num_steps=2)
    settings = Settings(transforms="standard", lags=2, horizon=2, seeds=1)
    fitted = fit_transforms(rolling, make_transform("standard"))
    made, _ = network_forecasts(rolling, fitted, forecaster, 2, 1, QUIET, "small")
    series = data.Series("wave", "m", WAVE)
    coming = ahead.look_ahead(ahead.fit_all(series, settings, rolling, made, QUIET), series, 2)
    assert coming.dates is None
    assert coming.labels() == ["61", "62"]
    for h, count in ((0, 26), (1, 25)):
        errors = np.sort(np.abs(made.rolled[0, :count, h] - rolling.targets[:count, h]))
        assert coming.high[h] - coming.values[h] == pytest.approx(errors[int(np.ceil(0.9 * (count + 1))) - 1])
    assert np.isfinite(coming.values).all()
