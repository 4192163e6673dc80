"""Going on in a results folder: what it holds is checked before anything runs, and with --repair made whole."""

import shlex
from pathlib import Path

from rich.console import Console

from experiments.shared.csv_rows import put_aside, told
from experiments.sweep.record.checked import Checked, check
from experiments.sweep.record.folder import write_runs
from experiments.sweep.spec import Sweep
from experiments.sweep.tables.table import failed

REPAIR = "--repair"


def finished_trials(
    console: Console, folder: Path, sweep: Sweep, command: str, *, repair: bool = False, dry: bool = False
) -> frozenset[str]:
    """The ids of a folder's finished trials, all it holds being whole. Those that failed are to be run again.

    Args:
      console: where it is said what was folded or put aside.
      folder: a results folder; held by this process (`one_writer`) unless `dry`.
      sweep: what is to be run.
      command: what was called, for the message that says how to repair.
      repair: whether damaged files are put aside, as NAME.damaged-1, and what is whole in them is kept. What is then
        missing is what is to be run.
      dry: whether nothing is to be changed, whatever is found.

    Raises:
      ValueError: something is damaged, and not to be repaired: file and line of each damage are named.
      OSError: a file may not be read, or not be written.
    """
    found = check(folder, sweep)
    damaged = bool(found.damage or found.sign)
    if damaged and not (repair and not dry):
        raise ValueError(_refusal(folder, found, command))
    if damaged:
        _refuse_another_sweep(folder, found, sweep)
    if found.folded:
        console.print(
            f"{folder / 'runs.csv'}: {found.folded} rows say again what others say; each trial counts once",
            markup=False,
        )
    if (damaged or found.folded) and not dry:
        _make_whole(console, folder, found)
    return frozenset(found.runs["trial_id"][~failed(found.runs)])


def _refusal(folder: Path, found: Checked, command: str) -> str:
    again = shlex.join([*shlex.split(command), REPAIR])
    kept = (
        f"{len(found.runs)} trials are whole. `{again}` keeps them, puts what is damaged aside under another name, and "
    )
    kept += "runs what is missing; nothing was run or changed now."
    if not found.sign:
        return f"{folder} is damaged:\n{told(found.damage)}\n{kept}"
    first = (
        f"{folder / 'runs.csv'} was saved by a spreadsheet ({found.sign}), which rounds numbers and writes them anew."
    )
    details = f"\n{told(found.damage)}" if found.damage else ""
    return f"{first}\nBring back the file that the sweep wrote, if it is anywhere.{details}\nOtherwise: {kept}"


def _refuse_another_sweep(folder: Path, found: Checked, sweep: Sweep) -> None:
    """Where config.json is lost the rows alone say whose they are: a folder of none of this sweep's is not repaired."""
    lost = any(one.file.name == "config.json" for one in found.damage)
    strange = [one for one in found.damage if "of no trial of this sweep" in one.what]
    if lost and strange:
        raise ValueError(
            f"{folder / 'config.json'} does not say which sweep this is, and {len(strange)} rows are not of "
            f"{sweep.name!r} as it is called now; give the command that ran them, or another --out:\n{told(strange)}"
        )


def _make_whole(console: Console, folder: Path, found: Checked) -> None:
    """Put aside every file that is damaged, and write what is whole of it."""
    config, *both = (folder / name for name in ("config.json", "curves.parquet", "runs.csv"))
    damaged = {one.file for one in found.damage}
    if found.sign or found.folded or damaged.intersection(both):  # curves go with their rows
        damaged.update(both)
    for path in sorted(damaged):
        if path.exists():
            console.print(f"{path} as it was: {put_aside(path).name}", markup=False)
    if found.damage:
        console.print(f"{told(found.damage)}\n{len(found.runs)} trials are whole, and kept", markup=False)
    write_runs(folder, found.runs, found.curves)
    if config in damaged:
        config.unlink(missing_ok=True)  # what is run writes it anew
