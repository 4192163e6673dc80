"""Rows of Newton's method, iterations.csv and times.csv of a folder: believed only as far as they are whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from experiments.shared.csv_rows import Column, as_frame, read_table, told
from experiments.shared.provenance import machine, provenance
from experiments.shared.results import adding_to
from rnnjax.files import write_whole

ITERATIONS, TIMES = "iterations.csv", "times.csv"
BEFORE, AFTER = "at the start", "after training"
SETTING = ["hidden_size", "seq_len", "lag", "trained", "most"]  # the options that all rows must share
SIZES = ["seq_len", "batch_size", "hidden_size"]
SOURCE = dict.fromkeys(["command", "git_commit", "device", "date"], Column("text"))
SCHEMAS = {
    ITERATIONS: {
        "cell": Column("text"),
        "seed": Column("whole", least=0),
        "at": Column("text"),
        **dict.fromkeys(SETTING, Column("whole", least=1)),
        "linear": Column("flag"),
        "state_size": Column("whole", least=1),
        "iterations": Column("whole", least=1),
        "converged": Column("flag"),
        "residual": Column("number", blank=True),
        "growth": Column("number", blank=True),
        "exponent": Column("number", blank=True),
        "accuracy": Column("number", blank=True, least=0, most=1),
        **SOURCE,
    },
    TIMES: {
        "cell": Column("text"),
        "mode": Column("text"),
        **dict.fromkeys(SIZES, Column("whole", least=1)),
        "jacobian": Column("text"),
        "iterations": Column("whole", least=1),
        "converged": Column("flag"),
        **dict.fromkeys(["scan_ms", "newton_ms", "ratio", "ratio_low", "ratio_high"], Column("number", least=0)),
        "rounds": Column("whole", least=1),
        **SOURCE,
    },
}
KEYS = {ITERATIONS: ["cell", "seed", "at"], TIMES: ["cell", "mode", *SIZES]}


def source(program: str, argv: Sequence[str]) -> dict[str, str]:
    """The columns that say where a row comes from; a CPU by its name and cores."""
    found = provenance(program, argv)
    return found | {"device": machine()} if jax.default_backend() == "cpu" else found


def read(folder: Path, name: str) -> pd.DataFrame:
    """The rows of a file of the folder; none if it is not there.

    Raises:
      ValueError: it is damaged; lines are named.
    """
    path, schema = Path(folder) / name, SCHEMAS[name]
    if not path.exists():
        return pd.DataFrame(columns=list(schema))
    columns, rows, damage, sign = read_table(path, schema)
    if damage or sign:
        raise ValueError(f"{path} is damaged, or another program's:\n{sign}{told(damage)}\nNothing was changed.")
    text = {column: str for column, kind in schema.items() if kind.kind == "text"}
    return as_frame(columns, rows, text)


def add(folder: Path, name: str, new: Sequence[Mapping[str, Any]]) -> None:
    """Put rows in a file of the folder, in place of those of the same key; the file is whole at every moment.

    Both programs may fill one folder at once: each waits while the other adds its rows.
    """
    rows = pd.DataFrame(new)[list(SCHEMAS[name])]
    with adding_to(folder):
        old = read(folder, name)
        kept = old[~pd.MultiIndex.from_frame(old[KEYS[name]]).isin(pd.MultiIndex.from_frame(rows[KEYS[name]]))]
        table = pd.concat([kept, rows], ignore_index=True) if len(kept) else rows
        write_whole(Path(folder) / name, lambda path: table.to_csv(path, index=False, float_format="%.5g"))
