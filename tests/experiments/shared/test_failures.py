"""Every exception is one line: ours in its own words, others with their kind, their place, and where all of it is."""

import errno
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.shared.cells import build_cell
from experiments.shared.failures import told
from rnnjax.files import write_whole


def raised(function) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def traceback_in(text: str) -> str:
    path = Path(re.search(r"traceback: (\S+)$", text)[1])
    found = path.read_text(encoding="utf-8")
    path.unlink()
    return found


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    (tmp_path / "cells_that_fail.py").write_text(
        "def divides(hidden_size):\n    return 1 / 0\n\ndef refuses(hidden_size):\n    raise ValueError('too small')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "cells_that_fail.py"
    sys.modules.pop("cells_that_fail", None)


@pytest.mark.parametrize(
    ("name", "what", "line"),
    [("divides", "ZeroDivisionError: division by zero", 2), ("refuses", "ValueError: too small", 5)],
)
def test_a_factory_of_the_users_is_told_apart(theirs, name, what, line):
    error = raised(lambda: build_cell(f"cells_that_fail:{name}", 4, 10))
    text, code = told(error)
    assert code == 2
    assert text.startswith(f"cell 'cells_that_fail:{name}': its factory raised {what}, in {theirs}, line {line}; ")
    assert f"in {name}" in traceback_in(text)


def test_our_own_words_are_enough():
    error = raised(lambda: build_cell("lstmm", 4, 10))
    assert told(error) == (str(error), 2)


def test_what_nobody_foresaw_has_its_kind_and_its_traceback():
    text, _ = told(raised(lambda: np.zeros(3) + np.zeros(4)))
    assert text.startswith("ValueError: operands could not be broadcast together")
    assert "np.zeros(3) + np.zeros(4)" in traceback_in(text)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_file_that_cannot_be_written_is_named(tmp_path, number):
    def write(path):
        raise OSError(number, "it cannot be")

    text, code = told(raised(lambda: write_whole(tmp_path / "runs.csv", write)))
    assert text.startswith(f"it cannot be: {tmp_path / 'runs.csv'}")
    assert code == 2
