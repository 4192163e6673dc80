"""What a cell does with its matrices, found by running one step of it in the abstract."""

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.cell import Cell, intercept_recur
from rnnjax.jaxprs import recurrent_leaves


def try_one_step(cell: Cell, params: Any, p: Any, input_shape: tuple[int, ...]) -> None:
    """Trace one step, for what a context around it may see."""

    def one_step(params, p, x):
        return cell.step(p, cell.initial_carry(params, input_shape[:-1]), cell.project(p, x))

    jax.eval_shape(one_step, params, p, jax.ShapeDtypeStruct(input_shape, jnp.float32))


def recurrent_widths(cell: Cell, params: Any, p: Any, input_shape: tuple[int, ...]) -> list[int]:
    """The sizes of all that meets a recurrent matrix in one step, found by tracing one."""
    widths: set[int] = set()

    def note(product, h, U):
        widths.add(h.shape[-1])
        return product(h, U)

    with intercept_recur(note):
        try_one_step(cell, params, p, input_shape)
    return sorted(widths)


def square_recurrent(what: str, cell: Cell, params: Any, input_size: int) -> list[bool]:
    """For each leaf of the parameters, whether it is square blocks side by side that the state meets in a step."""
    leaves = jax.tree.leaves(params)
    met = recurrent_leaves(cell, params, input_size)
    chosen = [
        is_met and leaf.ndim == 2 and leaf.shape[1] % leaf.shape[0] == 0
        for leaf, is_met in zip(leaves, met, strict=True)
    ]
    if not any(chosen):
        raise ValueError(f"{what}: the state of this cell meets no square matrix")
    return chosen
