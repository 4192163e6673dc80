"""Scalars of trainings on their way to TensorBoard, read back from the event files."""

import importlib
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.shared.tensorboard import Board
from experiments.sweep import command

SMALL = ["hidden_size=3", "num_steps=6", "eval_every=2", "batch_size=8", "seq_len=3", "num_validation=9", "num_test=9"]


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """{label: {step: value}} of a run's event file."""
    event_pb2 = importlib.import_module("tensorboardX.proto.event_pb2")
    (path,) = folder.glob("events.out.tfevents.*")
    content, found, place = path.read_bytes(), {}, 0
    while place < len(content):  # records: length, its checksum, the event, its checksum
        (length,) = struct.unpack_from("<Q", content, place)
        event = event_pb2.Event.FromString(content[place + 12 : place + 12 + length])
        place += 12 + length + 4
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_scalars_are_read_back_and_nan_is_left_out(tmp_path):
    pytest.importorskip("tensorboardX")
    board = Board(tmp_path / "board")
    for step, loss in ((10, 0.5), (20, float("nan")), (30, 0.25)):
        board.add("a run/1", step, {"train_loss": loss, "validation_loss": 1.0})
    board.close("a run/1")
    board.close()
    assert scalars(tmp_path / "board" / "a-run-1") == {
        "train_loss": {10: 0.5, 30: 0.25},
        "validation_loss": {10: 1.0, 20: 1.0, 30: 1.0},
    }


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch, capsys):
    def import_module(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(ValueError, match=r"pip install 'rnnjax\[tensorboard\]'"):
        Board(tmp_path)


def test_a_sweep_writes_a_run_for_each_trial(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    words = ["forget_bias", "--set", "task=recall", *SMALL, "learning_rate=0.01", "clip_norm=1", "--seeds", "2"]
    words += ["--axis", "forget_bias=1", "--out", str(tmp_path / "out"), "--tensorboard", str(tmp_path / "board")]
    assert command.main(words) == 0
    curves = pd.read_parquet(tmp_path / "out" / "curves.parquet")
    runs = list(pd.read_csv(tmp_path / "out" / "runs.csv").trial_id)
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == sorted(runs)
    assert len(runs) == 2
    for run in runs:
        found = scalars(tmp_path / "board" / run)
        assert set(found) == {"train_loss", "validation_loss", "validation_accuracy"}
        for label, values in found.items():
            stored = curves[(curves.trial_id == run) & (curves.quantity == label)].set_index("index")["value"]
            assert list(values) == [2, 4, 6]
            np.testing.assert_allclose(list(values.values()), stored[[2, 4, 6]], rtol=1e-6)
