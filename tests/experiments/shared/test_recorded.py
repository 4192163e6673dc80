"""runs.csv of a program that is damaged: named before work, whole rows kept."""

import csv
import re
from pathlib import Path

import pandas as pd
import pytest

from experiments.addition import main as addition
from experiments.shared.recorded import check_recorded, read_recorded
from experiments.shared.results import record

ROOT = Path(__file__).parents[3]
PROGRAMS = ["addition", "classify", "forecast", "music", "seq2seq", "textgen"]


def row(**changes):
    return {
        **{"preset": "small", "dataset": "a, b", "cell": "lstm", "metric": "loss", "split": "test", "value": 0.5},
        **{"seed": 0, "num_params": 10, "num_train": 20, "num_test": 5, "wall_seconds": 1.5},
        **{"command": "python -m this\n--and that", "git_commit": "12e4567", "device": "cpu"},
        **changes,
    }


@pytest.fixture
def folder(tmp_path):
    """Three runs, one without a value, and a command of two lines."""
    record(tmp_path, [row(), row(seed=1, value=float("nan")), row(seed=2)], title="Test", text="")
    return tmp_path


def cells(change):
    """A change of the table as lists of texts, the first one the names."""

    def damage(path):
        with open(path, newline="", encoding="utf-8") as file:
            table = list(csv.reader(file))
        change(table)
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(table)

    return damage


def put(name, text, place=1):
    def change(table):
        table[place][table[0].index(name)] = text

    return cells(change)


def data(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def directory(path):
    path.unlink()
    path.mkdir()


def doubled(value):
    def change(table):
        table.append(list(table[1]))
        table[-1][table[0].index("value")] = value

    return cells(change)


DAMAGE = {  # what the message says; the rows that are whole
    "cut off": (data(lambda d: d[:-3]), "line 6: is cut off", 2),
    "cut in a row": (data(lambda d: d[:-20]), "line 6", 2),
    "empty": (data(lambda d: b""), "runs.csv: is empty", 0),
    "binary": (data(lambda d: bytes(range(256)) * 8), "line 1: is no row of column names", 0),
    "a folder": (directory, "runs.csv: is a folder, not a file", 0),
    "a column dropped": (cells(lambda t: [line.pop(5) for line in t]), "lacks the columns value", 0),
    "columns swapped": (cells(lambda t: t[0].__setitem__(slice(5, 7), t[0][6:4:-1])), "seed is '0.5', not a whole", 0),
    "text in a number": (put("value", "half"), "line 2: value is 'half', not a number", 2),
    "a blank": (put("cell", ""), "line 2: cell is empty", 2),
    "a seed of NaN": (put("seed", "nan"), "line 2: seed is 'nan', not a number", 2),
    "a huge seed": (put("seed", "9" * 400), "line 2: seed is '9999", 2),
    "no parameters": (put("num_params", "-1"), "num_params is '-1', which is not from 0", 2),
    "a row twice": (doubled("0.5"), "line 8: says again what line 2 says", 3),
    "a figure twice": (doubled("0.6"), "line 8: is of the same run, metric and split as others: lines 2, 8", 2),
    "a sweep's": (data(lambda d: (ROOT / "results/zoo/runs.csv").read_bytes()), "lacks the columns preset", 0),
    "semicolons": (lambda path: pd.read_csv(path).to_csv(path, index=False, sep=";"), "saved by a spreadsheet", 3),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_before_work_and_whole_rows_are_kept(name, folder, capsys):
    damage, message, num_whole = DAMAGE[name]
    path = folder / "runs.csv"
    damage(path)
    saved = path.read_bytes() if path.is_file() else None
    code = addition.main(["--out", str(folder)])
    said = " ".join(capsys.readouterr().err.split())
    assert code == 2
    assert str(path) in said
    assert message in said
    assert saved is None or path.read_bytes() == saved

    with pytest.warns(UserWarning, match=re.escape(f"{path} is damaged, as it was: runs.csv.damaged-1")):
        record(folder, [row(seed=7)], title="Test", text="")
    found, damage = read_recorded(path)
    assert damage == []
    assert len(found) == num_whole + 1
    assert saved is None or (folder / "runs.csv.damaged-1").read_bytes() == saved


def test_what_is_whole_is_read_as_it_was_written(folder):
    check_recorded(folder)
    check_recorded(folder / "absent")
    check_recorded(None)
    found, damage = read_recorded(folder / "runs.csv")
    assert damage == []
    assert list(found["seed"]) == [0, 1, 2]
    assert set(found["command"]) == {"python -m this\n--and that"}
    assert set(found["git_commit"]) == {"12e4567"}
    assert found["value"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_committed_is_whole(name):
    path = ROOT / "results" / name / "runs.csv"
    found, damage = read_recorded(path)
    assert damage == []
    assert len(found) == len(pd.read_csv(path))
