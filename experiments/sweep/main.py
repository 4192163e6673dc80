"""A sweep planned and executed."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments.shared.one_writer import one_writer
from experiments.shared.provenance import command
from experiments.shared.stopping import goes_on
from experiments.shared.tensorboard import Board, board_at
from experiments.sweep.adjust import adjusted
from experiments.sweep.drawing import Drawing
from experiments.sweep.named import load
from experiments.sweep.record.folder import Folder
from experiments.sweep.record.resume import REPAIR, finished_trials
from experiments.sweep.report import write_report
from experiments.sweep.run import Progress, Runner, run
from experiments.sweep.settings import SWEEPS, Options
from experiments.sweep.spec import Sweep, Trial
from experiments.sweep.tables.table import live_table
from experiments.sweep.tasks import pinned
from experiments.sweep.trials.plan import Plan, plan
from experiments.sweep.trials.stages import plan_report, report_trials


def run_sweep(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Plan a sweep, and show the plan or execute it."""
    sweep = load(options.sweep)
    name = options.sweep if options.sweep in SWEEPS else re.sub(r"[^\w.-]+", "-", sweep.name)
    sweep = pinned(adjusted(sweep.at_full_size() if options.full else sweep, options))
    folder = Folder(options.out or Path("results", name if options.full else f"{name}-quick"), options.checkpoints)
    called = command("experiments.sweep", [word for word in argv if word != REPAIR])
    if options.dry_run:
        finished = finished_trials(console, folder.path, sweep, called, dry=True)
        show_plan(console, sweep, plan(sweep, finished, options.data_dir), folder.runs())
        return
    with ExitStack() as stack:
        board = board_at(options.tensorboard)
        if board is not None:
            stack.callback(board.close)
        for held in folder.held:
            stack.enter_context(one_writer(held))
        stack.enter_context(goes_on())
        finished = finished_trials(console, folder.path, sweep, called, repair=options.repair)
        planned = plan(sweep, finished, options.data_dir)
        runner = None
        if options.ray is not None:
            from experiments.sweep.cluster.join import cluster  # an extra

            runner = stack.enter_context(cluster(console, options))
        folder.prepare(sweep, called)
        execute(console, sweep, planned, folder, board=board, runner=runner)


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
    board: Board | None = None,
    runner: Runner | None = None,
) -> None:
    """Run what is left, here or by a runner, showing the table as it fills, and write the report.

    Scalars go to a board as they come.
    """

    def run_stage(planned: Plan, wanted: pd.DataFrame) -> None:
        stage = "" if planned.stage == "both" else f"stage {planned.stage!r}: "
        done = len(wanted) - planned.num_trials
        console.print(f"{stage}{len(wanted)} trials, {done} of them finished already; {folder.path}", markup=False)
        with Drawing(console, planned, lambda: live_table(folder.runs(), wanted, sweep.metric)) as drawing:
            for progress in run(planned, folder, runner):
                if board is not None:
                    _show_on(board, progress)
                drawing.show(progress)

    wanted = first = _wanted(sweep.trials(), planned)
    run_stage(planned, wanted)
    if sweep.report_seeds:
        planned = plan_report(sweep, folder.runs(), planned.tasks)
        wanted = _wanted(report_trials(sweep, folder.runs())[0], planned)
        run_stage(planned, wanted)
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


def _show_on(board: Board, progress: Progress) -> None:
    """What was measured of every trial of a group, or that they have come to their end."""
    for place, trial in enumerate(progress.group.trials):
        if progress.measured is not None:
            values = {label: float(values[place]) for label, values in progress.measured._asdict().items()}
            board.add(trial.id, progress.step, values)
        if progress.finished:
            board.close(trial.id)
