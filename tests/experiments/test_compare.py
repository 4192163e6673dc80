import numpy as np
import pandas as pd
import pytest

from experiments.compare.main import main
from experiments.compare.report import compare, default_out, differing_settings, notes, read_pair
from experiments.shared.numbers import bootstrap
from tests.experiments.sweep.test_table import run


def folder(path, rows):
    path.mkdir()
    pd.DataFrame(rows).to_csv(path / "runs.csv", index=False)
    return path


def some_rows(shift=0.0, seeds=range(4), **other):
    losses = [0.05, 0.4, 0.5, 0.6]
    return [
        run(v, seq_len=t, seed=s, loss=losses[i] + shift, **other)
        for v in ("gru", "elman")
        for t in (50, 90)
        for i, s in enumerate(seeds)
    ]


def pair(tmp_path, rows_a, rows_b):
    return read_pair(folder(tmp_path / "a", rows_a), folder(tmp_path / "b", rows_b))


def test_a_folder_does_not_differ_from_itself(tmp_path, capsys):
    rows = [*some_rows(), run("lost", loss=np.nan), run("lost", seed=1, loss=np.nan), run("single", loss=0.1)]
    a = folder(tmp_path / "a", rows)
    found = compare(*read_pair(a, a))
    assert (found["difference"] == 0).all()
    several = found[found["n_a"] > 1]
    assert (several[["low", "high"]] == 0).all(axis=None)
    assert found["paired"].all()
    out = tmp_path / "out.md"
    main([str(a), str(a), "--out", str(out)])
    printed, written = capsys.readouterr().out, out.read_text()
    assert "nan" not in (printed + written).lower()
    assert "none (n < 2)" in written
    assert "Both hold the same cells." in written
    assert "Differs" not in written
    assert str(out) in printed


def test_seeds_are_paired_whatever_their_order(tmp_path):
    a, b = pair(tmp_path, some_rows(), some_rows(0.1)[::-1])
    found = compare(a, b).query("metric == 'test_loss'")
    assert found["paired"].all()
    np.testing.assert_allclose(found[["difference", "low", "high"]], 0.1)
    assert set(found["n_a"]) == {4}


def test_other_seeds_are_not_paired(tmp_path):
    a, b = pair(tmp_path, some_rows(), some_rows(0.1, seeds=range(10, 14)))
    found = compare(a, b).query("metric == 'test_loss'")
    assert not found["paired"].any()
    np.testing.assert_allclose(found["difference"], 0.1)
    assert (found["low"] < 0).all()
    assert (found["high"] > 0.1).all()
    assert any("unpaired" in note for note in notes(a, b, compare(a, b)))


def test_the_interval_is_that_of_the_metric(tmp_path):
    a, b = pair(tmp_path, some_rows(), some_rows(0.2, seeds=range(4, 8)))
    row = compare(a, b).query("metric == 'solved' and variant == 'gru' and seq_len == 50").iloc[0]
    assert (row["a"], row["b"], row["difference"]) == (0.25, 0.0, -0.25)
    low, high = bootstrap([[1.0, 0, 0, 0]], lambda x, axis: -np.mean(x, axis=axis))
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_diverged_runs_count_and_give_no_nan(tmp_path):
    lost = [run("gru", seed=s, loss=np.nan) for s in range(4)]
    half = [run("gru", seed=s, loss=0.05 if s % 2 else np.nan) for s in range(4)]
    a, b = pair(tmp_path, [run("gru", seed=s, loss=0.05) for s in range(4)], lost)
    found = compare(a, b).set_index("metric")
    assert found.loc["solved", "difference"] == -1
    assert found.loc["test_loss", ["difference", "low", "high"]].tolist() == [np.inf] * 3
    assert found.loc["test_accuracy", "difference"] == pytest.approx(-0.9)
    some = compare(pd.DataFrame(half), b)
    assert some[["difference", "low", "high"]].notna().all(axis=None)
    assert any("B has diverged runs" in note for note in notes(a, b, compare(a, b)))


def test_settings_are_chosen_in_each_by_validation(tmp_path):
    rows_b = [run(seed=s, learning_rate=r, loss=0.5 + r) for s in (0, 1) for r in (0.1, 0.2)]
    a, b = pair(tmp_path, [run(seed=s, loss=0.5) for s in (0, 1)], rows_b)
    assert compare(a, b).query("metric == 'test_loss'")["b"].tolist() == [pytest.approx(0.6)]


def test_what_only_one_has_and_what_differs_is_said(tmp_path):
    rows_a = [*some_rows(num_test=60), run("only_a")]
    rows_b = [*some_rows(num_test=70, hidden_size=16, device="gpu"), run("gru", seq_len=200)]
    a, b = pair(tmp_path, rows_a, rows_b)
    said = "\n".join(notes(a, b, compare(a, b)))
    assert "Only in A: recall T = 50: only_a." in said
    assert "Only in B: recall T = 200: gru." in said
    assert differing_settings(a, b) == [
        ("hidden_size", "8", "16"),
        ("num_test", "60", "70"),
        ("device", "cpu", "gpu"),
    ]
    assert "Differs: num_test is 60 in A, 70 in B." in said


def test_sizes_that_vary_are_joined(tmp_path):
    rows_a = [run(hidden_size=h, seed=s, loss=h / 10) for h in (8, 16) for s in (0, 1)]
    a, b = pair(tmp_path, rows_a, [run(hidden_size=16, seed=s, loss=1.0) for s in (0, 1)])
    found = compare(a, b).query("metric == 'test_loss'")
    assert found["variant"].tolist() == ["gru hidden_size=16"]
    assert found["difference"].tolist() == [pytest.approx(-0.6)]


def test_a_table_written_by_hand_is_enough(tmp_path, monkeypatch, capsys):
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "runs.csv").write_text("task, seq_len, variant, test_accuracy\nrecall, 50, gru, 0.95\n")
    ours = folder(tmp_path / "ours", some_rows())
    monkeypatch.chdir(tmp_path)
    main(["paper", str(ours)])
    written = default_out("paper", ours)
    assert str(written) == "compare_paper_ours.md"
    text = written.read_text()
    assert "| recall | 50 | gru | 95.0 % | 90.0 % | -5.0 % | none (n < 2) | 1, 4 | unpaired |" in text
    assert "Only B has test_loss" in text
    assert "A does not say hidden_size (8 in B), num_layers (1 in B)," in text
    assert "compare_paper_ours.md" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no runs.csv"),
        ("task,variant,test_loss\nrecall,gru,1\n", "lacks the columns: seq_len"),
        ("task,seq_len,variant\nrecall,50,gru\n", "holds no result"),
        ("task,seq_len,variant,solved\nadding,70,lstm,1\n", "share no combination"),
        (
            "task,seq_len,variant,solved,learning_rate\nrecall,50,gru,1,1\nrecall,50,gru,0,2\n",
            "no column validation_loss",
        ),
    ],
)
def test_errors_are_plain(tmp_path, capsys, text, message):
    (tmp_path / "b").mkdir()
    if text is not None:
        (tmp_path / "b" / "runs.csv").write_text(text)
    a = folder(tmp_path / "a", some_rows())
    assert main([str(a), str(tmp_path / "b"), "--out", str(tmp_path / "out.md")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out.md").exists()
    if "share no" in message:
        assert "task recall; seq_len 50, 90; variant elman, gru" in error
        assert "task adding; seq_len 70; variant lstm" in error


def test_a_missing_folder_is_named(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere"), str(tmp_path)]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_no_metric_in_common(tmp_path):
    keys = {"task": "recall", "seq_len": 50, "variant": "gru"}
    with pytest.raises(ValueError, match=r"no metric in common: .*a has solved; .*b has test_loss"):
        pair(tmp_path, [keys | {"solved": True}], [keys | {"test_loss": 1.0}])
