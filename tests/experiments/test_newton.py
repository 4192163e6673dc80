"""Newton's method measured: rows that are kept, what is made of them, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from experiments.newton import main, times, times_program
from experiments.newton.records import AFTER, BEFORE, ITERATIONS, TIMES, add, read
from experiments.newton.report import by_cell, correlations, where_it_wins, write_report
from experiments.shared.numbers import rank_correlation

MADE_BY = {"command": "python", "git_commit": "abc", "device": "a machine", "date": "2026-01-01"}
SMALL = ["--hidden-size=3", "--seq-len=20", "--lag=2", "--trained=2", "--seeds=1"]


def made_up_rows():
    """Six cells whose iterations grow with their exponent; the linear one takes one, and chaos has no end."""
    rows = []
    for position, cell in enumerate(["a", "b", "c", "d", "chaos", "linear"]):
        for at, seed in ((BEFORE, 0), (BEFORE, 1), (AFTER, 0)):
            found = {"cell": cell, "seed": seed, "at": at, "linear": cell == "linear", "state_size": 3}
            found |= {"hidden_size": 3, "seq_len": 20, "lag": 2, "trained": 2, "most": 50}
            found |= {"exponent": 0.1 * position - 0.35, "converged": cell != "chaos" or seed == 1}
            found |= {"iterations": 1 if cell == "linear" else 50 if cell == "chaos" else 3 + position}
            rows.append(found | {"residual": 1e-7, "growth": 2.0, "accuracy": 0.5 if at == AFTER else None} | MADE_BY)
    return rows


def made_up_times():
    shape = {"seq_len": 64, "batch_size": 1, "hidden_size": 8, "jacobian": "full", "rounds": 3}
    shape |= {"iterations": 4, "converged": True, "scan_ms": 2.0}
    return [
        {"cell": "gru", "mode": mode, "newton_ms": 2 * ratio, "ratio": ratio, "ratio_low": ratio - 0.1}
        | {"ratio_high": ratio + 0.1, **shape, **MADE_BY}
        for mode, ratio in (("forward", 0.5), ("train", 3.0))
    ]


def test_the_rank_correlation_is_spearmans_with_ties():
    x, y = np.array([1.0, 3, 3, 2, 7, 5]), np.array([2.0, 2, 5, 1, 4, 4])
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)


def test_the_report_follows_from_the_rows(tmp_path):
    add(tmp_path, ITERATIONS, made_up_rows())
    add(tmp_path, TIMES, made_up_times())
    cells = by_cell(read(tmp_path, ITERATIONS))
    value, low, high, count = correlations(cells)[BEFORE]
    assert (value, high, count) == (1, 1, 5)  # without the linear one, which would be out of line
    assert low > 0
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "| at the start | 1.00 | " in text
    assert "| chaos |  | 3 | 0.05 | 50* | 0.05 | 50* | 50.0 % |" in text
    assert "| linear | yes | 3 | 0.15 | 1 | 0.15 | 1 | 50.0 % |" in text
    assert "**0.50 [0.40, 0.60]**" in text
    assert (tmp_path / "iterations.png").exists()
    assert (tmp_path / "times.png").exists()


def test_where_it_wins_is_said_where_both_quantiles_say_so():
    said = where_it_wins(pd.DataFrame(made_up_times()))
    assert "Forward pass: Newton's method wins 1 of 1: gru (T = 64, B = 1, H = 8)" in said
    assert "Training step: Newton's method wins 0 of 1." in said


@pytest.mark.slow
def test_cells_are_measured_once_and_the_same_command_goes_on(tmp_path, capsys):
    folder = f"--out={tmp_path}"
    assert main.main(["--cells", "lru", *SMALL, folder]) == 0
    rows = read(tmp_path, ITERATIONS)
    assert list(rows["at"]) == [BEFORE, AFTER]
    assert list(rows["iterations"]) == [1, 1]
    assert rows["converged"].all()
    assert (rows["exponent"] < 0).all()
    assert rows["accuracy"].isna().tolist() == [True, False]
    assert main.main(["--cells", "lru", *SMALL, folder]) == 0
    assert "1 of 1 measured already" in capsys.readouterr().out
    pd.testing.assert_frame_equal(read(tmp_path, ITERATIONS), rows)
    assert main.main(["--cells", "gru", *SMALL, "--lag=3", folder]) == 2
    assert "holds rows of lag=2, not 3" in capsys.readouterr().err


def test_a_damaged_file_is_refused_with_its_line(tmp_path, capsys):
    add(tmp_path, ITERATIONS, made_up_rows())
    path = tmp_path / ITERATIONS
    path.write_text(path.read_text().replace(",True,", ",perhaps,", 1))
    assert main.main(["--cells", "gru", *SMALL, f"--out={tmp_path}"]) == 2
    assert "line 2" in capsys.readouterr().err


@pytest.mark.slow
def test_times_are_taken_of_every_shape_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(times_program, "BASE", {"seq_len": 6, "batch_size": 1, "hidden_size": 2})
    monkeypatch.setattr(times_program, "AXES", {"seq_len": (6, 12)})
    monkeypatch.setattr(times_program, "TURN_SECONDS", 0.0)
    words = ["--cells", "indrnn", "--rounds=2", f"--out={tmp_path}"]
    assert times.main(words) == 0
    rows = read(tmp_path, TIMES)
    assert list(rows["seq_len"]) == [6, 12, 6, 12]
    assert list(rows["mode"]) == ["forward"] * 2 + ["train"] * 2
    assert set(rows["jacobian"]) == {"diagonal"}
    assert (rows[["scan_ms", "newton_ms", "ratio"]] > 0).all(axis=None)
    assert times.main(words) == 0
    pd.testing.assert_frame_equal(read(tmp_path, TIMES), rows)
