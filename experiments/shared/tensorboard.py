"""Scalars for TensorBoard, by tensorboardX: an extra, since most trainings are watched in the terminal.

pip install 'rnnjax[tensorboard]' tensorboard
python -m experiments.sweep --tensorboard runs   and, beside it,   tensorboard --logdir runs
"""

import importlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Board:
    """A folder with a subfolder, which TensorBoard calls a run, for each training."""

    def __init__(self, folder: Path):
        """Find the library, before anything is trained.

        Raises:
          ValueError: it is not installed, or the folder cannot be made.
        """
        try:
            self._make_writer = importlib.import_module("tensorboardX").SummaryWriter
        except ImportError:
            raise ValueError("--tensorboard needs tensorboardX: pip install 'rnnjax[tensorboard]'") from None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot write to the folder {str(folder)!r}: {error.strerror}") from error
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def add(self, run: str, step: int, scalars: Mapping[str, float]) -> None:
        """Write scalars of a run at a training step; NaN, which stands for nothing measured, is left out."""
        if run not in self._writers:
            name = re.sub(r"[^\w.=+-]+", "-", run)
            self._writers[run] = self._make_writer(logdir=str(self._folder / name), flush_secs=10)
        for label, value in scalars.items():
            if not math.isnan(value):
                self._writers[run].add_scalar(label, value, step)

    def close(self, run: str | None = None) -> None:
        """Have a run's events on disk and its file closed, or those of all runs."""
        for name in list(self._writers) if run is None else [run]:
            if name in self._writers:
                self._writers.pop(name).close()


def board_at(folder: Path | None) -> Board | None:
    """A board in the folder that --tensorboard names, if it was given."""
    return None if folder is None else Board(folder)
