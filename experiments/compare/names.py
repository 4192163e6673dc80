"""One name for variants that are the same: those that compute the same, and those that --match names."""

from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.shared.computes import computed

Tables = dict[str, pd.DataFrame]  # by folder, each with a column `variant`


def with_one_name(tables: Tables, match: Sequence[str]) -> tuple[Tables, list[str]]:
    """The tables with their variants renamed, and a sentence for each name that was changed.

    `match` has pairs "A=B" of variants, or of cells with any options: B is called A. Beyond these, two variants are
    called as the first folder calls them where `computed` finds that they start and step alike. Where a folder has both
    they are not the same to it, and keep their names.

    Raises:
      ValueError: no pair of names, a name that no folder has, or a folder that has both.
    """
    matched = _matched(tables, [_pair(text, tables) for text in match])
    alike: dict[str, dict[str, list[str]]] = {}  # by digest and folder
    for folder, table in matched.items():
        for name in _cells(table):
            if digest := computed(name.replace(" ", ":")):
                alike.setdefault(digest, {}).setdefault(folder, []).append(name)
    names: dict[str, str] = {}
    said = []
    for of_folder in alike.values():
        different = list(dict.fromkeys(name for some in of_folder.values() for name in some))
        if len(different) > 1 and all(len(some) == 1 for some in of_folder.values()):
            names |= dict.fromkeys(different, different[0])
            said.append(f"Taken as one, for they compute the same: {', '.join(different)}.")
    renamed = {folder: _renamed(table, names) for folder, table in matched.items()}
    return renamed, [*(f"Taken as one, as --match says: {text}." for text in match), *said]


def _cells(table: pd.DataFrame) -> list[str]:
    """The variants that are called by their cell and its options; a label says nothing of what it computes."""
    rows = table.drop_duplicates("variant")
    if not {"cell", "cell_options"} <= set(rows):
        return list(rows["variant"])
    texts = (f"{row.cell} {_options(row.cell_options)}".strip() for row in rows.itertuples())
    return [name for name, text in zip(rows["variant"], texts, strict=True) if name == text]


def _options(text: str) -> str:
    """ "forget_bias=1 peepholes=true" of the column's JSON, by its form alone."""
    return text.strip("{}").replace('"', "").replace(": ", "=").replace(", ", " ")


def _pair(text: str, tables: Tables) -> tuple[str, str]:
    """The two names of "A=B", which may have signs of equality themselves: lstm=lstm_np forget_bias=1."""
    places = [place for place, letter in enumerate(text) if letter == "="]
    pairs = [(text[:place].strip(), text[place + 1 :].strip()) for place in places]
    pairs = [pair for pair in pairs if all(pair)]
    if not pairs:
        raise ValueError(f"--match {text!r} is not of the form NAME=NAME, as in lstm=lstm_np")
    known = {name for table in tables.values() for one in table["variant"].unique() for name in (one, cell_of(one))}
    for pair in pairs:
        if known.issuperset(pair):
            return pair
    missing = next(name for name in pairs[0] if name not in known)
    raise ValueError(f"--match: no folder has the cell {missing!r}; there are: {', '.join(sorted(known))}")


def _matched(tables: Tables, pairs: Sequence[tuple[str, str]]) -> Tables:
    for one, other in pairs:
        renamed = {}
        for folder, table in tables.items():
            names = {name: one + name.removeprefix(other) for name in table["variant"].unique() if _is(name, other)}
            if both := [name for name in names.values() if name in set(table["variant"])]:
                raise ValueError(f"--match {one}={other}: {folder} has both ({both[0]}), and they would be mixed")
            renamed[folder] = _renamed(table, names)
        tables = renamed
    return tables


def _is(name: str, wanted: str) -> bool:
    return wanted in (name, cell_of(name))


def _renamed(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    return table.assign(variant=table["variant"].replace(dict(names))) if names else table


def cell_of(name: str) -> str:
    """ "lstm" of "lstm forget_bias=1"; a label that is not a cell and its options is a name as it stands."""
    cell, *options = name.split(" ")
    return cell if all("=" in option for option in options) else name
