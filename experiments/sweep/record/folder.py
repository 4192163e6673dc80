"""A results folder on disk: written group by group, whole at every moment."""

import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.sweep.spec import Sweep, sweep_from
from experiments.sweep.tables.table import failed
from rnnjax.files import write_whole

TEXT = {"trial_id": str, "git_commit": str}  # a commit like 12e4567 is no number
CURVES = ["trial_id", "quantity", "index", "value"]


class Folder:
    """A results folder: config.json, runs.csv, curves.parquet and the checkpoints of the groups under way."""

    def __init__(self, path: str | os.PathLike, checkpoints: str | os.PathLike | None = None):
        """Checkpoints are in the folder itself, or in one of its own within `checkpoints`.

        `held` are the folders for `one_writer` to hold.
        """
        self.path = Path(path)
        self.checkpoints = (self.path / "checkpoints").absolute()
        self.held = [self.path]
        if checkpoints is not None:
            absolute = self.path.absolute()
            digest = hashlib.sha256(str(absolute).encode()).hexdigest()[:8]
            self.checkpoints = Path(checkpoints).absolute() / f"{absolute.name}-{digest}"
            self.held.append(self.checkpoints)

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
        config = self.path / "config.json"
        today = datetime.date.today().isoformat()
        if config.exists():
            old = _read_config(config)
            self._refuse_a_changed_spec(sweep, old)
            today = old["date"]
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot write checkpoints to {str(self.checkpoints)!r}: {error.strerror}") from error
        content = {**sweep.describe(), "command": command, "date": today}
        write_whole(config, json.dumps(content, indent=2) + "\n")

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
        """The finished trials, and those that failed."""
        path = self.path / "runs.csv"
        return pd.read_csv(path, dtype=TEXT) if path.exists() else pd.DataFrame({"trial_id": []})

    def curves(self) -> pd.DataFrame:
        """The curves of the finished trials."""
        path = self.path / "curves.parquet"
        if not path.exists():
            return pd.DataFrame({name: [] for name in CURVES})
        curves, runs = pd.read_parquet(path), self.runs()
        return curves[curves.trial_id.isin(set(runs.trial_id[~failed(runs)]))]

    def add(self, rows: list[dict[str, Any]], curves: pd.DataFrame) -> None:
        """Keep finished groups. runs.csv is written last: a trial is finished once it stands there.

        Its row takes the place of one that says an earlier attempt at it failed.
        """
        new = pd.DataFrame(rows)
        runs = self.runs()
        runs = _joined(runs[~runs.trial_id.isin(new.trial_id)], new)
        if not failed(runs).any():  # any more
            runs = runs.drop(columns="error", errors="ignore")
        write_runs(self.path, runs, _joined(self.curves(), curves))

    def arrange(self, ids: Iterable[str]) -> None:
        """Put the rows in this order, those of other trials last."""
        place = {trial_id: position for position, trial_id in enumerate(ids)}
        runs = self.runs()
        runs = runs.sort_values("trial_id", key=lambda column: column.map(place), kind="stable")
        write_runs(self.path, runs, self.curves())

    def forget_checkpoints(self) -> None:
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}; delete it or give another --out") from error


def _joined(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([old, new], ignore_index=True) if len(old) and len(new) else new if len(new) else old


def write_runs(folder: Path, runs: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Write both files whole, runs.csv last; where there is no run, there is neither, nor a file of no curve."""
    paths = folder / "curves.parquet", folder / "runs.csv"
    if runs.empty:
        for path in reversed(paths):
            path.unlink(missing_ok=True)
        return
    how = {"index": False, "compression": "zstd", "write_page_checksum": True}
    if len(curves):
        write_whole(paths[0], lambda path: curves.to_parquet(path, **how))
    write_whole(paths[1], lambda path: runs.to_csv(path, index=False))
    if curves.empty:  # all of them failed
        paths[0].unlink(missing_ok=True)
