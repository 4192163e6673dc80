"""The start map: its sweep, its picture, and the sentence above it; and the reach of the variants of a sweep."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from experiments.shared.cells import build_cell
from experiments.start_map import KEEPS, LSTM, SWEEP, WRITES, main
from experiments.start_map.reading import _outline, order, sentence, start_maps, starts
from experiments.sweep import reach, reaches


def test_the_full_map_has_every_pair_of_biases_on_both_tasks_at_every_lag():
    full = SWEEP.at_full_size()
    trials = full.trials()
    cells = {trial.cell for trial in trials}
    assert len(cells) == len(KEEPS) * len(WRITES) + len(KEEPS) + len(WRITES)
    assert len(trials) == len(cells) * 2 * 3 * len(full.axes["learning_rate"]) * len(full.axes["seed"])
    assert {trial.num_test for trial in trials} == {4000}
    for cell in cells:
        build_cell(cell, 4, 50)


def made_up_runs():
    """LSTM at T = 50: solved by every seed with the gate shut, by none with it open; one GRU start."""
    rows = []
    for f, i, solved, horizon in (
        (3, 0, 0, math.inf),
        (3, -4, 1, 21.0),
        ("chrono", "chrono", 1, 43.0),
        (0, -4, 0, 2.0),
    ):
        options = {"forget_bias": str(f), "input_bias": str(i)}
        rows.append((LSTM, options, solved, horizon))
    rows.append(("gru", {"update_bias": "chrono"}, 1, 30.0))
    same = {"task": "recall", "seq_len": 50, "learning_rate": 0.01, "validation_loss": 1.0, "hidden_size": 4}
    same |= {"num_layers": 1, "batch_size": 32, "diverged": False}
    return pd.DataFrame(
        same
        | {"cell": cell, "cell_options": json.dumps(options), "seed": seed, "solved": bool(solved)}
        | {"variant": " ".join([cell, *(f"{k}={v}" for k, v in options.items())]), "gradient_horizon": horizon}
        | {"trial_id": f"{cell}-{len(json.dumps(options))}-{seed}"}
        for cell, options, solved, horizon in rows
        for seed in range(2)
    )


def test_the_sentence_and_the_picture_follow_from_the_runs(tmp_path):
    runs = made_up_runs()
    said = sentence(starts(runs))
    assert "recall is solved by 100 % (4 of 4 runs; 51 to 100 %) with input gate shut" in said
    assert "0 % (0 of 2 runs; 0 to 66 %) with input gate open" in said
    assert "reach" not in said
    found = starts(runs, pd.DataFrame({"task": "recall", "seq_len": 50, "variant": runs.variant, "reach": 1.0}))
    assert "67 % (4 of 6 runs; 30 to 90 %) with long reach" in sentence(found)
    axes = start_maps(found).axes
    assert [axis.get_title() for axis in axes[:2]] == ["LSTM, recall, T = 50", "GRU, recall, T = 50"]
    shown = axes[0].images[0].get_array()  # rows 0, 3, chrono; columns 0, -4, chrono
    np.testing.assert_array_equal(shown.filled(-1), [[-1, 0, -1], [0, 1, -1], [-1, -1, 1]])
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["0", "-4", "chrono"]
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["0", "3", "chrono"]
    runs.to_csv(tmp_path / "runs.csv", index=False)
    assert main.main([str(tmp_path)]) == 0
    assert (tmp_path / "start_map.png").stat().st_size > 10_000


def test_biases_are_in_order_and_outlines_close():
    assert order(["chrono", "-8", "0", "-2"]) == ["0", "-2", "-8", "chrono"]
    inside = np.array([[True, True], [False, True]])
    segments = _outline(inside, 0.1)
    assert len(segments) == 8  # the border of three cells in an L
    assert all(abs(a[0] - b[0]) < 1e-9 or abs(a[1] - b[1]) < 1e-9 for a, b in segments)


def test_other_folders_and_bad_options_are_refused(tmp_path, capsys):
    runs = made_up_runs()
    with pytest.raises(ValueError, match="is this a folder of the start_map sweep"):
        starts(runs.assign(cell="elman"))
    with pytest.raises(ValueError, match="is not a mapping of options"):
        starts(runs.assign(cell_options='["forget_bias"]'))
    assert main.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


# --- the reach of a sweep's variants ---------------------------------------------------------------------------------


def test_reach_of_a_folder(tmp_path, capsys):
    runs = made_up_runs().assign(seq_len=6)
    runs = runs[runs.variant.isin(runs.variant.unique()[[1, 3]])]
    runs = pd.concat([runs, runs.assign(cell="os:system", variant="mine"), runs.assign(task="imdb")])
    runs.to_csv(tmp_path / "runs.csv", index=False)
    assert reach.main([str(tmp_path), "--seeds", "2"]) == 0
    said = capsys.readouterr().out
    assert "not measured: mine on recall, lstm_np forget_bias=3 input_bias=-4 on imdb" in said
    found = reaches.read_reach(tmp_path)
    assert list(found.columns) == reaches.COLUMNS
    assert len(found) == 4  # two variants, two seeds
    assert found["reach"].between(0, 1).all()
    of = found.groupby("variant")["log10_size"].mean()
    assert of["lstm_np forget_bias=3 input_bias=-4"] > of["lstm_np forget_bias=0 input_bias=-4"] + 1
    assert reach.main([str(tmp_path), "--judge"]) == 0
    assert (
        "recall, T = 6: rank correlation with the share solved, 2 variants of 1 cells: reach" in capsys.readouterr().out
    )


def cells_of(num_families, solved):
    """Three variants a family; reach ranks them as `solved` does, the horizon the other way round."""
    n = 3 * num_families
    names = [f"cell{i // 3}" for i in range(n)]
    values = np.arange(n) / n if solved is None else solved
    return pd.DataFrame(
        {"task": "recall", "seq_len": 50, "cell": names, "solved": values, "reach": np.arange(n) / n}
    ).assign(horizon=-np.arange(n))


def test_rank_correlations_are_resampled_by_families():
    (line,) = reaches.judged(cells_of(6, None)).to_dict("records")
    assert (line["n"], line["families"]) == (18, 6)
    assert line["reach"] == line["reach_low"] == line["reach_high"] == pytest.approx(1)
    assert line["horizon"] == pytest.approx(-1)
    noisy = np.random.default_rng(0).permutation(18)
    (line,) = reaches.judged(cells_of(6, noisy)).to_dict("records")
    assert line["reach_low"] < line["reach"] < line["reach_high"]
    (line,) = reaches.judged(cells_of(3, None)).to_dict("records")
    assert math.isnan(line["reach_low"])  # three families say nothing of a fourth
    (line,) = reaches.judged(cells_of(6, 1.0)).to_dict("records")
    assert math.isnan(line["reach"])  # all solved alike: there is no rank


def test_a_table_of_reach_that_is_none_is_named(tmp_path):
    assert reaches.read_reach(tmp_path) is None
    (tmp_path / "reach.csv").write_text("task,seq_len,variant\nrecall,50,lstm\n")
    with pytest.raises(ValueError, match=r"reach.csv lacks the columns: seed, reach"):
        reaches.read_reach(tmp_path)


def test_what_a_table_names_is_built_only_where_it_is_known():
    known = {"cell_options": "{}", "hidden_size": 4, "num_layers": 1, "batch_size": 8, "task": "recall", "seq_len": 10}
    cells = {"lstm": "gru", "tanh": "experiments.remedies:rnn", "foreign": "os:system"}
    runs = pd.DataFrame([{**known, "variant": label, "cell": cell} for label, cell in cells.items()])
    trials, refused = reaches.variants(runs)
    assert [trial.cell for trial in trials] == ["gru", "experiments.remedies:rnn"]
    assert refused == ["foreign on recall"]
