"""A sweep as the command line changes it: --set, --axis, --cell and --seeds."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.shared.cells import with_options
from experiments.sweep.settings import Options
from experiments.sweep.spec import FIELDS, FIRST_REPORT_SEED, Sweep, parse_field
from experiments.sweep.tasks import is_file

OF_A_CELL = (
    "task",
    "hidden_size",
    "num_layers",
)  # where a mapping sets these with its cell, another cell needs its own


def adjusted(sweep: Sweep, options: Options) -> Sweep:
    """The sweep with --set, --axis, --cell and --seeds applied.

    A cell is one more value of the axis that holds the cells; where that holds mappings (a label and a cell, or a cell
    and the size that makes it equal) it is one more mapping. No option puts another cell under a name that is there.
    A sweep that --set or --axis has changed no longer has the question and the expectations of the one it was.

    Raises:
      ValueError: text that is not KEY=VALUE, an unknown key, a value of another type, or an option for cells that come
        with settings of their own.
    """
    base, axes = sweep.base, dict(sweep.axes)
    axis_texts = [_key_and_values(text, "--axis") for text in options.axis]
    set_texts = [key_and_value(text, "--set") for text in options.set]
    tasks = [
        task for key, values in [*axis_texts, *((k, [v]) for k, v in set_texts)] if key == "task" for task in values
    ]
    if tasks and all(map(is_file, tasks)) and not any(key == "seq_len" for key, _ in [*axis_texts, *set_texts]):
        set_texts.append(("seq_len", "none"))  # a file has lengths of its own
    for key, values in axis_texts:
        if key in FIELDS:
            parsed = [parse_field(key, value) for value in values]
            _run_over(sweep, axes, key, parsed)
    for key, value in set_texts:
        if key not in FIELDS:
            axes["cell"] = [
                with_options(cell, {key: value}) for cell in _plain_cells(axes, base.cell, f"{key}={value}")
            ]
            continue
        parsed = parse_field(key, value)
        holder = _holder(axes, key)
        if (key == "cell" and holder is not None) or (key == "task" and holder not in (None, "task")):
            _run_over(sweep, axes, key, [parsed])
            continue
        axes.pop(key, None)
        base = dataclasses.replace(base, **{key: parsed})
        axes = {axis: [_with_field(v, key, parsed) for v in vs] for axis, vs in axes.items()}
    for key, values in axis_texts:
        if key not in FIELDS:
            cells = _plain_cells(axes, base.cell, f"{key}={','.join(values)}")
            axes["cell"] = [with_options(cell, {key: value}) for cell in cells for value in values]
    for cell in options.cell:
        holder = _holder(axes, "cell") or "cell"
        axes[holder] = [*axes.get(holder, [base.cell]), *_one_more(sweep, axes.get(holder, ()), cell)]
    report_seeds = sweep.report_seeds
    if options.seeds is not None:
        num_choosing, num_reporting = _counts(options.seeds)
        axes["seed"] = range(num_choosing)
        report_seeds = range(FIRST_REPORT_SEED, FIRST_REPORT_SEED + num_reporting)
    new = dataclasses.replace(sweep, base=base, axes=axes, report_seeds=report_seeds)
    changes = [f"--set {text}" for text in options.set]
    changes += [f"--axis {text}" for text in options.axis if not text.startswith("seed=")]
    return _another(new, changes) if changes else new


def _another(sweep: Sweep, changes: Sequence[str]) -> Sweep:
    """The changed sweep under its own title, with those contrasts whose variants it still has."""
    variants = {trial.variant for trial in sweep.trials()}
    return dataclasses.replace(
        sweep,
        name=f"{sweep.name}, changed",
        question=f"What becomes of the sweep {sweep.name} with {' '.join(changes)}?",
        expects="",
        contrasts=tuple(pair for pair in sweep.contrasts if variants.issuperset(pair)),
    )


def _holder(axes: Mapping[str, Sequence[Any]], field: str) -> str | None:
    """The axis whose values are mappings that set this field."""
    found = (a for a, values in axes.items() if any(isinstance(v, Mapping) and field in v for v in values))
    return next(found, None)


def _run_over(sweep: Sweep, axes: dict[str, Sequence[Any]], field: str, values: Sequence[Any]) -> None:
    """Let a field take these values; one that sets other fields with it keeps doing so."""
    holder = _holder(axes, field)
    if holder is None or (holder != field and field not in ("cell", "task")):
        axes[field] = values
        return
    known: dict[Any, list] = {}
    for one in axes[holder]:
        if isinstance(one, Mapping) and field in one:
            known.setdefault(one[field], []).append(one)
    new = []
    for value in values:
        if value in known:
            new += known[value]
        elif field == "cell":
            new += _one_more(sweep, axes[holder], value)
        elif holder == field:
            new.append(value)
        else:
            raise ValueError(f"{field}={value!r}: this sweep sets other fields by it, and has {', '.join(known)}")
    axes[holder] = new


def _one_more(sweep: Sweep, beside: Sequence[Any], cell: str) -> Sequence[Any]:
    """What one more cell adds to the axis of these values."""
    bundles = [v for v in beside if isinstance(v, Mapping) and "cell" in v]
    if bundles and sweep.of_cell is not None:
        return sweep.of_cell(cell)
    if tied := [name for name in OF_A_CELL if any(name in v for v in bundles)]:
        raise ValueError(f"cell {cell!r}: the cells of {sweep.name} come with {', '.join(tied)}; add it in its file")
    return ({"cell": cell},) if bundles else (cell,)


def _plain_cells(axes: Mapping[str, Sequence[Any]], cell: str, option: str) -> Sequence[str]:
    """The cells of a sweep that an option can be given to: those that are their text and nothing else."""
    if _holder(axes, "cell") is not None:
        raise ValueError(
            f"{option} is no field of a trial, and no option for all cells of this sweep: they come with names or "
            f"sizes of their own. Give it to a cell of your own: --cell CELL:{option.split(',')[0]}"
        )
    return axes.get("cell", [cell])


def _counts(text: str) -> tuple[int, int]:
    """(5, 10) from "5,10"; (5, 0) from "5"."""
    counts = text.split(",")
    if not 1 <= len(counts) <= 2 or not all(re.fullmatch(r"\s*[+-]?\d+\s*", count) for count in counts):
        raise ValueError(f"--seeds takes C or C,R, whole numbers, got {text!r}")
    for count in counts:
        if int(count) < 1:
            raise ValueError(f"--seeds {text} must be at least 1")
    if len(counts) == 2 and int(counts[0]) > FIRST_REPORT_SEED:
        raise ValueError(f"--seeds {text}: at most {FIRST_REPORT_SEED} seeds can choose, those from there on report")
    return int(counts[0]), int(counts[1]) if len(counts) == 2 else 0


def _with_field(one: Any, key: str, value: Any) -> Any:
    """A value of an axis; where it sets several fields and this one among them, with the field set anew."""
    return {**one, key: value} if isinstance(one, Mapping) and key in one else one


def key_and_value(text: str, option: str) -> tuple[str, str]:
    """("seq_len", "50") from "seq_len=50".

    Raises:
      ValueError: another form; with the option it was given to.
    """
    key, _, value = text.partition("=")
    if not key or not value:
        raise ValueError(f"{option} takes KEY=VALUE, got {text!r}")
    return key.strip(), value.strip()


def _key_and_values(text: str, option: str) -> tuple[str, list[str]]:
    """("seq_len", ["50", "100"]) from "seq_len=50,100"; commas inside brackets do not part values."""
    key, rest = key_and_value(text, option)
    values = re.split(r",(?![^()]*\))", rest)
    if not all(values):
        raise ValueError(f"{option} takes KEY=VALUE, got {text!r}")
    return key, [value.strip() for value in values]
