"""The settings of a program: one frozen dataclass whose fields say type, bounds, default and help, checked when made.

    @dataclass(frozen=True)
    class Settings(Checked):
        cell: Annotated[Code, "a name, or my_module:my_factory"] = "lstm"
        hidden_size: Annotated[Width, "units of each layer"] = 140
        learning_rate: Annotated[Positive, "at first; falls to 0 along half a cosine"] = 0.01
        optimizer: Optimizer = "adam"

A text in an annotation is help, a `Bound` says what a value must be, a `Metavar` what it is called, and a `Mark` what
else there is to say. Types are bool, int, float, str, Path and Literal, tuples of one of these, and any of all that or
None. A value that does not fit is a ValueError that names the field, whether it comes from Python, from JSON
(`from_json`) or from the command line (command_line.py, which makes flags of the fields).

Nothing here imports JAX, so that --help answers at once.
"""

import dataclasses
import math
import types
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar, Union, get_args, get_origin, get_type_hints

SHOWN = 60  # characters of a wrong value


class Bound(NamedTuple):
    """What a value must be. Written as a comparison, `holds` refuses NaN, which compares false with everything."""

    holds: Callable[[Any], bool]
    text: str  # "must be ..."
    said: bool = True  # in --help


class Metavar(str):
    """What a value is called in --help."""


class Mark(Enum):
    """What else an annotation may say of a field."""

    CODE = "a text that may name a function to be called, as my_module:my_factory"
    PLACE = "an option that is given by its place on the command line"
    NO_FLAG = "a setting that presets alone set"
    BARE = "an option that may be given without a value, which is then the empty text"


def at_least(least: int) -> Bound:
    return Bound(lambda x: x >= least, f"at least {least}")


def at_most(most: int) -> Bound:
    """A bound that only mistakes and damaged files come upon."""
    return Bound(lambda x: x <= most, f"at most {most}", said=False)


Size = Annotated[int, at_least(1), at_most(2**31 - 1)]  # devices count in int32
Count = Annotated[int, at_least(0), at_most(2**31 - 1)]
Width = Annotated[int, at_least(1), at_most(2**16)]  # of what there is memory for: units, layers, windows
Positive = Annotated[float, Bound(lambda x: 0 < x < math.inf, "above 0, and finite")]  # learning rates, temperatures
Limit = Annotated[float, Bound(lambda x: x > 0, "above 0; inf is none")]  # of norms
Weight = Annotated[float, Bound(lambda x: 0 <= x < math.inf, "at least 0, and finite")]  # of penalties
Rate = Annotated[float, Bound(lambda x: 0 <= x < 1, "at least 0 and below 1")]  # of dropout
Share = Annotated[float, Bound(lambda x: 0 < x < 1, "above 0 and below 1")]
Code = Annotated[str, Mark.CODE]
Folder = Annotated[Path | None, Metavar("DIR")]
# The names of OPTIMIZERS and SCHEDULES (rnnjax/training/optimizers.py), which to ask would import JAX.
Optimizer = Literal["adam", "rmsprop", "sgd", "momentum", "nesterov", "adagrad", "averaged_gradient"]
Schedule = Literal["constant", "linear", "cosine"]
# Factories of this project's own sweeps and programs, by the names that its results and models hold.
OWN_CELLS = (
    "experiments.remedies:rnn",
    *(
        f"experiments.advice:{name}"
        for name in ("normalised", "glorot", "small", "dropped_inputs", "dropped_recurrent")
    ),
    *(f"experiments.classify.cells:{name}" for name in ("elman_by_hand", "elman_torch", "lstm_keras")),
    "experiments.forecast.network:lstm_keras",
)


# --- fields -----------------------------------------------------------------------------------------------------------


class Field(NamedTuple):
    """A field of a dataclass, as its annotation has it."""

    name: str
    kind: type  # of a value, or of a tuple's elements
    names: tuple[str, ...]  # all there are, of a Literal
    length: int | None  # None: no tuple; 0: of any length
    optional: bool  # may be None
    marks: tuple[Any, ...]  # bounds, Metavar, Mark
    help: str
    default: Any  # dataclasses.MISSING where it must be given

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def bounds(self) -> list[Bound]:
        return [mark for mark in self.marks if isinstance(mark, Bound)]

    def check(self, value: Any, where: str) -> Any:
        """The value in the field's type; `where` stands before a wrong one in the message: "dropout=" or "--dropout ".

        Raises:
          ValueError: of another type, or out of bounds.
        """
        if value is None and self.optional:
            return None
        if self.length is None:
            return self._check_one(value, where)
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where}{shown(value)} is not a list")
        if self.length and len(value) != self.length:
            raise ValueError(f"{where}{shown(value)} must be {self.length} values, got {len(value)}")
        return tuple(self._check_one(one, where) for one in value)

    def parse(self, text: str) -> Any:
        """The value that a word of the command line stands for.

        Raises:
          ValueError: a text that is no number, where there must be one; a value out of bounds.
        """
        value: Any = text
        if self.kind in (int, float):
            try:
                value = self.kind(text)
            except ValueError:
                raise ValueError(f"{self.flag} {shown(text)} is not {KINDS[self.kind][1]}") from None
        return self._check_one(value, f"{self.flag} ")

    def _check_one(self, value: Any, where: str) -> Any:
        allowed, what = KINDS[self.kind]
        if not isinstance(value, allowed) or (isinstance(value, bool) and self.kind is not bool):
            raise ValueError(f"{where}{shown(value)} is not {what}")
        try:
            value = self.kind(value)
        except OverflowError:
            raise ValueError(f"{where}{shown(value)} is too large") from None
        if self.names and value not in self.names:
            from rnnjax.errors import unknown  # imports JAX, which only this mistake is worth

            raise ValueError(unknown(self.name.replace("_", " "), value[:SHOWN], self.names))
        if value != value:
            raise ValueError(f"{where}{value} is not a number")
        for bound in self.bounds:
            if not bound.holds(value):
                raise ValueError(f"{where}{shown(value)} must be {bound.text}")
        return value


KINDS: dict[type, tuple[Any, str]] = {  # what is taken for one, and what it is called
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a text"),
    Path: ((str, Path), "a path"),
}


def shown(value: Any) -> str:
    """A value for a message: its repr, of reasonable length."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def fields_of(cls: type) -> dict[str, Field]:
    """The fields of a dataclass by name.

    Raises:
      TypeError: an annotation of another form than this module reads; a fault of the program, not of its user.
    """
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: _field(field, hints[field.name]) for field in dataclasses.fields(cls)}


def _field(field: dataclasses.Field, hint: Any) -> Field:
    marks: list[Any] = []
    names: tuple[str, ...] = ()
    length, optional = None, False
    while True:  # from the outside in
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Annotated:
            hint, *some = inner
            marks += some
        elif origin in (Union, types.UnionType) and len(inner) == 2 and inner[1] is type(None):
            hint, optional = inner[0], True
        elif origin is tuple and len(set(inner) - {...}) == 1:
            hint, length = inner[0], 0 if ... in inner else len(inner)
        elif origin is Literal:
            hint, names = str, inner
        elif hint in KINDS:
            break
        else:
            raise TypeError(f"{field.name}: {hint} is not what a setting can be")
    texts = [mark for mark in marks if type(mark) is str]
    return Field(field.name, hint, names, length, optional, tuple(marks), " ".join(texts), field.default)


class Checked:
    """A base of dataclasses whose values are checked when they are made, and are of their fields' types from then on.

    What fields must be together is for a subclass to check, in a `__post_init__` that begins with `super()`'s.
    """

    def __post_init__(self) -> None:
        for name, field in fields_of(type(self)).items():
            object.__setattr__(self, name, field.check(getattr(self, name), f"{name}="))

    @classmethod
    def from_json(cls, mapping: Any, file: str | Path, others: Collection[str] = (), trust_code: bool = False) -> Self:
        """The settings that a JSON object of a file says, which is believed nothing.

        Every field must be there, in its own type and bounds; no key may be there beside these and `others`.
        Infinities are written "inf", as `plain` does. A file does not choose what runs: it may name a function of
        some module only where the user said so, with `trust_code`.

        Raises:
          ValueError: anything else, with the file and the field.
        """
        if not isinstance(mapping, Mapping):
            raise ValueError(f"{file}: {shown(mapping)} is not an object with a field for each setting")
        fields = fields_of(cls)
        if missing := [name for name in fields if name not in mapping]:
            raise ValueError(f"{file} lacks {', '.join(missing)}")
        for key in mapping:
            if key not in fields and key not in others:
                from rnnjax.errors import unknown

                raise ValueError(f"{file}: {unknown('setting', str(key)[:SHOWN], fields)}")
        try:
            return cls(**{name: _from_json(field, mapping[name], trust_code) for name, field in fields.items()})
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None


def _from_json(field: Field, value: Any, trust_code: bool) -> Any:
    if field.kind is float and value in ("inf", "-inf"):
        return float(value)
    if Mark.CODE in field.marks and isinstance(value, str) and not trust_code:
        name = ":".join(part for part in value.split(":") if "=" not in part)  # those with = are options: lstm:clip=2
        if ":" in name and name not in OWN_CELLS:
            raise would_import(f"{field.name}={shown(value)}")
    return value


def would_import(what: str) -> ValueError:
    """The error of a file's word that names a module: a file never chooses what code runs."""
    return ValueError(
        f"{what} would import a module, and so run code, because a file says so; nothing was imported. If you trust "
        "that file and that module, say so with --trust-code"
    )


def plain(value: Any) -> Any:
    """A dataclass, a mapping or a value as JSON holds it: infinities and paths are texts."""
    if value is None or isinstance(value, str | int):  # most are
        return value
    if dataclasses.is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(value) if isinstance(value, Path) else value


# --- presets ----------------------------------------------------------------------------------------------------------

S = TypeVar("S", bound=Checked)


def override(preset: S, named: Mapping[str, Any]) -> tuple[S, dict[str, Any]]:
    """A preset with what was named in place of its own, and those fields that are not as it has them, in its order.

    Raises:
      ValueError: a value that does not fit, or does not fit with the others.
    """
    changed = {name: named[name] for name in fields_of(type(preset)) if name in named}
    changed = {name: value for name, value in changed.items() if value != getattr(preset, name)}
    return dataclasses.replace(preset, **changed), changed  # type: ignore[type-var]


def as_flags(changed: Mapping[str, Any]) -> list[str]:
    """["--scale-on training", "--no-masked"]: what to add to a command to set these fields."""
    words = []
    for name, value in changed.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(f"--{flag} {' '.join(map(str, value)) if isinstance(value, tuple) else value}")
    return words


def as_words(changed: Mapping[str, Any]) -> list[str]:
    """["schedule=linear", "masked=False"]."""
    return [f"{name}={value}" for name, value in changed.items()]
