"""python -m experiments.sweep [NAME]: run a sweep, or go on with it, and leave a table."""

import argparse
import dataclasses
import importlib
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console, Group as Lines
from rich.live import Live
from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from experiments.shared.cells import with_options
from experiments.shared.one_writer import one_writer
from experiments.shared.provenance import command
from experiments.shared.start import start
from experiments.sweep.folder import Folder
from experiments.sweep.plan import Plan, plan
from experiments.sweep.report import write_report
from experiments.sweep.resume import REPAIR, finished_trials
from experiments.sweep.run import run
from experiments.sweep.spec import FIELDS, Sweep, parse_field
from experiments.sweep.table import live_table
from rnnjax.errors import unknown

DEFAULT = "lstm_gates"
SAY_EVERY_SECONDS = 30.0  # where there is no terminal to draw on


SWEEPS = (
    "lstm_gates",
    "forget_bias",
    "gru_gates",
    "zoo",
    "mnist_pixels",
    "remedies",
    "start_map",
    "state_tracking",
)  # each a file of this folder that holds a SWEEP


def load(name: str) -> Sweep:
    """The SWEEP of this name."""
    if name not in SWEEPS:
        raise ValueError(unknown("sweep", name, SWEEPS))
    return importlib.import_module(f"experiments.{name}").SWEEP


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m experiments.sweep", description=__doc__, allow_abbrev=False)
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
    p.add_argument(
        REPAIR, action="store_true", help="put damaged files of the results folder aside, run what is missing"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    return start(run_sweep, parser(), argv, threads_per_core=4)


def run_sweep(console: Console, args: argparse.Namespace, argv: Sequence[str]) -> None:
    if args.list:
        list_sweeps(console)
        return
    sweep = load(args.name)
    sweep = adjusted(sweep.at_full_size() if args.full else sweep, args)
    folder = Folder(args.out or os.path.join("results", args.name if args.full else f"{args.name}-quick"))
    called = command("experiments.sweep", [word for word in argv if word != REPAIR])
    if args.dry_run:
        finished = finished_trials(console, folder.path, sweep, called, dry=True)
        show_plan(console, sweep, plan(sweep, finished, args.data_dir))
        return
    with one_writer(folder.path):
        finished = finished_trials(console, folder.path, sweep, called, repair=args.repair)
        planned = plan(sweep, finished, args.data_dir)
        folder.prepare(sweep, called)
        execute(console, sweep, planned, folder)


def list_sweeps(console: Console) -> None:
    for name in SWEEPS:
        sweep = load(name)
        console.print(f"[bold]{name}[/bold]  ({len(sweep.trials())} trials, more with --full)\n    {sweep.question}")


def adjusted(sweep: Sweep, args: argparse.Namespace) -> Sweep:
    """The sweep with --set, --axis, --cell and --seeds applied.

    Raises:
      ValueError: text that is not KEY=VALUE, an unknown key, or a value of another type.
    """
    base, axes = sweep.base, dict(sweep.axes)
    axis_texts = [_key_and_values(text, "--axis") for text in args.axis]
    for key, values in axis_texts:
        if key in FIELDS:  # a value that sets other fields with it keeps doing so
            bundles = {v[key]: v for v in axes.get(key, ()) if isinstance(v, Mapping) and key in v}
            parsed = [parse_field(key, value) for value in values]
            axes[key] = [bundles.get(value, value) for value in parsed]
    for text in args.set:
        key, (value,) = _key_and_values(text, "--set", most=1)
        if key in FIELDS:
            parsed = parse_field(key, value)
            axes.pop(key, None)
            base = dataclasses.replace(base, **{key: parsed})
            axes = {axis: [_with_field(v, key, parsed) for v in vs] for axis, vs in axes.items()}
        else:
            axes["cell"] = [with_options(cell, {key: value}) for cell in axes.get("cell", [base.cell])]
    for key, values in axis_texts:
        if key not in FIELDS:
            cells = axes.get("cell", [base.cell])
            axes["cell"] = [with_options(cell, {key: value}) for cell in cells for value in values]
    if args.cell:
        axes["cell"] = [*axes.get("cell", [base.cell]), *args.cell]
    if args.seeds is not None:
        if args.seeds < 1:
            raise ValueError(f"--seeds {args.seeds} must be at least 1")
        axes["seed"] = range(args.seeds)
    return dataclasses.replace(sweep, base=base, axes=axes)


def _with_field(one: Any, key: str, value: Any) -> Any:
    """A value of an axis; where it sets several fields and this one among them, with the field set anew."""
    return {**one, key: value} if isinstance(one, Mapping) and key in one else one


def _key_and_values(text: str, option: str, most: int | None = None) -> tuple[str, list[str]]:
    """("seq_len", ["50", "100"]) from "seq_len=50,100"; commas inside brackets do not part values."""
    key, equals, rest = text.partition("=")
    values = [rest] if most == 1 else re.split(r",(?![^()]*\))", rest)
    if not equals or not key or not all(values):
        raise ValueError(f"{option} takes KEY=VALUE, got {text!r}")
    return key.strip(), [value.strip() for value in values]


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


def execute(
    console: Console,
    sweep: Sweep,
    planned: Plan,
    folder: Folder,
    make_report: Callable[[Path], Path] = write_report,
) -> None:
    """Run what is left, showing the table as it fills, and write the report."""
    trials = sweep.trials()
    wanted = pd.DataFrame(
        {
            **dataclasses.asdict(trial),
            "seq_len": planned.tasks[trial.task, trial.seq_len].seq_len,
            "variant": trial.variant,
        }
        for trial in trials
    )

    def table() -> Table:
        return live_table(folder.runs(), wanted, sweep.metric)

    console.print(f"{len(trials)} trials, {len(trials) - planned.num_trials} of them finished already; {folder.path}")
    total = sum(planned.seconds(one) for one in planned.groups)
    texts = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Bar(*texts, console=console)
    task = bar.add_task("compiling", total=total)
    drawing = console.is_terminal
    live = Live(Lines(table(), bar), console=console, refresh_per_second=4) if drawing else nullcontext()
    done = 0.0
    started = said = time.perf_counter()
    with live:
        for progress in run(planned, folder):
            one = progress.group
            done += planned.seconds(one) * progress.finished
            reached = done + planned.seconds(one) * (progress.step / one.trials[0].num_steps) * (not progress.finished)
            bar.update(task, completed=reached, description=one.title)
            now = time.perf_counter()
            if drawing and progress.finished:
                live.update(Lines(table(), bar))
            elif not drawing and (progress.finished or now - said > SAY_EVERY_SECONDS):
                said = now
                left = timedelta(seconds=round((now - started) / reached * (total - reached)))
                where = "finished" if progress.finished else f"step {progress.step}"
                console.print(f"{reached / total:4.0%}, left {left}: {one.title}, {where}", markup=False)
    report = make_report(folder.path)
    if not drawing:
        console.print(table())
    console.print(f"table, plots and report: {report}\none row per trial and seed: {folder.path / 'runs.csv'}")


if __name__ == "__main__":
    sys.exit(main())
