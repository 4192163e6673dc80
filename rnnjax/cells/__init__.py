"""Every cell by name. A cell is a factory `name(hidden_size, **options) -> Cell`, one line in CELLS."""

import inspect
from collections.abc import Callable

from rnnjax.cell import Cell
from rnnjax.cells.elman import ElmanParams, elman, elman_relu, irnn
from rnnjax.cells.gru import GRUParams, gru, gru_reset_before
from rnnjax.cells.lstm import (
    LSTMCarry,
    LSTMParams,
    lstm,
    lstm_1997,
    lstm_cifg,
    lstm_fgr,
    lstm_nfg,
    lstm_niaf,
    lstm_nig,
    lstm_noaf,
    lstm_nog,
    lstm_np,
    lstm_vanilla,
)
from rnnjax.errors import unknown

CELLS: dict[str, Callable[..., Cell]] = {
    "elman": elman,
    "elman_relu": elman_relu,
    "irnn": irnn,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
    "lstm": lstm,
    "lstm_1997": lstm_1997,
    "lstm_vanilla": lstm_vanilla,
    "lstm_np": lstm_np,
    "lstm_nig": lstm_nig,
    "lstm_nfg": lstm_nfg,
    "lstm_nog": lstm_nog,
    "lstm_niaf": lstm_niaf,
    "lstm_noaf": lstm_noaf,
    "lstm_cifg": lstm_cifg,
    "lstm_fgr": lstm_fgr,
}

__all__ = ["CELLS", "ElmanParams", "GRUParams", "LSTMCarry", "LSTMParams", "cell_options", "make_cell", *CELLS]


def cell_options(factory: Callable[..., Cell]) -> dict[str, inspect.Parameter]:
    """The options a factory takes, by name, with their defaults."""
    parameters = list(inspect.signature(factory).parameters.values())[1:]
    return {p.name: p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD}


def make_cell(name: str, hidden_size: int, **options) -> Cell:
    """The cell of this name in CELLS.

    Raises:
      ValueError: unknown name or option (with the closest known one), or a value the factory refuses.
    """
    if name not in CELLS:
        raise ValueError(unknown("cell", name, CELLS))
    known = cell_options(CELLS[name])
    for option in options:
        if option not in known:
            raise ValueError(unknown(f"option of cell {name!r}", option, known))
    return CELLS[name](hidden_size, **options)
