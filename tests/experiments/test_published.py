"""Our figures beside published ones."""

import pandas as pd
import pytest

from experiments.published import main, report as published

FIGURES = pd.read_csv(published.FIGURES, keep_default_na=False)


def write(folder, values, cell="lstm"):
    one = FIGURES[FIGURES.folder == "music"].iloc[0]
    rows = [{"preset": "lstm", "cell": cell, "metric": one.metric, "split": "test", "value": v} for v in values]
    (folder / "music").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "music" / "runs.csv", index=False)
    return one.to_dict()


def test_every_figure_has_its_place_and_names_its_rows():
    assert set(FIGURES.better) <= {"higher", "lower"}
    assert (FIGURES.published > 0).all()
    assert not FIGURES.duplicated(["folder", "preset", "cell", "metric", "split"]).any()


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([8.2, 8.21, 8.22], "yes"),
        ([8.2, 8.8, 8.3], "yes, not told apart"),
        ([8.6, 8.61, 8.62], "no"),
        ([8.2], "yes, one run"),
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
    assert main.main(["--results", str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err
