"""Signals end a program with one line and their own exit code: while it imports, compiles and trains."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.shared import stopping

ROOT = Path(__file__).parents[3]
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129} if sys.platform != "win32" else {}
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
# A program whose importing takes for ever once it has said that it began, in Python or deep in C.
IMPORTING = """
from experiments.shared.begin import begin
begin()
print("begun", flush=True)
{}
"""
IN_PYTHON, IN_C = (
    "import time\nwhile True: time.sleep(0.01)",
    "import hashlib\nhashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
)
# A training whose chunks take a moment each; work of any age is worth a checkpoint.
TRAINING = """
import sys, time
from pathlib import Path
from experiments.shared.begin import begin
begin()
import numpy as np
from rich.console import Console
from experiments.shared import fit as module
from rnnjax.training.learner import Learning, Measured
module.WORTH_SAVING_SECONDS = 0.0
def chunk(state, i):
    print("chunk", i, flush=True)
    time.sleep(float(sys.argv[2]))
    return state._replace(params=state.params + 1), Measured(1.0, 1.0, 1.0)
module.fit(
    Learning(np.zeros(2), (), np.zeros(())), chunk, 6, evaluate=lambda state: {}, every=6, score=None,
    console=Console(quiet=True), title="small", folder=Path(sys.argv[1]), config={},
)
print("finished")
"""


# Signals that whoever runs the tests ignores (nohup, a job in the background) would be ignored below, too.
HEARING = "import signal\nfor number in (signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_DFL)\n"


def started(code: str, *arguments: str, **environment: str) -> subprocess.Popen:
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", HEARING + code, *arguments]
    return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(process: subprocess.Popen, pattern: str) -> None:
    for line in process.stdout:
        if re.search(pattern, line):
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize("where", [IN_PYTHON, IN_C])
@pytest.mark.parametrize("number", SIGNALS)
def test_while_importing_a_signal_ends_it_with_one_line(number, where):
    process = started(IMPORTING.format(where))
    until(process, "begun")
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (SIGNALS[number], "")
    assert printed == f"stopped by {number.name}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="begins anew for large pages")
def test_a_signal_before_the_process_begins_anew_is_heard_by_the_one_that_does():
    """Sent, and held, before exec: the second process ends by it with its first line."""
    code = "import os, signal\nfrom experiments.shared import stopping\nstopping.hold()\n"
    code += "os.kill(os.getpid(), signal.SIGTERM)\nfrom experiments.shared.begin import begin\n"
    code += "print('before', flush=True)\nbegin()\nwhile True: pass"
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 143
    assert found.stdout.splitlines() == ["before", "before", "stopped by SIGTERM"]


def test_what_was_ignored_at_the_start_stays_ignored():
    code = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nfrom experiments.shared import stopping\n"
    code += "import os, time\nstopping.attend()\nos.kill(os.getpid(), signal.SIGHUP)\ntime.sleep(0.3)\nprint('lives')"
    printed, errors = (process := started(code)).communicate(timeout=60)
    assert (process.returncode, printed, errors) == (0, "lives\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_training_finishes_its_chunk_and_saves_it(tmp_path, number):
    process = started(TRAINING, str(tmp_path), "0.5")
    until(process, "chunk 2")
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (SIGNALS[number], "")
    assert printed == f"stopped by {number.name}{stopping.KEPT}\n"
    process = started(TRAINING, str(tmp_path), "0")
    printed, _ = process.communicate(timeout=60)
    assert printed.splitlines() == ["chunk 3", "chunk 4", "chunk 5", "finished"]


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(tmp_path):
    process = started(TRAINING, str(tmp_path), "1.5")
    until(process, "chunk 1")
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - begun < 1.0


@pytest.mark.slow
def test_while_a_program_compiles(tmp_path):
    """Addition says nothing before its first chunk, and nothing of going on from there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "experiments.addition", "--num-steps", "100000"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (143, "")
    assert printed.splitlines()[-1] == "stopped by SIGTERM"


def test_in_a_process_that_does_not_attend_a_signal_raises():
    noted = []

    def run(worth):
        with stopping.patience(lambda: worth) as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            noted.append(asked())

    before = signal.getsignal(signal.SIGTERM)
    for worth in (False, True):
        with pytest.raises(stopping.Stopped) as caught:
            run(worth)
        assert caught.value.number == signal.SIGTERM
    assert noted == [signal.SIGTERM]  # where nothing is worth it, the block is left at once
    assert signal.getsignal(signal.SIGTERM) is before
