"""harvest: the named intermediates of every step of a cell."""

from typing import Any

import jax

from rnnjax.cell import Array, Cell
from rnnjax.jaxprs import walk_named
from rnnjax.unrolling import needs_a_cell, unroll


def harvest(cell: Cell, params: Any, xs: Array, carry: Any = None, **options: Any) -> dict[str, Array]:
    """What the cell calls by `name`, at every step: {label: [T, *B, ...]}, for any cell without help from it.

    The arguments are those of `unroll`. A label used several times in one step, as in a stack, is numbered in order of
    appearance: forget_gate/0, forget_gate/1. Past a sequence's length all values are zero.

    Raises:
      ValueError: a Layer, which has no step of its own, and whatever `unroll` refuses.
    """

    def step(p, carry, z):
        closed = jax.make_jaxpr(cell.step)(p, carry, z)
        shape = jax.eval_shape(cell.step, p, carry, z)
        seen: list[tuple[str, Array]] = []
        leaves = walk_named(closed.jaxpr, closed.consts, jax.tree.leaves((p, carry, z)), seen)
        carry, _ = jax.tree.unflatten(jax.tree.structure(shape), leaves)
        return carry, _numbered(seen)

    if not isinstance(cell, Cell):
        raise ValueError(needs_a_cell("harvest", cell))
    instrumented = cell._replace(step=step)
    _, found = unroll(instrumented, params, xs, carry, **options)
    return found


def _numbered(seen: list[tuple[str, Array]]) -> dict[str, Array]:
    labels = [label for label, _ in seen]
    result = {}
    for position, (label, value) in enumerate(seen):
        repeated = labels.count(label) > 1
        result[f"{label}/{labels[:position].count(label)}" if repeated else label] = value
    return result
