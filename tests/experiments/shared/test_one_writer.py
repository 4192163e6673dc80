"""One writer of a folder, tried with processes."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pandas as pd
import pytest
from filelock import SoftFileLock

from experiments.shared import one_writer as module, results
from experiments.shared.fit import resumable
from experiments.shared.one_writer import HOLDER, LOCK, one_writer
from experiments.textgen import main as textgen

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from experiments.shared.one_writer import one_writer
with one_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds a folder, and the folder."""
    with held_by_another(tmp_path / "results") as process:
        yield tmp_path / "results", process


@contextmanager
def held_by_another(folder):
    python = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(python, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_process_is_told_who_holds_it_and_since_when(holder):
    folder, process = holder
    with pytest.raises(ValueError, match="is being written by") as error, one_writer(folder):
        pass
    assert re.fullmatch(
        rf"'{folder}' is being written by process {process.pid} on \S+ since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\S+: "
        rf".*one_writer.*; give another folder, or wait",
        " ".join(str(error.value).split()),
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_process_leaves_does_not_block(holder, how):
    folder, process = holder
    process.send_signal(how)
    process.wait()
    assert (folder / LOCK).exists()
    with one_writer(folder):
        assert json.loads((folder / HOLDER).read_text())["pid"] == os.getpid()


def test_a_lock_that_is_a_file_alone_left_by_a_killed_process_does_not_block(tmp_path):
    """Where there is no flock."""
    code = "import sys, os, filelock; lock = filelock.SoftFileLock(sys.argv[1]); lock.acquire(); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / LOCK)], check=False)
    assert (tmp_path / LOCK).exists()
    lock = SoftFileLock(tmp_path / LOCK)
    with lock.acquire(timeout=10):
        assert lock.is_locked


def test_a_folder_is_as_it_was_once_nobody_holds_it(tmp_path):
    with one_writer(tmp_path / "one" / "two"), one_writer(tmp_path / "one" / "two"):
        assert (tmp_path / "one" / "two" / LOCK).exists()
    assert list(tmp_path.iterdir()) == []
    with one_writer(tmp_path / "one" / "two"):
        (tmp_path / "one" / "two" / "kept").touch()
    assert [path.name for path in (tmp_path / "one" / "two").iterdir()] == ["kept"]


def test_others_are_waited_for_where_that_is_asked(holder):
    folder, process = holder
    process.kill()
    with one_writer(folder, wait=10):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": 1, "pid": "x", "command": {}, "since": null}', "\0"])
def test_what_says_who_holds_it_is_believed_nothing(holder, text, monkeypatch):
    folder, _ = holder
    (folder / HOLDER).write_text(text)
    monkeypatch.setattr(module, "HOLDER_SECONDS", 0.1)
    with pytest.raises(ValueError, match="is being written by"), one_writer(folder):
        pass


@pytest.mark.parametrize("place", ["file", "file/within"])
def test_a_path_that_is_a_file(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot write to the output folder '.*file"), one_writer(tmp_path / place):
        pass


# --- programs ---------------------------------------------------------------------------------------------------------


def test_a_training_that_another_process_runs_is_not_run_beside_it():
    with resumable("program", {"seeds": 2}) as folder_of:
        folder = folder_of(0).parent
    assert not folder.exists()
    with (
        held_by_another(folder),
        pytest.raises(ValueError, match="is being written by process"),
        resumable("program", {"seeds": 2}),
    ):
        pytest.fail("this should have been refused")
    with resumable("program", {"seeds": 2}):
        pass


@pytest.mark.slow
def test_a_model_that_another_process_trains_is_not_touched(holder, tmp_path, capsys):
    folder, process = holder
    (tmp_path / "book.txt").write_text("Alice was beginning to get very tired. " * 200)
    words = ["train", str(tmp_path / "book.txt"), "--model", str(folder), "--epochs", "1", "--hidden-size", "4"]
    assert textgen.main(words) == 2
    assert f"is being written by process {process.pid}" in " ".join(capsys.readouterr().err.split())
    assert {path.name for path in folder.iterdir()} == {LOCK, HOLDER}


def test_rows_are_added_once_another_process_is_done(holder, monkeypatch):
    folder, process = holder
    monkeypatch.setattr(results, "ADD_SECONDS", 0.1)
    with pytest.raises(ValueError, match="is being written by process"), results.adding_to(folder):
        pytest.fail("this should have waited")
    monkeypatch.setattr(results, "ADD_SECONDS", 30.0)
    Timer(0.5, process.kill).start()
    with results.adding_to(folder):
        pass


# --- a sweep ----------------------------------------------------------------------------------------------------------

SIZES = ["num_steps=4", "eval_every=2", "hidden_size=2", "batch_size=4", "num_validation=20", "num_test=20"]
TINY = ["--set", *SIZES, "--axis", "seq_len=3", "cell=elman", "learning_rate=0.01,0.02", "--seeds", "3"]


@pytest.mark.slow
def test_three_processes_on_one_folder(tmp_path):
    """No row twice, none lost, and those that are refused say why; four times, at last where all is finished."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    for attempt in range(4):
        folder = tmp_path / f"results-{min(attempt, 2)}"
        command = [sys.executable, "-m", "experiments.sweep", *TINY, "--out", str(folder)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(3)]
        said = [process.communicate(timeout=300) for process in processes]
        codes = [process.returncode for process in processes]
        assert set(codes) <= {0, 2}, said
        assert 0 in codes
        for code, (out, err) in zip(codes, said, strict=True):
            if code:
                holder = re.search(r"is being written by process (\d+) on .* since .*: .*experiments.sweep", err)
                assert holder, err
                assert int(holder[1]) in {process.pid for process in processes}
                assert "finished" not in out
            else:
                assert err == ""
        runs = pd.read_csv(folder / "runs.csv")
        assert len(runs) == runs.trial_id.nunique() == 6
        curves = pd.read_parquet(folder / "curves.parquet")
        assert not curves.duplicated(["trial_id", "quantity", "index"]).any()
        assert not [path.name for path in folder.iterdir() if path.name.startswith(".") or "unfinished" in path.name]
