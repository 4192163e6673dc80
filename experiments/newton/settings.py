"""What experiments.newton and experiments.newton.times can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from experiments.shared.settings import Checked, Code, Metavar, Size, Width, at_least, at_most

OUT = Path("results/newton")
SHORTEST = 20  # there is no exponent to speak of in less


@dataclass(frozen=True)
class Options(Checked):
    """Cells, and what all of them are measured on."""

    cells: Annotated[tuple[Code, ...], Metavar("CELL"), "names, or my_module:my_factory; all of CELLS by default"] = ()
    hidden_size: Annotated[Width, "units"] = 8
    seq_len: Annotated[int, at_least(SHORTEST), at_most(2**31 - 1), "steps that Newton's method takes at once"] = 256
    lag: Annotated[Size, "of the recall task that is trained on"] = 30
    trained: Annotated[Size, Metavar("N"), "steps of that training"] = 600
    seeds: Annotated[Size, "seeds 0..N-1"] = 2
    most: Annotated[Size, Metavar("N"), "iterations, after which it has not converged"] = 100
    again: Annotated[bool, "measure anew what DIR holds already"] = False
    out: Annotated[Path, Metavar("DIR"), "results folder"] = OUT


@dataclass(frozen=True)
class TimesOptions(Checked):
    """How carefully time is taken, and of what."""

    cells: Annotated[tuple[Code, ...], Metavar("CELL"), "names, or my_module:my_factory"] = (
        "elman",
        "gru",
        "lstm",
        "indrnn",
    )
    rounds: Annotated[Size, "in which both methods have a turn"] = 7
    again: Annotated[bool, "measure anew what DIR holds already"] = False
    out: Annotated[Path, Metavar("DIR"), "results folder"] = OUT
