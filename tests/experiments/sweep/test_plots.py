import time

import numpy as np
import pandas as pd
import pytest

from experiments.shared.looks import style
from experiments.sweep.plots import write as plots
from experiments.sweep.plots.panels import bands_of
from experiments.sweep.report import write_report
from tests.experiments.sweep.test_table import run

NAMES = {"success_by_lag.png", "learning_curves.png", "gradient_norm_by_lag.png"}


def make(num_variants=3, tasks=("recall", "adding"), lags=(20, 40), seeds=2, rates=(0.01,), lost=()):
    """Runs and curves; variants whose number is in `lost` diverge half way in their first seed."""
    rows, curves = [], []
    steps = np.arange(0, 21, 4)
    for task in tasks:
        for lag in lags:
            for v in range(num_variants):
                for rate in rates:
                    for seed in range(seeds):
                        gone = v in lost and seed == 0
                        loss = 0.01 if v * 20 >= lag else 2.0
                        horizon = np.inf if v == 1 else 5.0
                        row = run(f"cell{v}", task, lag, rate, seed, np.nan if gone else loss, gradient_horizon=horizon)
                        rows.append(row)
                        values = np.geomspace(2.08, loss, len(steps))
                        values[len(steps) // 2 :] = np.nan if gone else values[len(steps) // 2 :]
                        norms = -np.arange(lag) / 3.0
                        norms[-1] = -np.inf if v == 0 else norms[-1]
                        for quantity, index, value in (
                            ("validation_loss", steps, values),
                            ("log10_gradient_norm", np.arange(lag), norms),
                            ("log10_gradient_norm_trained", np.arange(lag), np.full(lag, np.nan) if gone else norms),
                        ):
                            columns = {"quantity": quantity, "index": index, "value": value}
                            curves.append(pd.DataFrame({"trial_id": row["trial_id"], **columns}))
    return pd.DataFrame(rows), pd.concat(curves, ignore_index=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lags": (784,), "tasks": ("pixels", "pixels_permuted")},
        {"lags": (30,), "tasks": ("recall",), "seeds": 1, "num_variants": 1},
        {"lost": (0, 1, 2), "seeds": 1},
        {"lost": (0, 2), "seeds": 3},
        {"num_variants": 45, "tasks": ("recall",), "seeds": 1},
    ],
    ids=["plain", "one lag", "one cell", "all diverged", "some diverged", "many variants"],
)
def test_plots_are_drawn(tmp_path, options):
    runs, curves = make(**options)
    paths = plots.write_plots(tmp_path, runs, curves, "title_with_$igns_$")
    assert {path.name for path in paths} == NAMES
    assert all(path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 10_000 for path in paths)


def test_what_was_not_recorded_is_not_drawn(tmp_path):
    runs, curves = make()
    assert [path.name for path in plots.write_plots(tmp_path, runs, None)] == ["success_by_lag.png"]
    some = curves[curves["quantity"] == "log10_gradient_norm"]
    paths = plots.write_plots(tmp_path, runs, some)
    assert {path.name for path in paths} == NAMES - {"learning_curves.png"}
    assert not (tmp_path / "learning_curves.png").exists()


def test_a_variant_looks_the_same_everywhere_and_unlike_the_others():
    looks = style([str(i) for i in range(32)])
    assert len({tuple(map(str, look.values())) for look in looks.values()}) == 32


def test_only_the_chosen_setting_is_drawn():
    runs, curves = make(1, ("recall",), (20,), rates=(0.01, 0.1))
    other = runs["learning_rate"] == 0.1
    runs.loc[other, "validation_loss"] = 9.0
    curves.loc[curves["trial_id"].isin(runs.loc[other, "trial_id"]), "value"] = 9.0
    axis = plots.learning_curves(runs, curves).axes[0]
    lines = [line for line in axis.lines if len(line.get_ydata()) > 2]
    assert len(lines) == 1
    assert max(lines[0].get_ydata()) < 3


def test_many_variants_are_heat_maps_the_best_at_the_top():
    runs, curves = make(plots.MOST_LINES + 1, lags=(20, 40), lost=(4,), seeds=1)
    missing = (runs["variant"] == "cell3") & (runs["task"] == "recall")
    runs, names = runs[~missing], ["cell2", "cell5", "cell1", "cell0"]
    success = plots.success_map(runs)
    order = [tick.get_text() for tick in success.axes[0].get_yticklabels()]
    assert sorted(order, key=lambda name: int(name[4:])) == [f"cell{i}" for i in range(plots.MOST_LINES + 1)]
    assert [name for name in order if name in names] == names  # those that solve T = 40, T = 20, none
    assert order[-1] in ("cell0", "cell4")
    assert order.index("cell3") > order.index("cell1") - 1  # half of its tasks are missing
    texts = [text.get_text() for text in success.axes[0].texts]
    assert texts[:2] == ["1/1", "1/1"]
    assert texts[order.index("cell3") * 2] == "not run"
    at_start, trained, *_ = plots.norm_map(runs, curves).axes
    values = at_start.collections[0].get_array()
    assert values.mask[order.index("cell3")].all()
    assert values.mask.sum() == values.shape[1]
    assert not trained.collections[0].get_array().mask[order.index("cell4")].any()  # lost is not missing
    assert [text.get_text() for text in at_start.texts][order.index("cell1")] == "> 40"


def test_what_is_good_is_bright_and_at_the_top_of_every_scale():
    runs, curves = make(plots.MOST_LINES + 1, lags=(20, 40), seeds=1)
    for figure, good in ((plots.success_map(runs), 1.0), (plots.learning_map(runs, curves), 1e-3)):
        *panels, bar = figure.axes
        image = panels[0].collections[0]
        assert sum(image.to_rgba(good)[:3]) > sum(image.to_rgba(1.0 if good < 1 else 0.0)[:3])
        assert bar.get_ylim()[1] == pytest.approx(good)


def test_a_lag_that_few_were_run_at_is_not_the_one_that_is_drawn():
    runs, curves = make(5, ("recall", "adding"), (20, 40), seeds=1)
    few = runs[(runs["task"] == "adding") | (runs["seq_len"] == 20) | runs["variant"].isin(["cell0", "cell1"])]
    titles = [axis.get_title() for axis in plots.gradient_norm_by_lag(few, curves).axes]
    assert [title.split(",")[1] for title in titles] == [" T = 20"] * 2 + [" T = 40"] * 2


def test_gradients_by_lag_have_bands_over_seeds():
    runs, curves = make(2, ("recall",), (20,), seeds=3)
    curves.loc[curves["trial_id"].isin(runs.loc[runs["seed"] == 2, "trial_id"]), "value"] -= 1
    first = plots.gradient_norm_by_lag(runs, curves).axes[0]
    (low, high) = (band.get_paths()[0].get_extents().get_points()[:, 1] for band in first.collections[:2])
    assert len(first.collections) == 2
    assert low[1] - low[0] > 1
    assert high[1] - high[0] > 1


def test_a_line_ends_where_half_the_seeds_are_lost():
    runs, curves = make(1, ("recall",), (20,), lost=(0,))
    line = max(plots.learning_curves(runs, curves).axes[0].lines, key=lambda line: len(line.get_ydata()))
    assert np.isfinite(line.get_ydata()).tolist() == [True] * 3 + [False] * 3


def test_the_folder_is_reported_with_its_plots_in_seconds(tmp_path):
    runs, curves = make(7, lags=(50, 100, 200), seeds=5)
    assert len(runs) == 210
    runs.to_csv(tmp_path / "runs.csv", index=False)
    curves.to_parquet(tmp_path / "curves.parquet")
    (tmp_path / "config.json").write_text('{"name": "trial", "metric": {"recall": "test_accuracy"}}')
    start = time.process_time()
    text = write_report(tmp_path).read_text()
    assert time.process_time() - start < 30
    assert all(f"({name})" in text for name in NAMES)
    assert "mean test accuracy over them" in text


def test_a_trial_that_stopped_keeps_its_last_value():
    runs, curves = make(num_variants=1, tasks=("recall",), lags=(20,), seeds=3)
    first = runs.trial_id.iloc[0]
    losses = curves[curves.quantity == "validation_loss"]
    whole = bands_of(runs, losses, "validation_loss")
    cut = losses[(losses.trial_id != first) | (losses["index"] <= 8)]
    bands = bands_of(runs, cut, "validation_loss")
    assert list(bands["index"]) == list(whole["index"])
    last = losses[(losses.trial_id == first) & (losses["index"] == 8)].value.iloc[0]
    np.testing.assert_allclose(bands["high"], np.where(bands["index"] > 8, last, whole["high"]))


def test_the_report_of_two_stages(tmp_path):
    chosen = [run("a", learning_rate=rate, seed=0, steps_to_solve=30 / rate, stage="choose") for rate in (0.1, 0.3)]
    reports = [
        run(name, learning_rate=rate, seed=1000 + seed, loss=loss, stage="report")
        for name, rate, loss in (("a", 0.1, 0.5), ("a", 0.3, 0.01234), ("b", 0.3, 0.5))
        for seed in range(4)
    ]
    pd.DataFrame([*chosen, run("b", learning_rate=0.3, stage="choose"), *reports]).to_csv(tmp_path / "runs.csv")
    (tmp_path / "config.json").write_text('{"name": "two", "contrasts": [["a", "b"]], "expects": ""}')
    text = write_report(tmp_path).read_text()
    assert "| a | **4/4 · 0.01** |" in text
    assert "the seeds shown are fresh ones" in text
    assert "4 runs at settings that are no longer the chosen ones are not in the tables" in text
    assert "| recall | 50 | a | b | 4/4 against 0/4 | 10 against > 20 | 0.0286 | 0.0286 |" in text
    assert "\n## Seen\n" in text
    assert "xpected" not in text
    (tmp_path / "config.json").write_text('{"contrasts": ["a"]}')
    with pytest.raises(ValueError, match=r"contrasts in config\.json must be pairs of variants"):
        write_report(tmp_path)
