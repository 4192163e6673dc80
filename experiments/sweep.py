"""python -m experiments.sweep [NAME]: run a sweep, or go on with it, and leave a table."""

import argparse
import dataclasses
import importlib
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import jax
from rich.console import Console, Group as Lines
from rich.live import Live
from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from experiments.folder import Folder
from experiments.report import write_report
from experiments.runner import Plan, plan, run
from experiments.spec import FIELDS, Sweep, as_fields, parse_field, with_options
from experiments.table import live_table
from rnnjax.errors import unknown

DEFAULT = "lstm_gates"
SAY_EVERY_SECONDS = 30.0  # where there is no terminal to draw on


SWEEPS = ("lstm_gates", "forget_bias", "gru_gates", "mnist_pixels")  # each a file of this folder that holds a SWEEP


def load(name: str) -> Sweep:
    """The SWEEP of this name."""
    if name not in SWEEPS:
        raise ValueError(unknown("sweep", name, SWEEPS))
    return importlib.import_module(f"experiments.{name}").SWEEP


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m experiments.sweep", description=__doc__)
    p.add_argument("name", nargs="?", default=DEFAULT, help=f"the sweep to run (default {DEFAULT}); --list shows all")
    p.add_argument("--list", action="store_true", help="list the sweeps and what they ask")
    p.add_argument("--dry-run", action="store_true", help="show the trials, their number and a cost estimate, and stop")
    p.add_argument("--full", action="store_true", help="at the size that is reported, not the quick one")
    several = {"nargs": "+", "default": [], "action": "extend"}
    set_help = "set a field of every trial, or an option of every cell"
    p.add_argument("--set", **several, metavar="KEY=VALUE", help=set_help)
    axis_help = "run every one of these values, in place of the axis of that name"
    p.add_argument("--axis", **several, metavar="KEY=V1,V2", help=axis_help)
    cell_help = "one more cell in the table: a name, or my_module:my_factory; options as in lstm:forget_bias=2"
    p.add_argument("--cell", action="append", default=[], metavar="CELL", help=cell_help)
    p.add_argument("--seeds", type=int, metavar="N", help="seeds 0..N-1")
    p.add_argument("--out", metavar="DIR", help="results folder (default results/NAME-quick, with --full results/NAME)")
    p.add_argument("--data-dir", metavar="DIR", help="folder of data sets in the Hub's layout (default: the Hub)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    console = Console(highlight=False)
    sys.path.insert(0, os.getcwd())  # where --cell my_module:my_factory is looked for
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    try:
        if args.list:
            list_sweeps(console)
            return 0
        sweep = load(args.name)
        sweep = adjusted(sweep.at_full_size() if args.full else sweep, args)
        folder = Folder(args.out or os.path.join("results", args.name if args.full else f"{args.name}-quick"))
        planned = plan(sweep, frozenset(folder.runs().trial_id), args.data_dir)
        if args.dry_run:
            show_plan(console, sweep, planned)
            return 0
        folder.prepare(sweep, command(sys.argv[1:] if argv is None else argv))
    except ValueError as error:
        console.print("error:", str(error), style="red", markup=False)
        return 2
    return execute(console, sweep, planned, folder)


def list_sweeps(console: Console) -> None:
    for name in SWEEPS:
        sweep = load(name)
        sizes = f"{len(sweep.trials())} trials, with --full {len(sweep.at_full_size().trials())}"
        console.print(f"[bold]{name}[/bold]  ({sizes})\n    {sweep.question}")


def adjusted(sweep: Sweep, args: argparse.Namespace) -> Sweep:
    """The sweep with --set, --axis, --cell and --seeds applied.

    Raises:
      ValueError: text that is not KEY=VALUE, an unknown key, or a value of another type.
    """
    base, axes = sweep.base, dict(sweep.axes)
    for text in args.set:
        key, (value,) = _key_and_values(text, "--set", most=1)
        if key in FIELDS:
            parsed = parse_field(key, value)
            axes.pop(key, None)
            base = dataclasses.replace(base, **{key: parsed})
            axes = {axis: [_with_field(as_fields(axis, v), key, parsed) for v in vs] for axis, vs in axes.items()}
        else:
            axes["cell"] = [with_options(cell, {key: value}) for cell in axes.get("cell", [base.cell])]
    for text in args.axis:
        key, values = _key_and_values(text, "--axis")
        if key in FIELDS:
            axes[key] = [parse_field(key, value) for value in values]
        else:
            cells = axes.get("cell", [base.cell])
            axes["cell"] = [with_options(cell, {key: value}) for cell in cells for value in values]
    if args.cell:
        axes["cell"] = [*axes.get("cell", [base.cell]), *args.cell]
    if args.seeds is not None:
        if args.seeds < 1:
            raise ValueError(f"--seeds {args.seeds} must be at least 1")
        axes["seed"] = range(args.seeds)
    return dataclasses.replace(sweep, base=base, axes=axes)


def _with_field(fields: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {**fields, key: value} if key in fields else fields


def _key_and_values(text: str, option: str, most: int | None = None) -> tuple[str, list[str]]:
    """("seq_len", ["50", "100"]) from "seq_len=50,100"; commas inside brackets do not part values."""
    key, equals, rest = text.partition("=")
    values = [rest] if most == 1 else re.split(r",(?![^()]*\))", rest)
    if not equals or not key or not all(values):
        raise ValueError(f"{option} takes KEY=VALUE, got {text!r}")
    return key.strip(), [value.strip() for value in values]


def command(argv: Sequence[str]) -> str:
    """The command as it is recorded: without --data-dir, which differs from machine to machine."""
    kept, skip = [], False
    for word in argv:
        if skip or word.startswith("--data-dir"):
            skip = word == "--data-dir"
            continue
        kept.append(word)
    return shlex.join(["python", "-m", "experiments.sweep", *kept])


def show_plan(console: Console, sweep: Sweep, planned: Plan) -> None:
    """The trials by program, their number and what they may cost."""
    table = Table("program", "trials", "parameters", "about", title=f"{sweep.name}: {sweep.question}")
    for one in planned.groups:
        about = str(timedelta(seconds=round(planned.seconds(one))))
        table.add_row(one.title, str(len(one.trials)), str(one.num_params), about)
    console.print(table)
    for axis, values in sweep.axes.items():
        console.print(f"{axis}: {', '.join(map(str, values))}", markup=False)
    seconds = sum(planned.seconds(one) for one in planned.groups)
    done = len(sweep.trials()) - planned.num_trials
    console.print(
        f"{planned.num_trials} trials in {len(planned.groups)} programs, about {timedelta(seconds=round(seconds))} "
        f"on a small machine with 2 cores; {done} finished already"
    )


def execute(console: Console, sweep: Sweep, planned: Plan, folder: Folder) -> int:
    """Run what is left, showing the table as it fills, and write the report."""
    wanted = {trial.id for trial in sweep.trials()}
    total = sum(planned.seconds(one) for one in planned.groups)
    console.print(f"{len(wanted)} trials, {len(wanted) - planned.num_trials} of them finished already; {folder.path}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=console)
    task = bar.add_task("starting", total=total)
    live = Live(bar, console=console, refresh_per_second=4) if console.is_terminal else nullcontext()
    done = 0.0
    started = said = time.perf_counter()
    try:
        with live:
            for progress in run(planned, folder):
                one = progress.group
                share = progress.step / one.trials[0].num_steps
                bar.update(task, completed=done + share * planned.seconds(one), description=one.title)
                if progress.finished:
                    done += planned.seconds(one)
                    share = 0.0
                    if console.is_terminal:
                        live.update(Lines(live_table(folder.runs()), bar))
                if not console.is_terminal and (progress.finished or time.perf_counter() - said > SAY_EVERY_SECONDS):
                    said = time.perf_counter()
                    reached = done + share * planned.seconds(one)
                    left = timedelta(seconds=round((said - started) / reached * (total - reached)))
                    where = "finished" if progress.finished else f"step {progress.step}"
                    console.print(f"{reached / total:4.0%}, left {left}: {one.title}, {where}", markup=False)
    except KeyboardInterrupt:
        console.print(f"\nstopped; what is finished is in {folder.path}, and the same command goes on from here")
        return 130
    report = write_report(folder.path)
    console.print(live_table(folder.runs()))
    console.print(f"table, plots and report: {report}\none row per trial and seed: {folder.path / 'runs.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
