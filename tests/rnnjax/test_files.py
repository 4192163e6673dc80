"""Files written whole."""

import errno
import os
import sys
from pathlib import Path

import pytest

from rnnjax.files import write_whole


def test_a_text_and_what_a_function_writes(tmp_path):
    write_whole(tmp_path / "text", "größer\n")
    write_whole(tmp_path / "bytes", lambda path: path.write_bytes(b"\0\1"), several=True)
    assert (tmp_path / "text").read_bytes() == "größer\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\0\1"
    assert len(list(tmp_path.iterdir())) == 2


def test_it_is_on_the_disk_before_it_is_in_its_place(tmp_path, monkeypatch):
    done = []
    sync, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("fsync"), sync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), move(*paths)))
    write_whole(tmp_path / "text", "x")
    assert done[:2] == ["fsync", "replace"]
    assert done[2:] == ["fsync"] * (sys.platform != "win32")  # of the folder


def fails(error):
    def write(path: Path) -> None:
        path.write_text("half of it")
        raise error

    return write


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
def test_what_was_there_stays_whatever_happens(tmp_path, error):
    write_whole(tmp_path / "text", "as it was")
    with pytest.raises(type(error)):
        write_whole(tmp_path / "text", fails(error))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"text": "as it was"}


def test_a_full_disk_a_folder_that_is_absent_and_a_folder_in_its_place_are_named(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*runs.csv'"):
        write_whole(tmp_path / "runs.csv", fails(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match=r"disk is full: '.*runs.csv'"):
        write_whole(tmp_path / "runs.csv", fails(OSError("the disk is full")))
    with pytest.raises(FileNotFoundError, match=r"'.*absent.runs.csv'"):
        write_whole(tmp_path / "absent" / "runs.csv", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"'.*folder'"):
        write_whole(tmp_path / "folder", "x")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"'.*file.runs.csv'"):
        write_whole(tmp_path / "file" / "runs.csv", "x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full always")
def test_a_disk_that_is_full(tmp_path):
    (tmp_path / "text.unfinished").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*text'"):
        write_whole(tmp_path / "text", "x" * 100_000)
