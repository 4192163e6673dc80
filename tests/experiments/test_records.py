"""Results folders of every kind as one table, and any of them beside each other."""

import pandas as pd

from experiments.compare.main import main
from experiments.shared.records import COLUMNS, read_records
from tests.experiments.sweep.test_table import run

ROW = {"preset": "p", "dataset": "d", "cell": "lstm", "metric": "accuracy", "split": "test", "seed": 0, "value": 0.5}
ROW |= {"command": "python -m one", "git_commit": "12e4567", "date": "2026-01-02", "device": "cpu"}


def folder(path, rows, name="runs.csv"):
    path.mkdir()
    pd.DataFrame(rows).to_csv(path / name, index=False)
    return path


def test_rows_of_a_program_and_of_a_sweep_are_of_one_form(tmp_path):
    program = read_records(folder(tmp_path / "a", [ROW]))
    assert list(program)[: len(COLUMNS)] == COLUMNS
    assert program.loc[0, COLUMNS].tolist() == ["d", "p", "lstm", 0, "accuracy", "test", 0.5,
                                                "python -m one", "12e4567", "2026-01-02", "cpu"]  # fmt: skip
    b = folder(tmp_path / "b", [run("gru", seed=1, loss=0.25)])
    (b / "config.json").write_text('{"command": "python -m experiments.sweep x", "date": "2026-01-01"}')
    sweep = read_records(b).set_index("metric").loc["test_loss"]
    assert (sweep["what"], sweep["at"], sweep["variant"], sweep["seed"]) == ("recall", "T = 50", "gru", 1)
    assert (sweep["split"], sweep["value"], sweep["command"]) == ("test", 0.25, "python -m experiments.sweep x")


def test_three_folders_beside_each_other(tmp_path, capsys):
    others = [{**ROW, "cell": "lstm_np", "value": v, "seed": i} for i, v in enumerate((0.25, 0.75))]
    folders = [folder(tmp_path / "a", [ROW]), folder(tmp_path / "b", others),
               folder(tmp_path / "c", [{**ROW, "cell": f"own{i}"} for i in range(9)])]  # fmt: skip
    out = tmp_path / "out.md"
    main([*map(str, folders), "--out", str(out)])
    text = out.read_text()
    assert "| d | p | lstm | accuracy | test | 0.5 (n = 1 of 1) | 0.5 [" in text
    assert "own5 and 3 more." in text
    main([str(folders[0]), str(folders[2]), "--match", "lstm=own3", "--out", str(out)])
    assert "| d | p | lstm | accuracy | test | 0.5 (n = 1 of 1) | 0.5 (n = 1 of 1) |" in out.read_text()
    for match, says in (
        ("lstm=none", "no folder has the cell 'none'"),
        ("own1=own2", "has both"),
        ("x", "not of the form"),
    ):
        assert main([str(folders[0]), str(folders[2]), "--match", match, "--out", str(out)]) == 2
        assert says in capsys.readouterr().err
