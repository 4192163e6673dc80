"""A network of piano rolls that is kept, and goes on with pieces elsewhere."""

import json
import os
import shutil

import numpy as np
import pytest

from experiments.music import main as music
from rnnjax.data.midi import read_midi, write_midi
from rnnjax.data.piano_rolls import KEYS

SIZES = ["--hidden-size=16", "--num-layers=1", "--batch-size=4", "--learning-rate=0.03", "--dropout=0"]
SIZES += ["--recurrent-dropout=0", "--epochs=15", "--seeds=1", "--beginning=4", "--steps=10"]


def scale(steps, start=0):
    """One key at a time, upwards, and from the lowest again after seven."""
    roll = np.zeros((steps, KEYS), np.uint8)
    roll[np.arange(steps), 32 + (start + np.arange(steps)) % 7] = 1
    return roll


def run(*arguments) -> int:
    return music.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "pieces").mkdir()
    for i in range(20):
        write_midi(folder / "pieces" / f"{i:02}.mid", scale(9 + i, i % 7))
    argv = ["gru", "--folder", folder / "pieces", *SIZES, "--model", folder / "model", "--out", folder / "out"]
    assert run(*argv) == 0
    return folder, argv


@pytest.fixture
def model(trained, tmp_path):
    """A copy of it elsewhere, where nothing else is."""
    shutil.copytree(trained[0] / "model", tmp_path / "elsewhere" / "model")
    return tmp_path / "elsewhere" / "model"


def test_a_piece_is_gone_on_with_in_midi(trained, model, tmp_path, capsys):
    write_midi(tmp_path / "piece.mid", scale(12, 3))
    words = ["compose", "--model", model, tmp_path / "piece.mid", "--temperature=0.1", "--steps=20"]
    assert run(*words, "--out", tmp_path / "new" / "longer.mid") == 0
    assert "12 steps of" in capsys.readouterr().out
    composed = read_midi(tmp_path / "new" / "longer.mid")
    assert len(composed) == 32
    np.testing.assert_array_equal(np.diff(composed.argmax(axis=1)) % 7, 1)  # it goes on upwards
    assert run(*words, "--beginning=5", "--out", tmp_path / "new" / "short.npy") == 0
    short = np.load(tmp_path / "new" / "short.npy")
    assert short.shape == (25, KEYS)
    np.testing.assert_array_equal(short[:5], scale(5, 3))
    (beside,) = (trained[0] / "out").glob("continuation_*.mid")
    np.testing.assert_array_equal(read_midi(beside), np.load(beside.with_suffix(".npy"))[: len(read_midi(beside))])


def test_the_same_command_trains_no_more_and_another_is_refused(trained, capsys):
    folder, argv = trained
    assert run(*argv) == 0
    assert "going on from 15 of 15" in capsys.readouterr().out
    assert run(*argv, "--hidden-size=8") == 2
    assert "hidden_size: 16 there, 8 now" in capsys.readouterr().err
    write_midi(folder / "pieces" / "00.mid", scale(9, 1))
    assert run(*argv) == 2
    assert "data: " in capsys.readouterr().err


def test_what_compose_cannot_do_is_said(model, tmp_path, capsys):
    write_midi(tmp_path / "piece.mid", scale(12, 3))

    def error(*words):
        assert run("compose", "--model", *words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    piece, out = tmp_path / "piece.mid", ["--out", tmp_path / "new.mid"]
    assert "holds no trained model" in error(tmp_path, piece, *out)
    assert "ends in .mid, .midi or .npy" in error(model, piece, "--out", "new.wav")
    assert "has 12 steps" in error(model, piece, "--beginning=13", *out)
    assert "nowhere.mid" in error(model, tmp_path / "nowhere.mid", *out)
    shutil.rmtree(model / "checkpoints")
    assert "holds no checkpoint yet" in error(model, piece, *out)
    assert not (tmp_path / "new.mid").exists()


def test_a_model_folder_runs_no_code_and_its_fields_are_checked(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(model.parent)
    write_midi(tmp_path / "piece.mid", scale(12, 3))
    path = model / "config.json"
    whole = json.loads(path.read_text())
    hostile = {"cell": ("os:system", "evil:cell", "lstmm", 7), "hidden_size": ("touch ran", 8, 0, 10**9, None)}
    for field, values in hostile.items():
        for value in values:
            path.write_text(json.dumps({**whole, field: value}))
            words = ["compose", "--model", model, tmp_path / "piece.mid", "--out", tmp_path / "new.mid"]
            assert run(*words) == 2, (field, value)
            said = capsys.readouterr().err
            assert said.startswith("error: "), (field, value, said)
    path.write_text(json.dumps({**whole, "cell": "os:system"}))
    assert run(*words) == 2
    assert "--trust-code" in capsys.readouterr().err
    assert os.listdir(model.parent) == ["model"]
