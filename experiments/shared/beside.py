"""Any number of results folders beside each other, from their records: what each has of the figures two share."""

from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.shared.numbers import figure, markdown, mean_interval
from experiments.shared.records import NOT_SAID, PROVENANCE

KEY = ["what", "at", "variant", "metric", "split"]
SYNONYMS = {"lstm_np": "lstm"}  # names of cells that compute the same


def parse_match(texts: Sequence[str]) -> dict[str, str]:
    """{"lstm_np": "lstm"} from ["lstm=lstm_np"].

    Raises:
      ValueError: a text that is not two names.
    """
    found = {}
    for text in texts:
        first, sign, second = text.rpartition("=")
        if not (first.strip() and sign and second.strip()):
            raise ValueError(f"--match {text!r} is not of the form NAME=NAME, as in lstm=lstm_np")
        found[second.strip()] = first.strip()
    return found


def joined(folders: Mapping[str, pd.DataFrame], match: Mapping[str, str]) -> pd.DataFrame:
    """The records of all folders, a column `folder` added, variants of one name where they are the same or matched.

    Raises:
      ValueError: a name to match that no folder has, or one folder has both, so that two variants would be mixed.
    """
    own = {folder: {_cell_of(name) for name in rows["variant"]} for folder, rows in folders.items()}
    every = set().union(*own.values())
    for name in (*match, *match.values()):
        if name not in every:
            raise ValueError(f"--match: no folder has the cell {name!r}; there are: {', '.join(sorted(every))}")
    parts = []
    for folder, rows in folders.items():
        for name, one in match.items():
            if {name, one} <= own[folder]:
                raise ValueError(f"--match {one}={name}: {folder} has both, and they would be mixed")
        names = {name: one for name, one in SYNONYMS.items() if one not in own[folder]} | dict(match)
        variants = [_renamed(variant, names) for variant in rows["variant"]]
        parts.append(rows.assign(folder=folder, variant=variants))
    return pd.concat(parts, ignore_index=True)


def _cell_of(variant: str) -> str:
    """ "lstm" of "lstm forget_bias=1"; a label that is not a cell and its options is a name as it stands."""
    name, *options = variant.split(" ")
    return name if all("=" in option for option in options) else variant


def _renamed(variant: str, names: Mapping[str, str]) -> str:
    cell = _cell_of(variant)
    return names[cell] + variant.removeprefix(cell) if cell in names else variant


def beside_report(records: pd.DataFrame) -> str:
    """Markdown: per figure that two or more folders have, each folder's mean, 95 % interval and n.

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
        "\n".join(_made_with(folder, records[records["folder"] == folder]) for folder in folders),
        markdown([*KEY, *folders], lines),
        "Means over runs that have a value, 95 % interval (Student's t; Wilson's of the share solved), and how many of "
        "the runs have one: a diverged run has no loss.",
    ]
    for folder in folders:
        only = [key[2] for key in having.index if having[key] == 1 and (*key, folder) in groups]
        if only:
            parts.append(f"Only in {folder}: {len(only)} figures, of {_short(dict.fromkeys(only))}.")
    return "\n\n".join(parts) + "\n"


def _short(names, most=6) -> str:
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


def _made_with(folder: str, rows: pd.DataFrame) -> str:
    texts = (", ".join(map(str, rows[name].dropna().unique())) or NOT_SAID for name in PROVENANCE)
    return f"- `{folder}`: " + "; ".join(f"{name} {text}" for name, text in zip(PROVENANCE, texts, strict=True))
