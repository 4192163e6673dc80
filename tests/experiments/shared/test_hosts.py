"""One training by two processes: the figures of one process, one writer, and an end of all where one ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.shared import hosts
from experiments.textgen import saved_model
from rnnjax.training import learner

ROOT = Path(__file__).parents[3]
BOOK = "".join(f"the {a} {b} and the {b} {a}.\n" for a in ("red", "old", "big") for b in ("cat", "dog", "sun")) * 12
SIZES = ["--hidden-size", "24", "--batch-size", "4", "--seq-len", "20", "--embedding-size", "8"]
SIZES += ["--learning-rate", "0.02", "--epochs", "3"]
# textgen on so many devices, with a chunk for each few steps, a checkpoint after each and short texts.
DRIVER = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
from experiments.shared.begin import begin
begin()
from experiments.shared import fit, start
from experiments.textgen import language_model, main, program, results
num_devices = int(sys.argv.pop(1))
start.num_cores = lambda: num_devices
language_model.CHUNK_TOKENS, fit.CHECKPOINT_SECONDS = 400, 0.0
program.NUM_KNOWN, program.LENGTH_KNOWN = 3, 60
results.NUM_TEXTS, results.LENGTH, results.SAMPLE_LENGTH, results.SPEED_BATCHES = 2, 120, 40, (1,)
class Telling(fit._Progress):
    def at(self, done, losses):
        print("done", done, flush=True)
fit._Progress = Telling
sys.exit(main.main())
"""


def started(num_devices: int, folder: Path, *options: str, book: str = BOOK) -> subprocess.Popen:
    """A training on so many devices whose model goes to a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    text = folder.with_suffix(".txt")
    text.write_text(book, encoding="utf-8")
    words = [sys.executable, "-c", DRIVER, str(num_devices), "train", str(text), "--model", str(folder), *SIZES]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*words, *options], env=settings, **pipes)


def pair(folder: Path, books: tuple[str, str] = (BOOK, BOOK)) -> list[subprocess.Popen]:
    """Two processes of one device each, whose folders differ."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        together = ["--coordinator", f"127.0.0.1:{free.getsockname()[1]}", "--num-processes", "2", "--process-id"]
    return [started(1, folder / f"of-{i}", *together, str(i), book=book) for i, book in enumerate(books)]


def ended(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, last line and errors of each."""
    try:
        said = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, out.strip().split("\n")[-1], err) for p, (out, err) in zip(processes, said, strict=True)]


def until_done(process: subprocess.Popen, chunks: int) -> None:
    for line in process.stdout:
        if line.startswith("done") and int(line.split()[1]) >= chunks:
            return
    raise AssertionError(process.stderr.read())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The parameters that one process with two devices learns."""
    folder = tmp_path_factory.mktemp("alone") / "model"
    [(code, _, errors)] = ended([started(2, folder)])
    assert code == 0, errors
    return saved_model.load(folder).params


def same(folder: Path, expected) -> None:
    found = saved_model.load(folder / "of-0").params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)
    assert not (folder / "of-1").exists()  # process 0 alone writes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_two_processes_learn_what_one_does_however_they_are_ended_on_the_way(alone, tmp_path):
    """One is killed, and the other ends; a signal to either ends both with its code; then they go on to the end."""
    for killed in (1, 0):
        both = pair(tmp_path)
        until_done(both[0], 3)
        both[killed].kill()
        code, _, errors = ended(both)[1 - killed]
        assert code == 1
        assert "error: another process of this training has ended; the same command in all of them goes on" in errors
    for stopped in (1, 0):
        both = pair(tmp_path)
        until_done(both[0], 3)
        both[stopped].send_signal(signal.SIGTERM)
        for code, last, errors in ended(both):
            assert (code, errors) == (143, "")
            assert last.startswith("stopped by SIGTERM")
    assert [(code, errors) for code, _, errors in ended(pair(tmp_path))] == [(0, "")] * 2
    same(tmp_path, alone)


@pytest.mark.slow
def test_what_is_not_the_same_in_both_is_refused_by_both(tmp_path):
    for code, _, errors in ended(pair(tmp_path, (BOOK, BOOK.replace("dog", "cow")))):
        assert code == 2
        assert "process 1 has not the same as process 0: text, settings, seeds" in errors
    (code, _, errors), (other, _, others) = ended(pair(tmp_path, (BOOK, "")))
    assert (code, other) == (2, 2)
    assert "process 1 could not begin; what it printed says why" in errors
    assert "is empty" in others


LONELY = """
import sys
from rich.console import Console
from experiments.shared import hosts
hosts.WAIT_SECONDS = 2.0
with hosts.joined(Console(), sys.argv[1], 2, int(sys.argv[2])):
    print("joined")
"""


@pytest.mark.slow
@pytest.mark.parametrize("process_id", [0, 1])
def test_a_process_whose_others_do_not_come_ends_with_one_line(process_id):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [sys.executable, "-c", LONELY, address, str(process_id)]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(words, env=settings, capture_output=True, text=True, check=False, timeout=100)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("error: the processes of this training did not find each other in 2 seconds; --coor")
    assert found.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_said():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        joining = hosts.joined(Console(), f"127.0.0.1:{port}", 2, 0)
        with (
            pytest.raises(ValueError, match=f"port {port} of this machine cannot be had: Address already in use"),
            joining,
        ):
            pass
    assert not jax.distributed.is_initialized()


def test_a_process_alone_is_not_joined_to_any(monkeypatch):
    """Slurm says of a step of one task that it is one, too."""
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    training, console = object(), Console(quiet=False)
    with hosts.joined(console, None, None, None):
        assert hosts.prepared(lambda: training, lambda made: {}) is training
        assert hosts.lead(training) is training
    assert hosts.is_first()
    assert not console.quiet
    assert not jax.distributed.is_initialized()


class Device:
    def __init__(self, process_index: int):
        self.process_index = process_index


@pytest.mark.parametrize(("devices", "batch_size", "each"), [([4, 4], 8, 4), ([4, 4], 12, 3), ([1, 4], 6, 1)])
def test_a_batch_is_cut_into_as_many_parts_for_every_process(monkeypatch, devices, batch_size, each):
    all_devices = [Device(i) for i, count in enumerate(devices) for _ in range(count)]
    monkeypatch.setattr(learner.jax, "devices", lambda: all_devices)
    monkeypatch.setattr(learner, "Mesh", lambda chosen, axes: chosen)
    chosen = learner.shared_mesh(batch_size)
    assert [device.process_index for device in chosen] == [0] * each + [1] * each
    with pytest.raises(ValueError, match="batch_size=7 cannot be cut into equal parts for 2 processes"):
        learner.shared_mesh(7)
