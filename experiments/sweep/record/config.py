"""config.json of a results folder: which sweep it holds, read as data that may be damaged or a stranger's."""

import json
import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from experiments.shared.csv_rows import SHOWN, Damage, shown
from experiments.sweep.spec import FIELDS, Sweep, as_fields, sweep_from
from experiments.sweep.tables.table import METRICS
from rnnjax.errors import unknown

TEXTS = ("name", "question", "expects", "metric", "command", "date")
MOST_TRIALS = 1_000_000  # of a sweep; a file may ask for more than there is memory for


def read_config(path: Path) -> tuple[Sweep | None, list[Damage]]:
    """The sweep that a config.json describes; None where it is damaged.

    Nothing it names is imported, built or run: trials are compared as texts and numbers, and what runs is the sweep of
    the command line.

    Raises:
      OSError: it may not be read.
    """
    if path.is_dir():
        return None, [Damage(path, None, "is a folder, not a file")]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        return None, [Damage(path, getattr(error, "lineno", None), f"is not JSON: {shown(str(error))}")]
    try:
        _check(content)
        sweep = sweep_from(content)
        sweep.trials()
    except ValueError as error:
        return None, [Damage(path, None, str(error))]
    return sweep, []


def _check(content: Any) -> None:
    """Fields and types; what later versions add beside them is let through.

    Raises:
      ValueError: which field is not what a sweep writes.
    """
    if not isinstance(content, dict):
        raise ValueError("is not an object with the fields of a sweep")
    if missing := [name for name in (*TEXTS, "base", "axes") if name not in content]:
        raise ValueError(f"lacks {', '.join(missing)}")
    for name in TEXTS:
        if not isinstance(content[name], str):
            raise ValueError(f"{name} is {shown(repr(content[name]))}, not a text")
    if content["metric"] not in METRICS:
        raise ValueError(unknown("metric", content["metric"][:SHOWN], METRICS))
    date.fromisoformat(content["date"])
    base, axes = content["base"], content["axes"]
    if not isinstance(base, dict) or not isinstance(axes, dict):
        raise ValueError("base and axes are not objects")
    _check_values(base, "base")
    for axis, values in axes.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"axis {shown(axis)} is not a list of values")
        for value in values:
            _check_values(as_fields(axis, value), f"axis {shown(axis)}")
    if (num_trials := math.prod(len(values) for values in axes.values())) > MOST_TRIALS:
        raise ValueError(f"describes {num_trials:,} trials, above the {MOST_TRIALS:,} that can be")


def _check_values(values: Mapping[str, Any], where: str) -> None:
    for name, value in values.items():
        if name not in FIELDS:
            raise ValueError(f"{where}: {unknown('setting', name[:SHOWN], FIELDS)}")
        kind = FIELDS[name].type
        if kind is float:
            fits = value in ("inf", "-inf") or (isinstance(value, int | float) and not isinstance(value, bool))
        elif kind in (str, bool):
            fits = isinstance(value, kind)
        else:
            fits = type(value) is int or (value is None and kind == int | None)
        if not fits:
            raise ValueError(f"{where}: {name} is {shown(repr(value))}, which is not of its type")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"{where}: {name} is {shown(str(value))}, which is too large")
