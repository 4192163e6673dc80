"""The sweeps there are, by name, and those of one's own."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from rich.console import Console

from experiments.sweep.settings import SWEEPS
from experiments.sweep.spec import Sweep
from rnnjax.errors import unknown


def load(name: str) -> Sweep:
    """The SWEEP of this name, of a file `my_sweeps.py`, or of a module, `my_module:SWEEP`.

    The name must be what the user typed: a file or a module it names is run.

    Raises:
      ValueError: a file or a module that cannot be read, or holds no such Sweep.
    """
    if name in SWEEPS:
        return importlib.import_module(f"experiments.{name}").SWEEP
    place, _, attribute = name.partition(":")
    attribute = attribute or "SWEEP"
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except FileNotFoundError:
        raise ValueError(f"sweep {name!r}: there is no file {place}") from None
    except Exception as error:  # whatever a user's module raises while it is imported
        raise ValueError(f"sweep {name!r}: cannot import {place} ({type(error).__name__}: {error})") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, Sweep):
        known = [key for key, value in vars(module).items() if isinstance(value, Sweep)]
        raise ValueError(f"sweep {name!r}: " + unknown(f"Sweep in {place}", attribute, known))
    return found


def _from_file(path: Path) -> ModuleType:
    """The module of a file, under its own name, so that it may hold cells and tasks too: `my_sweeps:my_cell`."""
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(path)
    sys.path.insert(0, str(path.parent))
    if path.stem in sys.modules and getattr(sys.modules[path.stem], "__file__", None) != str(path):
        raise ValueError(f"another module is named {path.stem} already; give the file another name")
    module = importlib.import_module(path.stem)
    if getattr(module, "__file__", None) != str(path):
        raise ValueError(f"another module is named {path.stem}, {module.__file__}; give the file another name")
    return module


def list_sweeps(console: Console) -> None:
    """Say what each of them asks."""
    for name in SWEEPS:
        sweep = load(name)
        console.print(f"[bold]{name}[/bold]  ({len(sweep.trials())} trials, more with --full)\n    {sweep.question}")
