"""A sweep planned and executed."""

import dataclasses
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments.shared.provenance import command
from experiments.sweep.adjust import adjusted
from experiments.sweep.drawing import Drawing
from experiments.sweep.folder import Folder, finished
from experiments.sweep.named import load
from experiments.sweep.plan import Plan, plan
from experiments.sweep.report import write_report
from experiments.sweep.run import Runner, run
from experiments.sweep.settings import Options
from experiments.sweep.spec import Sweep, Trial
from experiments.sweep.stages import plan_report, report_trials
from experiments.sweep.table import live_table


def run_sweep(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Plan a sweep, and show the plan or execute it."""
    sweep = load(options.sweep)
    sweep = adjusted(sweep.at_full_size() if options.full else sweep, options)
    folder = Folder(
        options.out or Path("results", options.sweep if options.full else f"{options.sweep}-quick"), options.checkpoints
    )
    planned = plan(sweep, finished(folder.runs()), options.data_dir)
    if options.dry_run:
        show_plan(console, sweep, planned, folder.runs())
        return
    folder.prepare(sweep, command("experiments.sweep", argv))
    if options.ray is None:
        execute(console, sweep, planned, folder)
        return
    from experiments.sweep.cluster import cluster

    with cluster(options) as runner:
        execute(console, sweep, planned, folder, runner=runner)


def show_plan(console: Console, sweep: Sweep, planned: Plan, runs: pd.DataFrame) -> None:
    """The trials by program, their number and what they may cost; in a sweep of two stages, of both."""
    table = Table("program", "trials", "parameters", "about", title=f"{sweep.name}: {sweep.question}")
    stages = [planned, *([plan_report(sweep, runs, planned.tasks)] if sweep.report_seeds else [])]
    num_trials = len(sweep.trials()) + sum(map(len, report_trials(sweep, runs)))
    for stage in stages:
        for one in stage.groups:
            about = str(timedelta(seconds=round(stage.seconds(one))))
            title = one.title if stage.stage == "both" else f"{stage.stage}: {one.title}"
            table.add_row(title, str(len(one.trials)), str(one.num_params), about)
    console.print(table)
    for axis, values in sweep.axes.items():
        console.print(f"{axis}: {', '.join(map(str, values))}", markup=False)
    if sweep.report_seeds:
        texts = (f"{sum(len(one.trials) for one in stage.groups)} trials {stage.stage}" for stage in stages)
        console.print(", ".join(texts) + "; trials that stop once they have solved their task cost less than is said")
    left = sum(stage.num_trials for stage in stages)
    seconds = sum(stage.seconds(one) for stage in stages for one in stage.groups)
    console.print(
        f"{left} trials in {sum(len(stage.groups) for stage in stages)} programs, about "
        f"{timedelta(seconds=round(seconds))} on a small machine with 2 cores; {num_trials - left} finished already"
    )


def execute(
    console: Console,
    sweep: Sweep,
    planned: Plan,
    folder: Folder,
    make_report: Callable[[Path], Path] = write_report,
    runner: Runner | None = None,
) -> None:
    """Run what is left, here or by a runner, showing the table as it fills, and write the report."""
    wanted = first = _wanted(sweep.trials(), planned)
    _run_stage(console, planned, folder, wanted, sweep.metric, runner)
    if sweep.report_seeds:
        planned = plan_report(sweep, folder.runs(), planned.tasks)
        wanted = _wanted(report_trials(sweep, folder.runs())[0], planned)
        _run_stage(console, planned, folder, wanted, sweep.metric, runner)
    folder.forget_checkpoints()  # of both stages, now that none is under way
    if runner is not None:  # which of them ended first is chance
        folder.arrange(dict.fromkeys([*first.trial_id, *wanted.trial_id]))
    report = make_report(folder.path)
    if not console.is_terminal:
        console.print(live_table(folder.runs(), wanted, sweep.metric))
    console.print(f"table, plots and report: {report}\none row per trial and seed: {folder.path / 'runs.csv'}")


def _wanted(trials: Sequence[Trial], planned: Plan) -> pd.DataFrame:
    """The trials of a stage, finished or not, as rows for the table."""
    return pd.DataFrame(
        {
            **dataclasses.asdict(trial),
            "seq_len": planned.tasks[trial.task, trial.seq_len].seq_len,
            "variant": trial.variant,
            "trial_id": trial.id,
        }
        for trial in trials
    )


def _run_stage(
    console: Console, planned: Plan, folder: Folder, wanted: pd.DataFrame, metric: str, runner: Runner | None
) -> None:
    """Run what is left of a stage, with a bar and the table where they can be drawn, else with lines."""
    stage = "" if planned.stage == "both" else f"stage {planned.stage!r}: "
    done = len(wanted) - planned.num_trials
    console.print(f"{stage}{len(wanted)} trials, {done} of them finished already; {folder.path}", markup=False)
    with Drawing(console, planned, lambda: live_table(folder.runs(), wanted, metric)) as drawing:
        for progress in run(planned, folder, runner):
            drawing.show(progress)
