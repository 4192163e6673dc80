"""runs.csv of a program, believed only as far as it is whole: columns, types, blanks, and a figure once."""

import os
from collections import defaultdict
from pathlib import Path

import pandas as pd

from experiments.shared.csv_rows import Column, Damage, Row, as_frame, read_table, told

WHAT = ["preset", "dataset", "cell"]
RUN = [*WHAT, "seed"]
FIGURE = [*RUN, "metric", "split"]  # no two rows are equal in these
TEXT = dict.fromkeys([*WHAT, "metric", "split", "command", "git_commit", "device", "date"], str)
SCHEMA = {
    **dict.fromkeys(WHAT, Column("text")),
    **dict.fromkeys(["metric", "split"], Column("text")),
    "value": Column("number", blank=True),
    "seed": Column("whole", least=0),
    **dict.fromkeys(["num_params", "num_train", "num_test", "wall_seconds"], Column("number", least=0)),
    **dict.fromkeys(["command", "git_commit", "device"], Column("text")),
    "date": Column("text", optional=True),
    "yes_or_no": Column("flag", optional=True),
}


def read_recorded(path: Path) -> tuple[pd.DataFrame, list[Damage]]:
    """The whole rows of a program's runs.csv, and what is wrong with the others.

    Raises:
      OSError: it may not be read.
    """
    columns, rows, damage, sign = read_table(path, SCHEMA)
    if sign:
        damage.insert(0, Damage(path, None, f"was saved by a spreadsheet ({sign}), which writes numbers anew"))
    by_figure: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        by_figure[tuple(row.cells[name] for name in FIGURE)].append(row)
    whole = []
    for same in by_figure.values():
        if len(same) == 1:
            whole += same
            continue
        lines = ", ".join(str(row.line) for row in same)
        if all(row.cells == same[0].cells for row in same):
            whole.append(same[0])
            damage.append(Damage(path, same[1].line, f"says again what line {same[0].line} says"))
        else:
            damage.append(Damage(path, same[1].line, f"is of the same run, metric and split as others: lines {lines}"))
    return as_frame(columns, whole, TEXT), damage


def check_recorded(folder: str | os.PathLike | None) -> None:
    """See before any work that rows can be added to a folder; None is none.

    Raises:
      ValueError: its runs.csv is no program's, or is damaged: file and line of each damage are named.
      OSError: it may not be read.
    """
    path = Path(folder or "") / "runs.csv"
    if folder is None or not path.exists():
        return
    _, damage = read_recorded(path)
    if damage:
        raise ValueError(
            f"{path} is damaged, or another program's:\n{told(damage)}\nNothing was run or changed. Bring the "
            "file back as it was written, take these lines out, or give another --out."
        )
