"""A sweep planned, changed as the command line says, and executed."""

import dataclasses
import re
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
from experiments.shared.provenance import command
from experiments.sweep.folder import Folder
from experiments.sweep.named import load
from experiments.sweep.plan import Plan, plan
from experiments.sweep.report import write_report
from experiments.sweep.run import run
from experiments.sweep.settings import Options
from experiments.sweep.spec import FIELDS, Sweep, parse_field
from experiments.sweep.table import live_table

SAY_EVERY_SECONDS = 30.0  # where there is no terminal to draw on


def run_sweep(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Plan a sweep, and show the plan or execute it."""
    sweep = load(options.sweep)
    sweep = adjusted(sweep.at_full_size() if options.full else sweep, options)
    folder = Folder(options.out or Path("results", options.sweep if options.full else f"{options.sweep}-quick"))
    planned = plan(sweep, frozenset(folder.runs().trial_id), options.data_dir)
    if options.dry_run:
        show_plan(console, sweep, planned)
        return
    folder.prepare(sweep, command("experiments.sweep", argv))
    execute(console, sweep, planned, folder)


def adjusted(sweep: Sweep, options: Options) -> Sweep:
    """The sweep with --set, --axis, --cell and --seeds applied.

    Raises:
      ValueError: text that is not KEY=VALUE, an unknown key, or a value of another type.
    """
    base, axes = sweep.base, dict(sweep.axes)
    axis_texts = [_key_and_values(text, "--axis") for text in options.axis]
    for key, values in axis_texts:
        if key in FIELDS:  # a value that sets other fields with it keeps doing so
            bundles = {v[key]: v for v in axes.get(key, ()) if isinstance(v, Mapping) and key in v}
            parsed = [parse_field(key, value) for value in values]
            axes[key] = [bundles.get(value, value) for value in parsed]
    for text in options.set:
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
    if options.cell:
        axes["cell"] = [*axes.get("cell", [base.cell]), *options.cell]
    if options.seeds is not None:
        axes["seed"] = range(options.seeds)
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
