"""The text form of cells: `lstm:forget_bias=3`, and the Cell it stands for."""

import importlib
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from experiments.shared.failures import TheirError, of_theirs
from experiments.shared.settings import OWN_CELLS, would_import
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
    raise would_import(f"{where}: cell {name!r}")


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
        if what := of_theirs(error):
            raise TheirError(f"cell {name!r}: cannot import module {module_name!r}, which raised {what}") from error
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
    except Exception as error:  # whatever a factory of the user's raises
        if what := of_theirs(error):
            raise TheirError(f"cell {text!r}: its factory raised {what}") from error
        if not isinstance(error, TypeError | ValueError):
            raise
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
