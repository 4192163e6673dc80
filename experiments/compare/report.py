"""The differences of two results folders, as a table and a page."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.compare.beside import beside_report, made_with, short
from experiments.compare.names import with_one_name
from experiments.compare.options import Options
from experiments.shared.numbers import bootstrap, figure, markdown, percent
from experiments.shared.records import of_sweep, read_records, whole
from experiments.sweep.tables.table import (
    KEYS,
    METRICS,
    SETTINGS,
    SIZES,
    best_rows,
    center,
    diverged,
    name_sizes,
    outcomes,
    read_runs,
    varying,
)

CIRCUMSTANCES = [
    *SIZES,
    *SETTINGS,
    *["num_params", "num_train", "num_validation", "num_test", "chance_loss", "chance_accuracy"],
    *["git_commit", "jax_version", "device", "num_devices"],
]
NOT_SAID = "not said"
HEADER = ["task", "T", "variant", "A", "B", "B − A", "95 % interval", "n of A, B", "seeds"]
MOST_LISTED = 6  # cells that only one folder has; of more, their number and the first names


def read_pair(folder_a, folder_b, match: Sequence[str] = ()) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The runs of both folders, and what was said of names: variants that are the same have one name in both, and the
    sizes that vary in either are written into the variants of both.

    Raises:
      FileNotFoundError: a folder or its runs.csv is missing.
      ValueError: a column is missing, the two have no metric or no cell in common, or names do not match.
    """
    read = {"A": read_runs(folder_a), "B": read_runs(folder_b)}
    named, said = with_one_name(read, match)
    a, b = named["A"], named["B"]
    for folder, runs in ((folder_a, a), (folder_b, b)):
        if not any(name in runs for name in METRICS):
            raise ValueError(f"{folder}/runs.csv holds no result: it needs one of the columns {', '.join(METRICS)}")
    if not shared_metrics(a, b):
        texts = [", ".join(name for name in METRICS if name in runs) for runs in (a, b)]
        raise ValueError(f"no metric in common: {folder_a} has {texts[0]}; {folder_b} has {texts[1]}")
    sizes = [size for size in SIZES if size in a and size in b and (varying(a, [size]) or varying(b, [size]))]
    a, b = name_sizes(a, sizes), name_sizes(b, sizes)
    if not set(cells(a)) & set(cells(b)):
        raise ValueError(
            f"{folder_a} and {folder_b} share no combination of task, seq_len and variant\n"
            f"  {folder_a} has {_contents(a)}\n  {folder_b} has {_contents(b)}"
        )
    return a, b, said


def cells(runs: pd.DataFrame) -> list[tuple]:
    """The (task, seq_len, variant) of the runs, in their order, lags ascending."""
    order = {task: i for i, task in enumerate(runs["task"].unique())}
    keys = dict.fromkeys(zip(*(runs[name] for name in KEYS), strict=True))
    return sorted(keys, key=lambda key: (order[key[0]], key[1]))


def shared_metrics(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    return [name for name in METRICS if name in a and name in b]


def compare(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """One row per metric and shared cell: a, b, difference (b − a) with its 95 % interval low to high, n, paired.

    The interval is a percentile bootstrap over seeds: of the pairs where both sides ran the same seeds, else of each
    side for itself. With fewer than two seeds on a side there is none (NaN).
    """
    chosen_a, chosen_b = ({key: rows for key, rows in best_rows(runs).groupby(KEYS)} for runs in (a, b))
    shared = [key for key in cells(a) if key in chosen_b]
    return pd.DataFrame(
        {"metric": metric, **dict(zip(KEYS, key, strict=True)), **_difference(chosen_a[key], chosen_b[key], metric)}
        for metric in shared_metrics(a, b)
        for key in shared
    )


def _difference(rows_a: pd.DataFrame, rows_b: pd.DataFrame, metric: str) -> dict:
    a, b = outcomes(rows_a, metric), outcomes(rows_b, metric)
    paired = False
    if "seed" in rows_a and "seed" in rows_b:
        seeds_a, seeds_b = rows_a.loc[a.index, "seed"], rows_b.loc[b.index, "seed"]
        paired = seeds_a.is_unique and seeds_b.is_unique and set(seeds_a) == set(seeds_b) and len(a) > 0
        if paired:
            a, b = a.loc[seeds_a.sort_values().index], b.loc[seeds_b.sort_values().index]
    found = {"n_a": len(a), "n_b": len(b), "paired": paired}
    if not len(a) or not len(b):
        return {"a": _at(a, metric), "b": _at(b, metric), "difference": np.nan, "low": np.nan, "high": np.nan} | found
    value_a, value_b = _at(a, metric), _at(b, metric)
    low, high = bootstrap([a, b], partial(_minus, center(metric)), paired)
    difference = 0.0 if value_a == value_b else value_b - value_a  # two infinities do not differ
    return {"a": value_a, "b": value_b, "difference": difference, "low": low, "high": high} | found


def _at(values: pd.Series, metric: str) -> float:
    return float(center(metric)(values.to_numpy())) if len(values) else np.nan


def _minus(statistic, a, b, axis=-1):
    return statistic(b, axis=axis) - statistic(a, axis=axis)


def differing_settings(a: pd.DataFrame, b: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(column, values in A, values in B) of what differs among the shared cells, tried or chosen."""
    shared = set(cells(a)) & set(cells(b))
    a, b = (runs[[key in shared for key in zip(*(runs[k] for k in KEYS), strict=True)]] for runs in (a, b))
    found = []
    for name in CIRCUMSTANCES:
        if name in a and name in b:
            sets = [runs.groupby(KEYS)[name].agg(lambda values: frozenset(values.dropna())) for runs in (a, b)]
            if not sets[0].sort_index().equals(sets[1].sort_index()):
                found.append((name, _values(a[name]), _values(b[name])))
        elif name in a or name in b:
            found.append((name, *(_values(runs[name]) if name in runs else NOT_SAID for runs in (a, b))))
    return found


def compare_report(differences: pd.DataFrame, remarks, folder_a, folder_b) -> str:
    """The comparison as Markdown, from compare() and notes()."""
    parts = [
        f"# {Path(folder_a).resolve().name} and {Path(folder_b).resolve().name}",
        "\n".join(
            made_with(str(folder), read_records(folder), f"{side}: ")
            for side, folder in zip("AB", (folder_a, folder_b), strict=True)
        ),
    ]
    for metric, rows in differences.groupby("metric", sort=False):
        lines = [[f"**{text}**" if clear else text for text in line] for line, clear in _lines(rows, metric)]
        parts += [f"## {METRICS[metric].capitalize()}", markdown(HEADER, lines)]
    parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts) + "\n"


def compare_tables(differences: pd.DataFrame) -> list[Table]:
    """The comparison for the terminal: a table per metric."""
    tables = []
    for metric, rows in differences.groupby("metric", sort=False):
        table = Table(title=METRICS[metric])
        for name in HEADER:
            table.add_column(
                name,
                justify="left" if name in ("task", "variant", "seeds") else "right",
                no_wrap=name in ("task", "variant"),
            )
        for line, clear in _lines(rows, metric):
            table.add_row(*(Text(text, style="bold" if clear else "") for text in line))
        tables.append(table)
    return tables


def _lines(rows: pd.DataFrame, metric: str):
    """The texts of each row, and whether its interval leaves out zero."""
    show = figure if metric == "test_loss" else percent
    for row in rows.itertuples():
        interval = "none (n < 2)" if pd.isna(row.low) else f"[{show(row.low)}, {show(row.high)}]"
        sides = f"{row.n_a}, {row.n_b}"
        line = [
            row.task,
            str(row.seq_len),
            row.variant,
            show(row.a),
            show(row.b),
            show(row.difference),
            interval,
            sides,
        ]
        yield [*line, "paired" if row.paired else "unpaired"], row.low > 0 or row.high < 0


def notes(a: pd.DataFrame, b: pd.DataFrame, differences: pd.DataFrame) -> list[str]:
    """What a reader must know beside the figures, each a sentence or two."""
    only_a = [key for key in cells(a) if key not in set(cells(b))]
    only_b = [key for key in cells(b) if key not in set(cells(a))]
    lost = [(name, runs) for name, runs in (("A", a), ("B", b)) if diverged(best_rows(runs)).any()]
    unshared = [name for name in METRICS if (name in a) != (name in b)]
    lines = [f"Only in {side}: {_listed(keys)}." for side, keys in (("A", only_a), ("B", only_b)) if keys]
    lines += [f"Only {'A' if name in a else 'B'} has {name}; it is not compared." for name in unshared]
    settings = differing_settings(a, b)
    lines += [f"Differs: {name} is {x} in A, {y} in B." for name, x, y in settings if NOT_SAID not in (x, y)]
    for side, other, at in (("A", "B", 1), ("B", "A", 2)):
        if silent := [f"{row[0]} ({row[3 - at]} in {other})" for row in settings if row[at] == NOT_SAID]:
            lines.append(f"{side} does not say {', '.join(silent)}.")
    if not (only_a or only_b):
        lines.append("Both hold the same cells.")
    lines += [f"{name} has diverged runs: not solved, of infinite test loss, of accuracy 0." for name, _ in lost]
    how = differences["paired"]
    pairs = "paired by seed" if how.all() else "unpaired" if not how.any() else "paired by seed where both ran the same"
    lines.append(
        f"Differences are B − A, {pairs}; those of shares are in percentage points. Intervals: 95 %, percentile "
        "bootstrap over seeds, 9,999 resamples, too narrow for few seeds; one of no width says that the seeds "
        "agree, not that nothing is uncertain. Bold: the interval leaves out zero, as some of many rows do by chance."
    )
    return lines


def _listed(keys) -> str:
    """'recall T = 50: gru, lstm; adding T = 100: gru'; of many '184 cells, of gru, lstm and 89 more'."""
    if len(keys) > MOST_LISTED:
        return f"{len(keys)} cells, of {short(dict.fromkeys(variant for _, _, variant in keys))}"
    groups: dict[tuple, list[str]] = {}
    for task, seq_len, variant in keys:
        groups.setdefault((task, seq_len), []).append(variant)
    return "; ".join(f"{task} T = {seq_len}: {', '.join(names)}" for (task, seq_len), names in groups.items())


def _contents(runs: pd.DataFrame) -> str:
    return "; ".join(f"{name} {_values(runs[name])}" for name in KEYS)


def _values(values: pd.Series) -> str:
    values = sorted(values.dropna().unique())
    texts = [value if isinstance(value, str) else f"{value:,.10g}" for value in values]
    return ", ".join(texts) or "empty"


def default_out(*folders) -> Path:
    """compare_<a>_<b>.md in the current folder, by the names of the folders."""
    return Path("_".join(["compare", *(Path(folder).resolve().name for folder in folders)]) + ".md")


def is_program(folder) -> bool:
    """Whether this is not a sweep's folder: a row of its runs.csv is one metric, or it has other tables."""
    path = Path(folder) / "runs.csv"
    if not path.is_file():
        return any((Path(folder) / name).is_file() for name in ("bench.csv", "gradients.csv"))
    with path.open(encoding="utf-8") as file:
        return {"preset", "dataset", "metric", "value"} <= {name.strip() for name in file.readline().split(",")}


def all_records(folders: Sequence[Path], match: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The records of all folders, a column `folder` added, and what was said of names.

    Of a sweep, those of each cell's chosen setting, sizes that vary in the variant.
    """
    labels = {f"{folder}{' again' * folders[:place].count(folder)}": folder for place, folder in enumerate(folders)}
    tables = {
        label: read_records(folder) if is_program(folder) else read_runs(folder) for label, folder in labels.items()
    }
    tables, said = with_one_name(tables, match)
    parts = [
        (rows if is_program(labels[label]) else whole(of_sweep(best_rows(rows), labels[label]))).assign(folder=label)
        for label, rows in tables.items()
    ]
    return pd.concat(parts, ignore_index=True), said


def run(console: Console, options: Options) -> None:
    """Compare, write, and show."""
    folders = options.folders
    out = options.out or default_out(*folders)
    if len(folders) > 2 or any(map(is_program, folders)):
        out.write_text(beside_report(*all_records(folders, options.match)), encoding="utf-8")
        console.print(f"Written to {out.resolve()}", markup=False)
        return
    folder_a, folder_b = folders
    a, b, said = read_pair(folder_a, folder_b, options.match)
    differences = compare(a, b)
    remarks = [*said, *notes(a, b, differences)]
    out.write_text(compare_report(differences, remarks, folder_a, folder_b), encoding="utf-8")
    for table in compare_tables(differences):
        console.print(table)
    for remark in remarks:
        console.print(Text(f"- {remark}"))
    console.print(Text(f"Written to {out.resolve()}"), soft_wrap=True)
