"""The sweeps there are, by name."""

import importlib

from rich.console import Console

from experiments.sweep.settings import SWEEPS
from experiments.sweep.spec import Sweep


def load(name: str) -> Sweep:
    """The SWEEP of this name."""
    return importlib.import_module(f"experiments.{name}").SWEEP


def list_sweeps(console: Console) -> None:
    """Say what each of them asks."""
    for name in SWEEPS:
        sweep = load(name)
        console.print(f"[bold]{name}[/bold]  ({len(sweep.trials())} trials, more with --full)\n    {sweep.question}")
