"""Any number of results folders beside each other, from their records: what each has of the figures two share."""

from collections.abc import Sequence

import pandas as pd

from experiments.shared.numbers import figure, markdown, mean_interval
from experiments.shared.records import NOT_SAID, PROVENANCE

KEY = ["what", "at", "variant", "metric", "split"]


def beside_report(records: pd.DataFrame, remarks: Sequence[str] = ()) -> str:
    """Markdown: per figure that two or more folders have, each folder's mean, 95 % interval and n.

    `records` are those of all folders, with a column `folder`.

    Raises:
      ValueError: no two folders share a figure.
    """
    folders = list(records["folder"].unique())
    having = records.groupby(KEY, sort=False)["folder"].nunique()
    shared = [key for key, count in having.items() if count > 1]
    if not shared:
        raise ValueError(f"{' and '.join(folders)} share no figure: the same {', '.join(KEY)}")
    groups = dict(list(records.groupby([*KEY, "folder"], sort=False)["value"]))
    lines = []
    for key in shared:
        cells = [_cell(groups.get((*key, folder)), key[3] == "solved") for folder in folders]
        lines.append([*key, *cells])
    parts = [
        f"# {', '.join(folders)}",
        "\n".join(made_with(folder, records[records["folder"] == folder]) for folder in folders),
        markdown([*KEY, *folders], lines),
        "Means over runs that have a value, 95 % interval (Student's t; Wilson's of the share solved), and how many of "
        "the runs have one: a diverged run has no loss.",
    ]
    for folder in folders:
        only = [key[2] for key in having.index if having[key] == 1 and (*key, folder) in groups]
        if only:
            parts.append(f"Only in {folder}: {len(only)} figures, of {short(dict.fromkeys(only))}.")
    parts += remarks
    return "\n\n".join(parts) + "\n"


def short(names, most=6) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _cell(values: pd.Series | None, yes_or_no: bool) -> str:
    if values is None:
        return "–"
    there = values.dropna().to_numpy(float)
    if not len(there):
        return f"no value (n = {len(values)})"
    mean, low, high = mean_interval(there, yes_or_no=yes_or_no)
    interval = "" if pd.isna(low) else f" [{figure(low)}, {figure(high)}]"
    return f"{figure(mean)}{interval} (n = {len(there)} of {len(values)})"


def made_with(folder: str, rows: pd.DataFrame, name: str = "") -> str:
    """Where the records of a folder come from."""
    texts = (", ".join(map(str, rows[name].dropna().unique())) or NOT_SAID for name in PROVENANCE)
    return f"- {name}`{folder}`: " + "; ".join(f"{label} {text}" for label, text in zip(PROVENANCE, texts, strict=True))
