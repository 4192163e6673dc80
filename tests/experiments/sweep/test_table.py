import numpy as np
import pandas as pd
import pytest

from experiments.shared.numbers import bootstrap, horizon_text, wilson
from experiments.sweep.page import report
from experiments.sweep.report import write_report
from experiments.sweep.spec import Sweep, Trial
from experiments.sweep.tables.table import (
    best_rows,
    detail_table,
    live_table,
    markdown_table,
    num_stale,
    read_runs,
    summary,
)


def run(variant="gru", task="recall", seq_len=50, learning_rate=0.01, seed=0, loss=0.5, **other):
    """One row of runs.csv; loss NaN makes it a diverged one."""
    lost = bool(np.isnan(loss))
    row = dict(
        trial_id=f"{task}-{seq_len}-{variant}-{learning_rate}-{seed}-{other.get('hidden_size', 8)}",
        **dict(variant=variant, cell=variant, cell_options="{}", task=task, seq_len=seq_len, hidden_size=8),
        **dict(num_layers=1, num_params=100, optimizer="adam", learning_rate=learning_rate, clip_norm=np.inf),
        **dict(clip_value=np.nan, l1=0.0, l2=0.0, batch_size=4, num_steps=20, seed=seed, train_loss=loss),
        **dict(validation_loss=loss, validation_accuracy=0.5, test_loss=loss, chance_loss=2.08, chance_accuracy=0.125),
        **dict(test_accuracy=np.nan if lost else 0.9, solved=loss < 0.1, steps_to_solve=10 if loss < 0.1 else np.nan),
        **dict(diverged=lost, gradient_horizon=20.0, gradient_horizon_censored=False, gradient_horizon_trained=30.0),
        **dict(num_train=80, num_validation=40, num_test=60, compile_seconds=1.0, run_seconds=2.0),
        **dict(git_commit="12e4567", jax_version="0.10.2", device="cpu", num_devices=2),
    )
    return row | other


def runs_of(*rows):
    return pd.DataFrame(rows)


def test_the_setting_is_chosen_by_mean_validation_loss_and_never_by_test():
    runs = runs_of(
        *(run(learning_rate=0.01, seed=s, loss=v, test_loss=9.0) for s, v in enumerate([0.2, 0.2])),
        *(run(learning_rate=0.1, seed=s, loss=v, test_loss=0.0) for s, v in enumerate([0.1, 0.4])),
    )
    best = best_rows(runs)
    assert list(best["learning_rate"]) == [0.01, 0.01]
    assert list(best.index) == [0, 1]
    without_test = best_rows(runs.drop(columns=["test_loss", "test_accuracy", "solved"]))
    assert list(without_test.index) == [0, 1]


def test_a_diverged_run_counts_as_infinite_when_choosing():
    runs = runs_of(
        *(run(learning_rate=0.1, seed=s, loss=v) for s, v in enumerate([0.01, np.nan])),
        *(run(learning_rate=0.01, seed=s, loss=v) for s, v in enumerate([0.5, 0.5])),
    )
    assert set(best_rows(runs)["learning_rate"]) == {0.01}
    flagged = runs.assign(validation_loss=runs["validation_loss"].fillna(0.0))
    assert set(best_rows(flagged)["learning_rate"]) == {0.01}


def test_if_every_setting_has_diverged_runs_the_fewest_win():
    runs = runs_of(
        *(run(learning_rate=0.1, seed=s, loss=v) for s, v in enumerate([0.01, np.nan, np.nan])),
        *(run(learning_rate=0.01, seed=s, loss=v) for s, v in enumerate([0.5, 0.5, np.nan])),
    )
    best = best_rows(runs)
    assert set(best["learning_rate"]) == {0.01}
    assert len(best) == 3


def test_a_setting_with_fewer_seeds_does_not_compete():
    runs = runs_of(run(learning_rate=0.1, loss=0.0), *(run(seed=s, loss=0.5) for s in range(2)))
    assert set(best_rows(runs)["learning_rate"]) == {0.01}


def test_other_optimiser_settings_are_chosen_too_and_sizes_are_not():
    runs = runs_of(
        *(run(clip_norm=clip, hidden_size=size, loss=clip / size) for clip in (1.0, 5.0) for size in (8, 16)),
    )
    best = best_rows(runs)
    assert set(best["clip_norm"]) == {1.0}
    assert list(best["variant"]) == ["gru hidden_size=8", "gru hidden_size=16"]
    assert best_rows(best).equals(best)


def staged(stage, rate, seed, steps, loss=0.5, **other):
    """A run of a stage; steps None did not meet the criterion."""
    return run(learning_rate=rate, seed=seed, loss=loss, stage=stage, steps_to_solve=steps or np.nan, **other)


def test_the_first_stage_chooses_by_share_solved_then_steps_then_loss_and_the_second_is_reported():
    choosing = [
        *(staged("choose", 0.01, s, steps, loss=0.1) for s, steps in enumerate([10, None])),
        *(staged("choose", 0.03, s, steps, loss=0.9) for s, steps in enumerate([30, 50])),
        *(staged("choose", 0.1, s, steps, loss=0.9) for s, steps in enumerate([20, 50])),
        *(staged("choose", 0.3, s, steps, loss=0.8) for s, steps in enumerate([20, 50])),
    ]
    assert set(best_rows(runs_of(*choosing))["learning_rate"]) == {0.3}
    one_stage = runs_of(*choosing).assign(stage="both")
    assert set(best_rows(one_stage)["learning_rate"]) == {0.01}
    # test results, and those of the second stage, choose nothing
    reports = [staged("report", rate, 1000 + s, 5, loss=0.001) for rate in (0.01, 0.3) for s in range(3)]
    other = [staged("choose", 0.01, 0, 10, variant="lstm")]  # not reported yet, so not in the table
    runs = runs_of(*choosing, *reports, *other)
    best = best_rows(runs)
    assert list(zip(best["learning_rate"], best["seed"], strict=True)) == [(0.3, 1000), (0.3, 1001), (0.3, 1002)]
    assert num_stale(runs) == 3
    assert best_rows(best).equals(best)
    older = one_stage.drop(columns="stage")  # a folder of one stage that went on with two
    mixed = best_rows(pd.concat([older, runs_of(*reports)], ignore_index=True))
    assert mixed.equals(best_rows(runs_of(*choosing, *reports)))


def test_a_diverged_trial_does_not_choose_by_the_steps_it_had():
    runs = runs_of(
        staged("choose", 0.01, 0, 10, loss=np.nan), staged("choose", 0.03, 0, 90), staged("report", 0.03, 1000, 90)
    )
    assert set(best_rows(runs)["learning_rate"]) == {0.03}


def test_several_settings_without_validation_loss_are_refused():
    runs = runs_of(run(), run(learning_rate=0.1)).drop(columns="validation_loss")
    with pytest.raises(ValueError, match=r"learning_rate.*validation_loss"):
        best_rows(runs)


def test_summary():
    runs = runs_of(
        *(run("gru", seed=s, loss=v) for s, v in enumerate([0.01, 0.02, 0.3, np.nan])),
        *(run("lstm", seed=s, loss=0.03, gradient_horizon=h) for s, h in enumerate([np.inf, np.inf, 20.0])),
        run("lstm", task="adding", seq_len=100, gradient_horizon=400.0, gradient_horizon_censored=True),
        run("gru", task="adding", seq_len=30, steps_to_solve=np.nan),
    )
    cells = summary(runs).set_index(["task", "seq_len", "variant"])
    assert list(cells.index) == [
        ("recall", 50, "gru"),
        ("recall", 50, "lstm"),
        ("adding", 30, "gru"),
        ("adding", 100, "lstm"),
    ]
    gru = cells.loc[("recall", 50, "gru")]
    assert (gru["n"], gru["solved"], gru["diverged"], gru["steps_to_solve"]) == (4, 2, 1, 10)
    assert gru["test_loss"] == pytest.approx(0.16)
    assert (gru["test_loss_min"], gru["test_loss_max"]) == (0.01, np.inf)
    assert gru["test_accuracy"] == pytest.approx(0.675)
    assert gru["run_seconds"] == 8
    assert gru["test_accuracy_low"] < 0.675 < gru["test_accuracy_high"]
    assert cells.loc[("recall", 50, "lstm"), "gradient_horizon"] == np.inf
    assert cells.loc[("adding", 100, "lstm"), "gradient_horizon"] == np.inf
    assert cells.loc[("adding", 30, "gru"), "steps_to_solve"] == np.inf


def test_horizons_beyond_the_sequence_say_so():
    assert horizon_text(np.inf, 200) == "> 200"
    assert horizon_text(201.0, 200) == "> 200"
    assert horizon_text(34.21, 200) == "34.2"
    assert horizon_text(np.nan, 200) == "–"


def test_intervals():
    assert wilson(5, 5) == pytest.approx((0.5655, 1.0), abs=1e-4)  # 1 / (1 + 1.96^2 / 5)
    assert wilson(0, 0) == pytest.approx((np.nan, np.nan), nan_ok=True)
    assert bootstrap([[0.5, 0.5, 0.5]], np.mean) == (0.5, 0.5)
    assert np.isnan(bootstrap([[0.5]], np.mean)).all()
    assert bootstrap([[0.1, 0.1, np.inf]], np.median) == (0.1, np.inf)
    low, high = bootstrap([np.arange(100.0)], np.mean)
    assert low == pytest.approx(49.5 - 1.96 * 2.89, abs=0.5)
    assert high == pytest.approx(49.5 + 1.96 * 2.89, abs=0.5)


def test_markdown_tables():
    runs = runs_of(
        *(run("gru", seed=s, loss=0.02) for s in range(3)),
        *(run("a|b", seed=s, loss=v) for s, v in enumerate([0.01, 0.01, np.nan])),
        *(run("gru", seq_len=200, seed=s, loss=2.0) for s in range(3)),
    )
    cells = summary(runs)
    lines = markdown_table(cells).splitlines()
    assert "| recall, lag T = | 50 | 200 |" in lines
    assert "| gru | **3/3 · 0.02** | **0/3 · 2** |" in lines
    assert "| a\\|b | 2/3 · 0.01 (1 diverged) | · |" in lines
    assert "| *chance* | *2.08* | *2.08* |" in lines
    by_accuracy = markdown_table(cells, {"recall": "test_accuracy"})
    assert "**3/3 · 90.0 %**" in by_accuracy
    assert "*12.5 %*" in by_accuracy
    detail = detail_table(cells)
    assert "0.01 [0.01, inf]" in detail
    assert "nan" not in detail


def text_of(table):
    return [[str(cell) for cell in column.cells] for column in table.columns]


def test_live_table_fills():
    planned = runs_of(*(run(v, seq_len=t, seed=s) for v in ("gru", "[b]x") for t in (200, 50) for s in range(2)))
    keys = planned[["task", "seq_len", "variant", "trial_id"]]
    names, short, long = text_of(live_table(planned.iloc[:0], keys))
    assert names == ["gru", "[b]x"]
    assert short == long == ["·", "·"]
    done = runs_of(*(run("gru", seed=s, loss=0.01) for s in range(2)), run("[b]x", seq_len=200, loss=np.nan))
    names, short, long = text_of(live_table(done, keys))
    assert names == ["gru", "[b]x", "chance"]
    assert short == ["2/2 · 0.01", "·", "2.08"]
    assert long == ["·", "0/1 · inf (1 diverged) …", "2.08"]
    assert text_of(live_table(done))[1][0] == "2/2 · 0.01"


def test_runs_survive_the_file(tmp_path):
    runs = runs_of(run("gru", loss=0.01), run("gru", seed=1, loss=np.nan))
    runs.to_csv(tmp_path / "runs.csv", index=False)
    read = read_runs(tmp_path)
    assert list(read["git_commit"]) == ["12e4567"] * 2
    assert list(read["diverged"]) == [False, True]
    assert read["clip_norm"].iloc[0] == np.inf
    pd.testing.assert_frame_equal(summary(read), summary(runs))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("task,seq_len\nrecall,50\n", "lacks the columns: variant; it has: task, seq_len"),
        ("task,seq_len,variant\n", "holds no run"),
        ("task,seq_len,variant\nrecall,,gru\n", "'seq_len' is empty in 1 of 1"),
        ("task,seq_len,variant,test_loss\nrecall,50,gru,low\n", "'test_loss' must hold numbers.*low"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_runs(tmp_path)


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        read_runs(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds no runs\.csv"):
        read_runs(tmp_path)


def test_report_says_what_the_runs_say(tmp_path):
    runs = runs_of(
        *(
            run("gru", seq_len=t, seed=s, learning_rate=r, loss=r)
            for t in (50, 90)
            for s in (0, 1)
            for r in (0.01, 0.3)
        ),
        *(
            run("elman", seq_len=t, seed=s, learning_rate=r, loss=2.0 + r)
            for t in (50, 90)
            for s in (0, 1)
            for r in (0.01, 0.3)
        ),
    )
    text = report({"name": "trial", "command": "python -m x", "expects": "gru wins", "question": "who?"}, runs)
    assert text.startswith("# trial\n\nwho?\n\n```\npython -m x\n```")
    assert "Expected: gru wins" in text
    assert "recall, T = 90: solved by every seed of gru; by some seeds of none; by no seed of elman." in text
    assert "gru 90, elman none" in text
    assert "80 for train, 40 for validation, 60 for test" in text
    assert "the learning rate is the one with the lowest mean validation loss" in text
    assert "4 of 4 cells at the lowest, 0 at the highest" in text
    assert "nan" not in text.lower().replace("nan_", "")
    runs.to_csv(tmp_path / "runs.csv", index=False)
    path = write_report(tmp_path)
    assert "success_by_lag.png" in path.read_text()
    assert "learning_curves.png" not in path.read_text()


def test_a_report_of_a_sweep_under_way_says_that_it_is_partial():
    base = Trial(task="recall", seq_len=5, num_steps=20, eval_every=10)
    sweep = Sweep("mine", "what?", "this", base, {"seed": (0, 1, 2)})
    ids = [trial.id for trial in sweep.trials()]
    runs = pd.DataFrame([run(seed=seed) | {"trial_id": ids[seed]} for seed in range(3)])
    assert "**Partial**: 2 of the 3 trials are run" in report(sweep.describe(), runs[:2])
    assert "Partial" not in report(sweep.describe(), runs)
