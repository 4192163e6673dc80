"""python -m experiments.bench.worker SYSTEM: a process of one system that does what it is asked over a pipe.

Requests come as JSON, a line each, on standard input; the answers go to standard output in the same form. A process
that waits reads a line and uses no processor. The other end is in asking.py.

    {"do": "about"}                                    -> {"versions": "torch 2.13.0"}
    {"do": "prepare", "mode": "train", "cell": ...}    -> {"settings": {name: {"compile_seconds", "temporary_mb",
                                                            "seconds" of one call}}}
    {"do": "time", "setting": name, "calls": 3}        -> {"seconds": [..]}
    {"do": "sweep", ...}                               -> see experiments/bench/sweep_work.py

What fails is answered by {"error": "ValueError: ..."}, and the process goes on.
"""

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from experiments.bench.systems import prepare, versions
from experiments.bench.work import Timed, Work


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
        from experiments.bench.sweep_work import run

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


if __name__ == "__main__":
    sys.exit(main())
