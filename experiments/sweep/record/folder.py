"""A results folder on disk: written group by group, whole at every moment."""

import datetime
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.sweep.spec import Sweep, sweep_from
from experiments.sweep.trials.plan import Group
from rnnjax.files import write_whole

TEXT = {"trial_id": str, "git_commit": str}  # a commit like 12e4567 is no number
CURVES = ["trial_id", "quantity", "index", "value"]


class Folder:
    """A results folder: config.json, runs.csv, curves.parquet and the checkpoints of the group under way."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

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
        """The finished trials."""
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
        """Keep a finished group. runs.csv is written last: a trial is finished once it stands there."""
        new = pd.DataFrame(rows)
        old_curves, old_runs = self.curves(), self.runs()
        joined = pd.concat([old_curves, curves], ignore_index=True) if len(old_curves) else curves
        runs = pd.concat([old_runs, new], ignore_index=True) if len(old_runs) else new
        write_runs(self.path, runs, joined)

    def checkpoints(self, one: Group, width: int) -> Path:
        """Where a group keeps its state; at another width (another number of devices) it starts anew."""
        return self.path / "checkpoints" / f"{one.id}-{width}"

    def forget_checkpoints(self) -> None:
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}; delete it or give another --out") from error


def write_runs(folder: Path, runs: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Write both files whole, runs.csv last; where there is no run, there is neither."""
    paths = folder / "curves.parquet", folder / "runs.csv"
    if runs.empty:
        for path in reversed(paths):
            path.unlink(missing_ok=True)
        return
    how = {"index": False, "compression": "zstd", "write_page_checksum": True}
    write_whole(paths[0], lambda path: curves.to_parquet(path, **how))
    write_whole(paths[1], lambda path: runs.to_csv(path, index=False))
