import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.compare import again
from experiments.compare.main import main
from experiments.compare.names import with_one_name
from experiments.compare.report import compare, default_out, differing_settings, notes, read_pair
from experiments.shared.numbers import bootstrap
from experiments.sweep import command
from experiments.sweep.spec import Sweep, Trial
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
    return read_pair(folder(tmp_path / "a", rows_a), folder(tmp_path / "b", rows_b))[:2]


def test_a_folder_does_not_differ_from_itself(tmp_path, capsys):
    rows = [*some_rows(), run("lost", loss=np.nan), run("lost", seed=1, loss=np.nan), run("single", loss=0.1)]
    a = folder(tmp_path / "a", rows)
    found = compare(*read_pair(a, a)[:2])
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


def test_what_only_one_has_is_a_line_and_no_wall(tmp_path):
    many = [run(f"own{i}", seq_len=t) for i in range(40) for t in (50, 90)]
    a, b = pair(tmp_path, some_rows(), [*some_rows(), *many])
    (said,) = (note for note in notes(a, b, compare(a, b)) if note.startswith("Only in"))
    assert said == "Only in B: 80 cells, of own0, own1, own2, own3, own4, own5 and 34 more."


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


# --- names ------------------------------------------------------------------------------------------------------------


def cells(*names, **columns):
    return pd.DataFrame({"variant": names, **columns})


def test_variants_that_compute_the_same_have_one_name():
    tables = {"a": cells("lstm_np", "gru update_bias=0"), "b": cells("lstm forget_bias=1", "gru", "gru_reset_before")}
    named, said = with_one_name(tables, [])
    assert named["a"]["variant"].tolist() == ["lstm_np", "gru update_bias=0"]
    assert named["b"]["variant"].tolist() == ["lstm_np", "gru update_bias=0", "gru_reset_before"]
    assert said[0] == "Taken as one, for they compute the same: lstm_np, lstm forget_bias=1."


def test_what_one_folder_tells_apart_stays_apart():
    tables = {"a": cells("lstm", "lstm_np"), "b": cells("lstm forget_bias=1")}
    named, said = with_one_name(tables, [])
    assert named["b"]["variant"].tolist() == ["lstm forget_bias=1"]
    assert said == []


def test_a_label_is_not_taken_for_the_cell_of_its_name():
    """Here what is called lstm is a GRU, by the column that says what ran."""
    rows = cells("lstm", "lstm forget_bias=2", cell=["gru", "lstm"], cell_options=["{}", '{"forget_bias": "2"}'])
    named, said = with_one_name({"a": rows, "b": cells("lstm_np", "lstm forget_bias=2.0")}, [])
    assert named["b"]["variant"].tolist() == ["lstm_np", "lstm forget_bias=2"]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("match", "names"),
    [("a=b", ["a", "a x=1", "c"]), ("a x=1=b x=1", ["b", "a x=1", "c"]), ("c=b x=1", ["b", "c", "c"])],
)
def test_names_are_matched_of_cells_and_of_variants(match, names):
    tables = {"one": cells("a x=1", "c") if "c=" not in match else cells("c"), "two": cells("b", "b x=1", "c")}
    if match.startswith("c="):
        with pytest.raises(ValueError, match="two has both"):
            with_one_name(tables, [match])
        tables["two"] = tables["two"][:2]
        names = names[:2]
    named, said = with_one_name(tables, [match])
    assert named["two"]["variant"].tolist() == names
    assert said == [f"Taken as one, as --match says: {match}."]


def test_two_sweeps_are_joined_by_what_they_compute(tmp_path):
    a = folder(tmp_path / "a", [run("lstm_np", seed=s, loss=0.5) for s in range(3)])
    b = folder(tmp_path / "b", [run("lstm", seed=s, loss=0.75) for s in range(3)])
    out = tmp_path / "out.md"
    assert main([str(a), str(b), "--out", str(out)]) == 0
    assert "| **recall** | **50** | **lstm_np** | **0.5** | **0.75** | **0.25** |" in out.read_text()
    assert "Taken as one, for they compute the same: lstm_np, lstm." in out.read_text()


# --- one row anew -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_sweep(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "small"
    sizes = ["hidden_size=4", "batch_size=4", "num_steps=6", "eval_every=2", "num_validation=8", "num_test=8"]
    axes = ["cell=elman", "task=recall", "seq_len=5", "learning_rate=0.01,0.1"]
    assert command.main(["lstm_gates", "--set", *sizes, "--axis", *axes, "--seeds", "1,1", "--out", str(path)]) == 0
    return path


@pytest.mark.parametrize("stage", ["choose", "report"])
def test_a_row_run_anew_is_what_was_recorded(small_sweep, tmp_path, capsys, stage):
    runs = pd.read_csv(small_sweep / "runs.csv", dtype={"trial_id": str})
    one = runs[runs["stage"] == stage].iloc[0]
    out = tmp_path / "again.md"
    assert main([str(small_sweep), "--trial", one["trial_id"], "--out", str(out)]) == 0
    text = out.read_text()
    assert "The same verdict: not solved, recorded and anew." in text
    lines = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in text.splitlines()}
    for name in ("training loss", "validation loss", "test loss", "gradient horizon at the start", "commit"):
        assert lines[name][0] == lines[name][1], name
    assert "step 6 of 6" in capsys.readouterr().out


def test_the_verdict_says_when_it_is_another():
    solved, lost = ({"solved": True, "diverged": False}, {"solved": False, "diverged": True})
    assert again.verdict(pd.Series(solved), pd.Series(lost)) == "Another verdict: solved as recorded, diverged anew."


def test_a_row_that_is_not_there_is_named(small_sweep, capsys):
    name = pd.read_csv(small_sweep / "runs.csv")["trial_id"][0]
    assert main([str(small_sweep), "--trial", name[:-1]]) == 2
    assert f"did you mean '{name}'?" in capsys.readouterr().err
    assert main([str(small_sweep), str(small_sweep), "--trial", name]) == 2
    assert "got 2 folders" in capsys.readouterr().err
    assert main([str(small_sweep)]) == 2
    assert "give two folders, or --trial ID" in capsys.readouterr().err


@pytest.mark.parametrize("field", [{"cell": "stranger:make"}, {"task": "stranger:make"}])
def test_a_folder_does_not_choose_what_code_runs(tmp_path, monkeypatch, capsys, field):
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    trial = Trial(seq_len=5, **field)
    sweep = Sweep("s", "q", "e", trial, {"seed": range(1)})
    there = folder(tmp_path / "there", [{**run(), "trial_id": trial.id, "seed": 0, "solved": True, "diverged": False}])
    config = {**sweep.describe(), "command": "python", "date": "2026-01-01"}
    (there / "config.json").write_text(json.dumps(config))
    assert main([str(there), "--trial", trial.id]) == 2
    assert "nothing was imported" in capsys.readouterr().err


def test_rows_of_every_committed_sweep_can_be_run_anew():
    folders = sorted(path.parent for path in (Path(__file__).parents[2] / "results").rglob("config.json"))
    assert len(folders) >= 5
    for path in folders:
        runs = pd.read_csv(path / "runs.csv", dtype={"trial_id": str})
        for row in runs.iloc[[0, len(runs) // 2, -1]].itertuples():
            trial = again.trial_of(path, row.trial_id, int(row.seed))
            again.check_code(trial, path, trust_code=False)
            assert trial.id == row.trial_id
