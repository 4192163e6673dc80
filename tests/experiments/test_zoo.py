"""The zoo: sizes that make cells equal, the ranking, and the README's table of cells."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments import zoo
from experiments.shared.equal_size import equal_size, num_params
from experiments.sweep.tables.table import summary
from experiments.zoo import reading as zoo_report, table_of_cells as cell_table
from rnnjax.cells import CELLS

README = Path(__file__).parents[2] / "rnnjax" / "cells" / "README.md"


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "indrnn"])
def test_no_other_size_is_nearer_to_the_wanted_number_of_parameters(cell):
    size = equal_size(cell, 10, 500)
    distance = [abs(num_params(cell, size + step, 10) - 500) for step in (-1, 0, 1)]
    assert min(distance) == distance[1]


def test_sizes_a_cell_refuses_are_passed_over():
    size = equal_size("scornn", 10, 500)
    assert 350 < num_params("scornn", size, 10) < 650


def test_every_cell_but_second_names_stands_in_the_full_zoo_once_a_task(monkeypatch):
    monkeypatch.setattr(zoo, "equal_size", lambda cell, input_size, wanted: 8)  # found for each, it takes seconds
    settings = [(one["task"], one["cell"]) for one in zoo.SWEEP.full_axes()["setting"]]
    assert len(set(settings)) == len(settings)
    assert {cell for _, cell in settings} == set(CELLS) - set(zoo.SAME) | set(zoo.CHRONO)


def made_up_runs():
    rows = []
    for variant, solved, loss in (("elman", False, 1.9), ("gru", True, 0.1), ("lstm", True, 0.4)):
        same = {"task": "recall", "variant": variant, "seed": 0, "test_loss": loss, "chance_loss": 2.0}
        same |= {"gradient_horizon": 12.0, "validation_loss": loss, "learning_rate": 0.01}
        rows += [same | {"seq_len": seq_len, "solved": solved and seq_len == 50} for seq_len in (50, 150)]
    return pd.DataFrame(rows)


def test_ranking_is_by_what_is_solved_then_by_what_is_left():
    names = ["elman", "gru", "lstm"]
    cost = pd.DataFrame({"variant": names, "milliseconds": [1.0, 2.0, 3.0], "hidden_size": 8, "num_params": 99})
    cells = summary(made_up_runs())
    ranked = zoo_report.ranking(cells, cost)
    assert list(ranked.index) == ["gru", "lstm", "elman"]
    assert list(ranked["solved"]) == [1, 1, 0]
    assert ranked.loc["gru", "left"] == pytest.approx(0.05)
    text = zoo_report.ranking_table(ranked, cells)
    assert "| 1 | gru | 50 | 1 of 2 | 5 % | 12 | 2 | 8 | 99 |" in text
    assert "| 3 | elman | 0 | 0 of 2 |" in text
    points = zoo_report.learnt_by_cost(cells, cost)
    assert points["learnt"].round(3).to_dict() == {"elman": 0.05, "gru": 0.95, "lstm": 0.8}
    assert points["longest"].to_dict() == {"elman": 0, "gru": 50, "lstm": 50}
    assert zoo_report.frontier(points) == ["elman", "gru"]
    labels = [text.get_text() for text in zoo_report.reach_by_cost(points).axes[0].texts]
    assert labels == ["elman", "gru"]


def test_several_tasks_and_lags_of_which_some_are_missing(tmp_path):
    """By the longest lag solved; at equal reach those that ran everything first, then the loss that is left."""
    solves = {
        "far": {"recall": 150, "adding": 50},
        "near": {"recall": 50, "adding": 50},
        "none": {},
        "part": {"recall": 50},
    }
    solves["also"] = {"recall": 50}
    rows = []
    for variant, longest in solves.items():
        for task in ("recall", "adding"):
            for lag in (50, 150):
                if variant == "part" and (task, lag) != ("recall", 50):
                    continue
                solved = longest.get(task, 0) >= lag
                same = {"task": task, "seq_len": lag, "variant": variant, "seed": 0, "learning_rate": 0.01}
                loss = 0.01 if solved else 1.9
                rows.append(same | {"test_loss": loss, "validation_loss": loss, "chance_loss": 2.0, "solved": solved,
                                    "gradient_horizon": np.inf if variant == "far" else 9.0})  # fmt: skip
    runs = pd.DataFrame(rows)
    cells = summary(runs)
    cost = pd.DataFrame({"variant": [*solves], "milliseconds": 1.0, "hidden_size": 8, "num_params": 99})
    ranked = zoo_report.ranking(cells, cost)
    assert list(ranked.index) == ["far", "near", "also", "part", "none"]
    assert list(ranked["reach"]) == [100, 50, 25, 25, 0]
    lines = zoo_report.ranking_table(ranked, cells).splitlines()
    assert "| far | 150 | 50 | 3 of 4 |" in lines[2]
    assert "| > 150 | 1 |" in lines[2]
    assert "| part | 50 | – | 1 of 1 (3 not run) | 0.5 % |" in lines[5]
    points = zoo_report.learnt_by_cost(cells, cost)
    assert list(points.index) == ["far", "near", "none", "also"]  # part was not run on adding
    assert list(points["longest"]) == [150, 50, 0, 50]
    drawn = zoo_report.reach_by_cost(points, ["part"])
    assert "not shown: part." in drawn.get_supxlabel()
    drawn.savefig(tmp_path / "plot.png")
    text = zoo_report.what_it_is(runs, cells)
    assert text.startswith("1 seed, cells that were run, of 5, on recall at 50: 5; recall at 150: 4; adding at 50: 4")


def test_what_was_timed_is_not_timed_again(tmp_path, monkeypatch):
    timed = []
    monkeypatch.setattr(zoo_report, "step_milliseconds", lambda cell, *_: timed.append(cell) or 7.0)
    runs = made_up_runs().assign(hidden_size=8, num_params=99)
    path = tmp_path / "cost.csv"
    pd.DataFrame({"variant": ["gru", "lstm"], "milliseconds": 2.5, "hidden_size": [8, 9], "num_params": 99}).to_csv(
        path
    )
    cost = zoo_report.costs(runs, path, 1, False, Console(quiet=True))
    assert timed == ["elman", "lstm"]  # which was timed at another size
    assert list(cost["milliseconds"]) == [7.0, 2.5, 7.0]
    assert list(cost["date"] == "not said") == [False, True, False]
    assert zoo_report.timed_at(cost).startswith("- Steps timed: commit ")
    assert zoo_report.costs(runs, path, 1, False, Console(quiet=True)).equals(cost)
    assert len(timed) == 2
    zoo_report.costs(runs, path, 1, True, Console(quiet=True))
    assert len(timed) == 5


def test_the_readme_names_every_cell_as_its_docstring_and_its_step_do():
    """Fails where a cell is new or changed: `python -m experiments.zoo.cell_table` writes the table anew."""
    text = README.read_text(encoding="utf-8")
    shown = text.partition(cell_table.BEGIN)[2].partition(cell_table.END)[0].strip().splitlines()
    assert shown == cell_table.table().splitlines()


def test_a_readme_without_marks_is_refused():
    with pytest.raises(ValueError, match="lacks the marks"):
        cell_table.with_table("# rnnjax")
