"""A results folder on disk: written group by group, whole at every moment."""

import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.sweep.spec import Sweep, sweep_from

TEXT = {"trial_id": str, "git_commit": str}  # a commit like 12e4567 is no number
CURVES = ["trial_id", "quantity", "index", "value"]


class Folder:
    """A results folder: config.json, runs.csv, curves.parquet and the checkpoints of the group under way."""

    def __init__(self, path: str | os.PathLike, checkpoints: str | os.PathLike | None = None):
        """Checkpoints are in the folder itself, or in a folder of its own within `checkpoints`."""
        self.path = Path(path)
        self.checkpoints = (self.path / "checkpoints").absolute()
        if checkpoints is not None:
            absolute = self.path.absolute()
            digest = hashlib.sha256(str(absolute).encode()).hexdigest()[:8]
            self.checkpoints = Path(checkpoints).absolute() / f"{absolute.name}-{digest}"

    def prepare(self, sweep: Sweep, command: str) -> None:
        """Make the folder, or go on in it.

        Raises:
          ValueError: it cannot be written, or holds another sweep whose trials are not all among these.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".write"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ValueError(f"cannot write to the output folder {str(self.path)!r}: {error.strerror}") from error
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot write checkpoints to {str(self.checkpoints)!r}: {error.strerror}") from error
        config = self.path / "config.json"
        today = datetime.date.today().isoformat()
        if config.exists():
            old = _read_config(config)
            self._refuse_a_changed_spec(sweep, old)
            today = old["date"]
        content = {**sweep.describe(), "command": command, "date": today}
        _write(config, json.dumps(content, indent=2) + "\n")

    def _refuse_a_changed_spec(self, sweep: Sweep, old: dict[str, Any]) -> None:
        before = sweep_from(old)
        gone = {trial.id for trial in before.trials()} - {trial.id for trial in sweep.trials()}
        fewer = set(before.report_seeds) - set(sweep.report_seeds)
        if not gone and not fewer:
            return
        new = sweep.describe()
        lines = []
        for part in ("base", "axes"):
            for name in dict.fromkeys([*old[part], *new[part]]):
                there, now = old[part].get(name, "absent"), new[part].get(name, "absent")
                if there != now:
                    lines.append(f"  {part} {name}: {there} there, {now} now")
        if fewer:
            lines.append(f"  seeds that report: {list(before.report_seeds)} there, {list(sweep.report_seeds)} now")
        what = f"{len(gone)} of its trials" if gone else f"{len(fewer)} of its seeds that report"
        raise ValueError(
            f"{str(self.path)!r} holds another sweep: {what} are not in this one.\n"
            + "\n".join(lines)
            + "\nGive another --out, or delete that folder. (Adding trials to a sweep is allowed.)"
        )

    def runs(self) -> pd.DataFrame:
        """The finished trials, and those that failed (see `finished`)."""
        path = self.path / "runs.csv"
        return pd.read_csv(path, dtype=TEXT) if path.exists() else pd.DataFrame({"trial_id": []})

    def curves(self) -> pd.DataFrame:
        """The curves of the finished trials."""
        path = self.path / "curves.parquet"
        if not path.exists():
            return pd.DataFrame({name: [] for name in CURVES})
        curves = pd.read_parquet(path)
        return curves[curves.trial_id.isin(set(self.runs().trial_id))]

    def add(self, rows: list[dict[str, Any]], curves: pd.DataFrame) -> None:
        """Keep a finished group. runs.csv is written last: a trial is finished once it stands there.

        Its rows take the place of those that say an earlier attempt at it failed.
        """
        new = pd.DataFrame(rows)
        old_curves, old_runs = self.curves(), self.runs()
        old_runs = old_runs[~old_runs.trial_id.isin(new.trial_id)]
        joined = pd.concat([old_curves, curves], ignore_index=True) if len(old_curves) else curves
        _write_with(self.path / "curves.parquet", lambda path: joined.to_parquet(path, index=False, compression="zstd"))
        self._write_runs(pd.concat([old_runs, new], ignore_index=True) if len(old_runs) else new)

    def arrange(self, ids: Iterable[str]) -> None:
        """Put the rows in this order, those of other trials last."""
        place = {trial_id: position for position, trial_id in enumerate(ids)}
        runs = self.runs()
        self._write_runs(runs.sort_values("trial_id", key=lambda column: column.map(place), kind="stable"))

    def _write_runs(self, runs: pd.DataFrame) -> None:
        _write_with(self.path / "runs.csv", lambda path: runs.to_csv(path, index=False))

    def forget_checkpoints(self) -> None:
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def finished(runs: pd.DataFrame) -> frozenset[str]:
    """The ids of the trials that need not run again: those that failed on a cluster, whose rows say so, will."""
    return frozenset(runs.trial_id if "error" not in runs else runs.trial_id[runs.error.isna()])


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}; delete it or give another --out") from error


def _write(path: Path, text: str) -> None:
    _write_with(path, lambda unfinished: unfinished.write_text(text))


def _write_with(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the file and rename into its place, so that it is always whole."""
    unfinished = path.with_name(path.name + ".unfinished")
    write(unfinished)
    os.replace(unfinished, path)
