"""Our figures beside published ones."""

import pandas as pd
import pytest

from experiments.published import main, report as published

FIGURES = pd.read_csv(published.FIGURES, keep_default_na=False)


def write(folder, values, cell="lstm"):
    one = FIGURES[FIGURES.folder == "music"].iloc[0]
    rows = [{"preset": "lstm", "cell": cell, "metric": one.metric, "split": "test", "value": v} for v in values]
    rows = [{**row, "git_commit": "12e4567", "date": "2026-01-02"} for row in rows]
    (folder / "music").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "music" / "runs.csv", index=False)
    return one.to_dict()


def test_every_figure_has_its_place_and_names_its_rows():
    assert set(FIGURES.better) <= {"higher", "lower"}
    assert (FIGURES.checked != "").all()
    assert (FIGURES.published > 0).all()
    assert not FIGURES.duplicated(["folder", "preset", "cell", "metric", "split", "step"]).any()


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([8.2, 8.21, 8.22], "yes"),
        ([8.2, 8.8, 8.3], "yes, not told apart"),
        ([8.6, 8.61, 8.62], "no"),
        ([8.2, 8.21], "no verdict (n = 2)"),
        ([8.2], "no verdict (n = 1)"),
        ([None], "not run"),
    ],
)
def test_the_verdict_heeds_the_interval(tmp_path, values, verdict):
    one = write(tmp_path, values)
    assert one["published"] == 8.45
    assert published.line(tmp_path, one)[7] == verdict


def test_rows_of_several_cells_are_refused(tmp_path):
    one = write(tmp_path, [8.2], cell="gru") | {"cell": ""}
    rows = pd.read_csv(tmp_path / "music" / "runs.csv")
    pd.concat([rows, rows.assign(cell="lstm")]).to_csv(tmp_path / "music" / "runs.csv", index=False)
    with pytest.raises(ValueError, match="must name a cell, of: gru, lstm"):
        published.ours(tmp_path, one)


def test_the_page_has_a_line_for_every_figure(tmp_path, capsys):
    write(tmp_path, [8.2, 8.21])
    assert main.main(["--results", str(tmp_path)]) == 0
    page = (tmp_path / "published.md").read_text()
    assert page.count("| not run |") == len(FIGURES) - 1
    assert page.count("| [music](music/README.md), 12e4567, 2026-01-02 |") == 1
    assert main.main(["--results", str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err


SWEEP = {"what": "adding", "source": "a log", "published": 0.1, "better": "lower", "folder": "lags", "preset": "adding",
         "cell": "lem", "metric": "test_loss", "split": "test", "step": "", "differs": "", "checked": ""}  # fmt: skip


def write_sweep(folder):
    (folder / "lags").mkdir()
    runs = [
        {
            "trial_id": f"t{i}",
            "task": "adding",
            "variant": "lem",
            "seed": i,
            "test_loss": 0.01 * (i + 1),
            "git_commit": "12e4567",
        }
        for i in range(2)
    ]
    others = [{**runs[0], "trial_id": "other", "variant": "lstm", "test_loss": 9.0}]
    pd.DataFrame(runs + others).to_csv(folder / "lags" / "runs.csv", index=False)
    (folder / "lags" / "config.json").write_text('{"date": "2026-01-03"}')
    curves = [
        {"trial_id": run["trial_id"], "quantity": quantity, "index": step, "value": 1000.0 / step + run["seed"]}
        for run in runs + others
        for quantity in ("validation_loss", "train_loss")
        for step in (100, 200)
    ]
    pd.DataFrame(curves).to_parquet(folder / "lags" / "curves.parquet")


def test_a_figure_of_a_sweep_is_a_column_or_a_curve_at_a_step(tmp_path):
    write_sweep(tmp_path)
    assert published.ours(tmp_path, SWEEP).tolist() == [0.01, 0.02]
    at = SWEEP | {"metric": "validation_loss", "step": "200"}
    assert published.ours(tmp_path, at).tolist() == [5.0, 6.0]
    assert published.line(tmp_path, at)[2] == "validation_loss, test, at step 200"
    assert published.line(tmp_path, at)[-1] == "[lags](lags/README.md), 12e4567, 2026-01-03"
    with pytest.raises(ValueError, match="no validation_loss of every run at step 150; it has those at 100, 200"):
        published.ours(tmp_path, at | {"step": "150"})
    with pytest.raises(ValueError, match="has no column 'los'"):
        published.ours(tmp_path, SWEEP | {"metric": "los"})


def test_several_settings_of_a_seed_are_refused(tmp_path):
    write_sweep(tmp_path)
    runs = pd.read_csv(tmp_path / "lags" / "runs.csv")
    pd.concat([runs, runs.assign(trial_id="again")]).to_csv(tmp_path / "lags" / "runs.csv", index=False)
    with pytest.raises(ValueError, match="several settings"):
        published.ours(tmp_path, SWEEP)
