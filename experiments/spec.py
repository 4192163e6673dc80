"""What is to be run: Trial and Sweep as plain data, the text forms of their values, and their identity."""

import dataclasses
import hashlib
import importlib
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.cell import Cell
from rnnjax.cells import CELLS, cell_options
from rnnjax.errors import unknown
from rnnjax.initializers import Chrono, Normal, Uniform

ACTIVATIONS: dict[str, Callable] = {
    "tanh": jnp.tanh,
    "softsign": jax.nn.soft_sign,
    "linear": lambda x: x,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
}


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training run. Two trials are the same if and only if all these values are."""

    task: str = "recall"
    seq_len: int | None = None  # None: the task's own
    cell: str = "lstm"  # name of CELLS or my_module:my_factory, then options: lstm:forget_bias=3:peepholes=true
    hidden_size: int = 32
    num_layers: int = 1
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    clip_norm: float = math.inf
    clip_value: float = math.inf
    l1: float = 0.0
    l2: float = 0.0
    batch_size: int = 32
    num_steps: int = 1000
    eval_every: int = 50  # steps between evaluations on the validation set
    num_validation: int = 500  # sizes of the held-out sets; a data set has its own
    num_test: int = 1000
    seed: int = 0
    label: str = ""  # what tables call it; by default the cell and its options
    omega: float = 0.0  # weights of further terms of the loss, see rnnjax/train.py
    auxiliary: float = 0.0
    auxiliary_lag: int = 10

    @property
    def id(self) -> str:
        """Readable, and unique by a hash of all names and values: it never depends on a trial's position."""
        values = {name: parse_field(name, value) for name, value in dataclasses.asdict(self).items()}  # 1 is 1.0
        values = {name: value for name, value in values.items() if name not in ADDED or value != FIELDS[name].default}
        text = json.dumps(plain(values), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        readable = f"{self.task}-{self.seq_len or 'own'}-{self.cell}-lr{self.learning_rate:g}-s{self.seed}"
        return f"{re.sub(r'[^A-Za-z0-9_.=+-]+', '-', readable)}-{digest}"

    @property
    def variant(self) -> str:
        """What tables call it."""
        return self.label or variant(self.cell)


FIELDS = {field.name: field for field in dataclasses.fields(Trial)}
# Factories of this project's own sweeps, by the names that its results hold.
OWN_CELLS = (
    "experiments.remedies:rnn",
    *(
        f"experiments.advice:{name}"
        for name in ("normalised", "glorot", "small", "dropped_inputs", "dropped_recurrent")
    ),
)
# Fields that are part of an id only where they are not at their default, so that ids from before they came still hold.
ADDED = ("label", "omega", "auxiliary", "auxiliary_lag")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A base trial and named axes: every combination of axis values is a trial.

    An axis named after a field of Trial holds its values; a value that is a mapping sets several fields together.
    """

    name: str
    question: str  # what is asked, in a sentence or two
    expects: str  # what the literature leads one to expect
    base: Trial
    axes: Mapping[str, Sequence[Any]]
    metric: str = "test_loss"  # what tables show beside the share solved: test_loss or test_accuracy
    full_base: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # what differs at the size that is reported
    # further axes at that size, or a function that makes them where that takes seconds
    full_axes: Mapping[str, Sequence[Any]] | Callable = dataclasses.field(default_factory=dict)

    def at_full_size(self) -> "Sweep":
        """The sweep at the size that is reported."""
        base = dataclasses.replace(self.base, **self.full_base)
        axes = self.full_axes() if callable(self.full_axes) else self.full_axes
        return Sweep(self.name, self.question, self.expects, base, {**self.axes, **axes}, self.metric)

    def trials(self) -> list[Trial]:
        combinations = itertools.product(*([as_fields(axis, value) for value in v] for axis, v in self.axes.items()))
        trials = [dataclasses.replace(self.base, **_merged(combination)) for combination in combinations]
        return list(dict.fromkeys(trials))

    def describe(self) -> dict[str, Any]:
        """As JSON holds it."""
        axes = {axis: [plain(value) for value in values] for axis, values in self.axes.items()}
        return {
            "name": self.name,
            "question": self.question,
            "expects": self.expects,
            "base": plain(dataclasses.asdict(self.base)),
            "axes": axes,
            "metric": self.metric,
        }


def as_fields(axis: str, value: Any) -> dict[str, Any]:
    """The fields of Trial that one value of an axis sets."""
    fields = dict(value) if isinstance(value, Mapping) else {axis: value}
    for field in fields:
        if field not in FIELDS:
            raise ValueError(unknown("axis", field, FIELDS))
    return fields


def _merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {field: value for part in parts for field, value in part.items()}


def sweep_from(description: Mapping[str, Any]) -> Sweep:
    """A Sweep from what `describe` made of it."""
    base = Trial(**{k: parse_field(k, v) for k, v in description["base"].items()})
    axes = {
        axis: [
            {k: parse_field(k, v) for k, v in value.items()} if isinstance(value, Mapping) else parse_field(axis, value)
            for value in values
        ]
        for axis, values in description["axes"].items()
    }
    texts = (description[key] for key in ("name", "question", "expects"))
    return Sweep(*texts, base, axes, description["metric"])


def plain(value: Any) -> Any:
    """A value as JSON can hold it: infinities as text."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def parse_field(field: str, value: Any) -> Any:
    """A field's value from text, or from JSON, in the field's own type.

    Raises:
      ValueError: unknown field, or a value of another type.
    """
    if field not in FIELDS:
        raise ValueError(unknown("setting", field, FIELDS))
    kind = FIELDS[field].type
    if kind == int | None:
        if value is None or str(value).lower() == "none":
            return None
        kind = int
    try:
        number = value if kind is str else float(value)
        if kind is int and number != int(number):
            raise ValueError
        return kind(number)
    except (ValueError, TypeError, OverflowError):
        wanted = {int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"{field}={value!r} is not {wanted}") from None


def parse_cell(text: str) -> tuple[str, dict[str, str]]:
    """("lstm", {"forget_bias": "3"}) from "lstm:forget_bias=3"; a name may itself be my_module:my_factory."""
    parts = text.split(":")
    options = [part for part in parts if "=" in part]
    name = ":".join(part for part in parts if "=" not in part)
    return name, dict(part.split("=", 1) for part in options)


def with_options(cell: str, options: Mapping[str, str]) -> str:
    """The text of a cell with options added, or replaced where it has them already."""
    name, own = parse_cell(cell)
    return ":".join([name, *(f"{k}={v}" for k, v in {**own, **options}.items())])


def variant(cell: str) -> str:
    """The label of a cell and its options in tables: "lstm forget_bias=3"."""
    name, options = parse_cell(cell)
    return " ".join([name, *(f"{k}={v}" for k, v in options.items())])


def check_named_by_file(cell: str, where: str, trust_code: bool = False) -> None:
    """Refuse a cell of a file's word that is not one of CELLS: a file never chooses which module is imported.

    Raises:
      ValueError: it names a module, and the user has not said that code it names may run; or it is no text.
    """
    if not isinstance(cell, str):
        raise ValueError(f"{where}: cell {cell!r} is not a text such as 'lstm:forget_bias=1'")
    name, _ = parse_cell(cell)
    if name in CELLS or name in OWN_CELLS or trust_code:
        return
    if ":" not in name:
        raise ValueError(f"{where}: {unknown('cell', name, CELLS)}")
    raise ValueError(
        f"{where}: cell {name!r} would import a module, and so run code, because a file says so; nothing was imported. "
        "If you trust that file and that module, say so with --trust-code"
    )


def factory_of(name: str) -> Callable[..., Cell]:
    """The factory a cell's name stands for.

    Raises:
      ValueError: a name that is not in CELLS, or a module or factory that cannot be imported.
    """
    if ":" not in name:
        if name not in CELLS:
            raise ValueError(unknown("cell", name, CELLS) + "; or my_module:my_factory for a cell of your own")
        return CELLS[name]
    if not all(part.isidentifier() for part in re.split("[:.]", name)):
        raise ValueError(f"cell {name!r} is not of the form my_module:my_factory")
    module_name, factory_name = name.rsplit(":", 1)
    if module_name in CELLS:
        raise ValueError(f"cell {name!r}: options are KEY=VALUE, as in {module_name}:{factory_name}=true")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module raises while it is imported
        raise ValueError(f"cell {name!r}: cannot import module {module_name!r} ({error})") from error
    if not callable(getattr(module, factory_name, None)):
        known = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
        raise ValueError(f"cell {name!r}: " + unknown(f"factory in {module_name}", factory_name, known))
    return getattr(module, factory_name)


def build_cell(text: str, hidden_size: int, num_steps: int) -> Cell:
    """The Cell that a trial's text stands for, the same object for the same text and sizes.

    `chrono` alone means chrono(the task's number of steps).

    Raises:
      ValueError: unknown cell or option, a value the factory refuses, or a factory that returns no Cell.
    """
    return _build_cell(re.sub(r"=chrono(?=:|$)", f"=chrono({num_steps})", text), hidden_size)


@cache
def _build_cell(text: str, hidden_size: int) -> Cell:
    name, options = parse_cell(text)
    factory = factory_of(name)
    known = cell_options(factory)
    for option in options:
        if option not in known:
            raise ValueError(unknown(f"option of cell {name!r}", option, known))
    values = {k: parse_option(k, v, known[k].default) for k, v in options.items()}
    try:
        cell = factory(hidden_size, **values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"cell {text!r}: {error}") from error
    if not isinstance(cell, Cell):
        raise ValueError(f"cell {text!r}: the factory returned {type(cell).__name__}, not an rnnjax Cell")
    return cell


def parse_option(option: str, text: str, default: Any = None) -> Any:
    """The value of a cell option from its text: numbers, true, false, none, biases, names of activations.

    An option whose default is true or false takes nothing else; one whose default is a number, no true, false or none;
    one whose default is a text takes it as it stands.

    Raises:
      ValueError: a text that is none of these, or not what this option takes.
    """
    lowered = text.lower()
    if isinstance(default, bool) and lowered not in ("true", "false"):
        raise ValueError(f"{option}={text!r}; allowed: true, false")
    if isinstance(default, float | int) and not isinstance(default, bool) and lowered in ("true", "false", "none"):
        raise ValueError(f"{option}={text!r} is not a number")
    if callable(default) and not option.endswith("activation"):
        raise ValueError(f"{option} takes a function, so it cannot be given here; use a cell of your own for it")
    if isinstance(default, str):
        return text
    if option.endswith("activation"):
        if text not in ACTIVATIONS:
            raise ValueError(unknown(f"value of {option}", text, ACTIVATIONS))
        return ACTIVATIONS[text]
    if lowered in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[lowered]
    if match := re.fullmatch(r"(chrono|normal|uniform)\(([^()]*)\)", lowered):
        try:
            kind = {"chrono": Chrono, "normal": Normal, "uniform": Uniform}[match[1]]
            return kind(*(float(number) for number in match[2].split(",")))
        except (TypeError, ValueError):
            raise ValueError(f"{option}={text!r} is not chrono(t_max) or uniform(low,high) or normal(std)") from None
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if not math.isfinite(number):
            raise ValueError(f"{option}={text!r} must be finite")
        return number
    raise ValueError(
        f"{option}={text!r} is not understood; allowed: a number, true, false, none, chrono, chrono(t_max), "
        "normal(std), uniform(low,high), and for activations " + ", ".join(ACTIVATIONS)
    )
