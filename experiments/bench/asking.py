"""The end of a worker that asks: a process of one system, started, asked, and ended."""

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

CLOSING_SECONDS = 5.0  # for a process to end by itself
LOG_LINES = 12  # of its standard error, where it dies


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
