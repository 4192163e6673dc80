"""What is to be run: Trial and Sweep as plain data, the text forms of their values, and their identity."""

import dataclasses
import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from experiments.shared.cells import variant
from experiments.shared.settings import plain
from rnnjax.errors import unknown


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
    num_test: int = 1000  # too few to tell 98.5 from 99.5 %: new sweeps set 4,000, ids of old ones hold this default
    seed: int = 0
    label: str = ""  # what tables call it; by default the cell and its options
    omega: float = 0.0  # weights of further terms of the loss, see trials/terms.py
    auxiliary: float = 0.0
    auxiliary_lag: int = 10
    stop_when_solved: bool = False  # end once the criterion was met at three evaluations in a row

    @cached_property
    def id(self) -> str:
        """Readable, and unique by a hash of all names and values: it never depends on a trial's position."""
        values = {name: getattr(self, name) for name in FIELDS}
        for name, value in values.items():
            if type(value) is not FIELDS[name].type:  # 1 is 1.0
                values[name] = parse_field(name, value)
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
# Fields that are part of an id only where they are not at their default, so that ids from before they came still hold.
ADDED = ("label", "omega", "auxiliary", "auxiliary_lag", "stop_when_solved")
FIRST_REPORT_SEED = 1000  # seeds that report start here, those that choose at 0
MOST_CONTRASTS = 8  # named before anything runs, so that few p-values are corrected for few others
MOST_TRIALS = 100_000  # of a sweep: planning takes about a tenth of a millisecond each


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A base trial and named axes: every combination of axis values is a trial.

    An axis named after a field of Trial holds its values; a value that is a mapping sets several fields together.
    With `report_seeds` a sweep has two stages: its trials choose the learning rate of each (task, lag, variant), and
    what is reported is run at the chosen rate alone, with these seeds in place of the trials' own.
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
    full: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # and further fields of the sweep, at that size
    report_seeds: Sequence[int] = ()
    contrasts: tuple[tuple[str, str], ...] = ()  # (variant, baseline): what is tested, at every task and lag
    # the mappings that one more cell adds to the axis whose mappings hold the cells; None where a mapping of the cell
    # alone will do
    of_cell: Callable[[str], Sequence[Mapping[str, Any]]] | None = None

    def __post_init__(self):
        if len(self.contrasts) > MOST_CONTRASTS:
            raise ValueError(f"{len(self.contrasts)} contrasts are named; at most {MOST_CONTRASTS} are allowed")

    def at_full_size(self) -> "Sweep":
        """The sweep at the size that is reported."""
        base = dataclasses.replace(self.base, **self.full_base)
        axes = self.full_axes() if callable(self.full_axes) else self.full_axes
        axes = {**self.axes, **axes}
        return dataclasses.replace(self, base=base, axes=axes, full_base={}, full_axes={}, full={}, **self.full)

    def trials(self) -> list[Trial]:
        """All combinations of values, each once.

        Raises:
          ValueError: more than MOST_TRIALS, before any is made.
        """
        return list(self._trials)

    @cached_property  # planning asks several times, and a trial's id, once known, stays with it
    def _trials(self) -> tuple[Trial, ...]:
        count = math.prod(len(values) for values in self.axes.values())
        if count > MOST_TRIALS:
            sizes = " x ".join(f"{len(values):,} of {axis}" for axis, values in self.axes.items())
            raise ValueError(
                f"{count:,} trials ({sizes}) are more than a table holds, {MOST_TRIALS:,}; give fewer values"
            )
        combinations = itertools.product(*([as_fields(axis, value) for value in v] for axis, v in self.axes.items()))
        made = (dataclasses.replace(self.base, **_merged(combination)) for combination in combinations)
        return tuple(dict.fromkeys(made))

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
            "report_seeds": list(self.report_seeds),
            "contrasts": [list(pair) for pair in self.contrasts],
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
    return Sweep(
        *texts,
        base,
        axes,
        description["metric"],
        report_seeds=tuple(parse_field("seed", seed) for seed in description.get("report_seeds", ())),
        contrasts=tuple((str(one), str(baseline)) for one, baseline in description.get("contrasts", ())),
    )


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
    if kind is bool:
        if str(value).lower() not in ("true", "false"):
            raise ValueError(f"{field}={value!r} is not true or false")
        return str(value).lower() == "true"
    try:
        number = value if kind is str else float(value)
        if kind is int and number != int(number):
            raise ValueError
        return kind(number)
    except (ValueError, TypeError, OverflowError):
        wanted = {int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"{field}={value!r} is not {wanted}") from None
