"""harvest: the named intermediates of every step of a cell."""

from typing import Any

import jax
from jax.extend.core import Literal

from rnnjax.cell import Array, Cell
from rnnjax.unroll import unroll

# Calls whose body is walked as if it stood in the step itself, by the parameter that holds the body. Names inside
# custom derivative rules and loops are out of sight.
_BODIES = {
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}


def harvest(cell: Cell, params: Any, xs: Array, carry: Any = None, **options: Any) -> dict[str, Array]:
    """What the cell calls by `name`, at every step: {label: [T, *B, ...]}, for any cell without help from it.

    The arguments are those of `unroll`. A label used several times in one step, as in a stack, is numbered in order of
    appearance: forget_gate/0, forget_gate/1. Past a sequence's length all values are zero.
    """

    def step(p, carry, z):
        closed = jax.make_jaxpr(cell.step)(p, carry, z)
        shape = jax.eval_shape(cell.step, p, carry, z)
        seen: list[tuple[str, Array]] = []
        leaves = _walk(closed.jaxpr, closed.consts, jax.tree.leaves((p, carry, z)), seen)
        carry, _ = jax.tree.unflatten(jax.tree.structure(shape), leaves)
        return carry, _numbered(seen)

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


def _walk(jaxpr: Any, consts: list, args: list, seen: list[tuple[str, Array]]) -> list:
    """Evaluate a jaxpr equation by equation, noting (label, value) at every `name`."""
    values = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, args, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        body = equation.params.get(_BODIES.get(equation.primitive.name, ""))
        if body is not None:
            inner, inner_consts = (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, [])
            outputs = _walk(inner, inner_consts, inputs, seen)
        else:
            outputs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        if equation.primitive.name == "name":
            seen.append((equation.params["name"], outputs[0]))
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]
