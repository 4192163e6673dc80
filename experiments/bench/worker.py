"""python -m experiments.bench.worker SYSTEM: a process of one system that does what it is asked over a pipe.

Requests come as JSON, a line each, on standard input; the answers go to standard output in the same form. A process
that waits reads a line and uses no processor. Both ends are here.

    {"do": "about"}                                    -> {"versions": "torch 2.13.0"}
    {"do": "prepare", "mode": "train", "cell": ...}    -> {"settings": {name: {"compile_seconds", "temporary_mb",
                                                            "seconds" of one call}}}
    {"do": "time", "setting": name, "calls": 3}        -> {"seconds": [..]}
    {"do": "sweep", ...}                               -> see experiments/bench/sweep_program.py

What fails is answered by {"error": "ValueError: ..."}, and the process goes on.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from experiments.bench.systems import prepare, versions
from experiments.bench.work import Timed, Work

CLOSING_SECONDS = 5.0  # for a process to end by itself
LOG_LINES = 12  # of its standard error, where it dies


# --- the process ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    (system,) = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks; with it the pipe closes
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print does not mix with the answers
    serve(system, sys.stdin, answers)
    return 0


def serve(system: str, requests: Iterable[str], answers: TextIO) -> None:
    """Answer every request, until there are no more."""
    prepared: dict[str, Timed] = {}
    for line in requests:
        try:
            answer = _answer(system, json.loads(line), prepared)
        except Exception as error:  # whatever a library raises is for the other end to judge
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _answer(system: str, request: dict[str, Any], prepared: dict[str, Timed]) -> dict[str, Any]:
    what = request.pop("do")
    if what == "about":
        return {"versions": versions(system)}
    if what == "prepare":
        prepared.clear()
        gc.collect()  # the arrays of the work before
        prepared |= prepare(system, Work(**request))
        return {"settings": {setting: _first_calls(timed) for setting, timed in prepared.items()}}
    if what == "time":
        call = prepared[request["setting"]].call
        call()  # caches and threads as they are after a pause
        return {"seconds": [_seconds(call) for _ in range(request["calls"])]}
    if what == "sweep":
        from experiments.bench.sweep_program import run

        return run(system, **request)
    raise ValueError(f"unknown request {what!r}")


def _first_calls(timed: Timed) -> dict[str, Any]:
    timed.call()  # the first one may still set things up
    compiled = {"compile_seconds": timed.compile_seconds, "temporary_mb": timed.temporary_mb}
    return {**compiled, "seconds": _seconds(timed.call)}


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


# --- the other end ----------------------------------------------------------------------------------------------------


class Worker:
    """A process of one system. `ask` sends a request and waits for its answer; `send` and `answer` are its halves."""

    def __init__(self, system: str):
        self.system = system
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.bench.worker", system],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        self.send(do, **request)
        return self.answer()

    def send(self, do: str, **request: Any) -> None:
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            self._mourn()

    def answer(self) -> dict[str, Any]:
        """The answer to the request sent first of those not answered.

        Raises:
          OSError: the process has ended.
        """
        line = self._process.stdout.readline()
        if not line:
            self._mourn()
        return json.loads(line)

    def _mourn(self) -> None:
        code = self._process.wait()
        self._log.seek(0)
        last = "".join(self._log.readlines()[-LOG_LINES:])
        raise OSError(f"the process of {self.system} ended with exit code {code}:\n{last}")

    def close(self) -> None:
        """End the process: it does so by itself when there are no more requests."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


if __name__ == "__main__":
    sys.exit(main())
