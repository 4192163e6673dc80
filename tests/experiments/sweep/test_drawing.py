"""A sweep under way: one table of all machines, one time that is left."""

import io
import re

from rich.console import Console
from rich.table import Table

from experiments.sweep import drawing
from experiments.sweep.cluster.groups import failed_result
from experiments.sweep.drawing import Drawing
from experiments.sweep.run import Progress
from experiments.sweep.spec import Trial
from experiments.sweep.trials.plan import Group, Plan
from rnnjax.tasks import make_task

GROUPS = tuple(Group((Trial(seq_len=5, cell=cell, num_steps=100, eval_every=10),), 62) for cell in ("elman", "gru"))
PLANNED = Plan(GROUPS, {("recall", 5): make_task("recall", 5)})


def shown(*progress, terminal):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, highlight=False)
    with Drawing(console, PLANNED, lambda: Table("variant", title="so far")) as under_way:
        for one in progress:
            under_way.show(one)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue())


def test_a_terminal_shows_what_each_machine_is_at():
    both = [
        Progress(one, step, node=node) for one, step, node in zip(GROUPS, (30, 70), ("far 1", "near 2"), strict=True)
    ]
    last = shown(*both, terminal=True).split("so far")[-1]
    assert re.search(r"far 1 +│ recall T=5: elman \(1 trials\) +│ 30 of 100", last)
    assert re.search(r"near 2 +│ recall T=5: gru \(1 trials\) +│ 70 of 100", last)
    assert re.search(r"0:00:0\d left [\d:-]+", last)

    ended = Progress(GROUPS[0], 100, failed_result(GROUPS[0], PLANNED, "ValueError: no"), node="far 1")
    last = shown(*both, ended, terminal=True)
    assert "failed: recall T=5: elman (1 trials): ValueError: no" in last
    assert "far 1" not in last.split("so far")[-1]
    assert "near 2" in last.split("so far")[-1]


def test_lines_tell_of_the_share_that_is_done_and_the_time_left(monkeypatch):
    monkeypatch.setattr(drawing, "SAY_EVERY_SECONDS", 0.0)
    begun, half = (Progress(GROUPS[0], step, node="far 1") for step in (0, 50))
    failed = Progress(GROUPS[0], 100, failed_result(GROUPS[0], PLANNED, "ValueError: no"))
    lines = shown(begun, half, Progress(GROUPS[0], 0, node="near 2"), failed, terminal=False).splitlines()
    assert lines[0] == "  0%, left unknown: recall T=5: elman (1 trials), step 0 on far 1"
    assert re.fullmatch(r" 25%, left 0:00:\d\d: recall T=5: elman \(1 trials\), step 50 on far 1", lines[1])
    assert lines[2].startswith("  0%, left unknown")  # its machine was lost, and it begins again
    assert lines[3:] == [
        "failed: recall T=5: elman (1 trials): ValueError: no",
        " 50%, left 0:00:00: recall T=5: elman (1 trials), failed",
    ]
