"""A sweep under way: the table as it fills, what each machine is at, and the time left; lines where none is drawn."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rich.console import Console, Group as Lines
from rich.live import Live
from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from experiments.sweep.run import Progress
from experiments.sweep.trials.plan import Plan

SAY_EVERY_SECONDS = 30.0  # where there is no terminal to draw on
TABLE_EVERY_SECONDS = 1.0  # it is made anew from all rows


class Drawing:
    """What is shown while the groups of a plan run, one after another or many at once."""

    def __init__(self, console: Console, planned: Plan, table: Callable[[], Table]):
        texts = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._console, self._planned, self._table = console, planned, table
        self._total = sum(planned.seconds(one) for one in planned.groups)
        self._reached = 0.0  # of all
        self._reached_of: dict[str, float] = {}  # by group, of its seconds
        self._under_way: dict[str, Progress] = {}  # by group, on a cluster
        self._bar = Bar(*texts, console=console)
        self._row = self._bar.add_task("compiling", total=self._total)
        self._finished = table()
        self._live = Live(self._lines(), console=console, refresh_per_second=4) if console.is_terminal else None
        self._started = self._said = self._made = time.perf_counter()

    def __enter__(self) -> "Drawing":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live:
            self._finished = self._table()
            self._live.update(self._lines())
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Take in what a group has come to."""
        one = progress.group
        share = 1.0 if progress.finished else progress.step / one.trials[0].num_steps
        reached = share * self._planned.seconds(one)
        self._reached += reached - self._reached_of.get(one.id, 0.0)
        self._reached_of[one.id] = reached
        if progress.result is not None and progress.result.error:
            self._console.print(f"failed: {one.title}: {progress.result.error}", style="red", markup=False)
        if progress.finished:
            self._under_way.pop(one.id, None)
        elif progress.node:
            self._under_way[one.id] = progress
        self._draw(progress) if self._live else self._say(progress)

    def _draw(self, progress: Progress) -> None:
        self._bar.update(self._row, completed=self._reached, description=progress.group.title)
        if progress.finished and time.perf_counter() - self._made > TABLE_EVERY_SECONDS:
            self._finished = self._table()
            self._made = time.perf_counter()
        if progress.finished or progress.node:
            assert self._live is not None
            self._live.update(self._lines())

    def _say(self, progress: Progress) -> None:
        now = time.perf_counter()
        if not progress.finished and now - self._said <= SAY_EVERY_SECONDS:
            return
        self._said = now
        share = self._reached / self._total
        left = str(timedelta(seconds=round((now - self._started) * (1 - share) / share))) if share > 0 else "unknown"
        where = f"step {progress.step}"
        if progress.result is not None:
            where = "failed" if progress.result.error else "finished"
        on = f" on {progress.node}" if progress.node else ""
        self._console.print(f"{share:4.0%}, left {left}: {progress.group.title}, {where}{on}", markup=False)

    def _lines(self) -> Lines:
        """The table, the groups under way by machine, and the bar."""
        if not self._under_way:
            return Lines(self._finished, self._bar)
        machines = Table("machine", "group", "step")
        for progress in sorted(self._under_way.values(), key=lambda one: one.node):
            step = f"{progress.step} of {progress.group.trials[0].num_steps}"
            machines.add_row(Text(progress.node), Text(progress.group.title), step)
        return Lines(self._finished, machines, self._bar)
