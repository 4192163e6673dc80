"""What is read of jaxprs: a step as a list of equations, named values, and which leaves are recurrent matrices."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal, Var

from rnnjax.cell import Array, Cell, intercept_recur

Values = dict[int, Any]
CALLS = {"jit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr"}  # read as if written out


class Equation(NamedTuple):
    """One primitive: outputs = primitive(inputs), values by number, constants as literals."""

    primitive: Any
    params: dict
    inputs: tuple[Any, ...]
    outputs: tuple[int, ...]

    def bind(self, *inputs: Any) -> Sequence[Any]:
        outputs = self.primitive.bind(*inputs, **self.primitive.get_bind_params(self.params))
        return outputs if self.primitive.multiple_results else [outputs]


class Program(NamedTuple):
    """A step written out: what it reads, computes and returns, by number."""

    equations: list[Equation]
    avals: dict[int, Any]
    consts: list[int]  # constant over time
    carry: list[int]
    inputs: list[int]
    carry_out: list[Any]
    ys: list[Any]


def write_out(jaxpr: Any, num_carry: int, num_carry_out: int) -> Program:
    """The equations of a jaxpr (arguments: carry, inputs), calls inside it written out."""
    equations: list[Equation] = []
    avals: dict[int, Any] = {}

    def new(var: Any) -> int:
        avals[len(avals)] = var.aval
        return len(avals) - 1

    def walk(jaxpr: Any, consts: list, args: list) -> list:
        number = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, args, strict=True))
        for equation in jaxpr.eqns:
            inputs = [atom if isinstance(atom, Literal) else number[atom] for atom in equation.invars]
            body = equation.params.get(CALLS.get(equation.primitive.name, ""))
            inner, inner_consts = (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, [])
            if body is None or inner_consts:
                outputs = [new(var) for var in equation.outvars]
                equations.append(Equation(equation.primitive, equation.params, tuple(inputs), tuple(outputs)))
            else:
                outputs = walk(inner, [], inputs)
            number |= dict(zip(equation.outvars, outputs, strict=True))
        return [atom if isinstance(atom, Literal) else number[atom] for atom in jaxpr.outvars]

    consts, args = [new(var) for var in jaxpr.constvars], [new(var) for var in jaxpr.invars]
    outputs = walk(jaxpr, consts, args)
    return Program(
        equations, avals, consts, args[:num_carry], args[num_carry:], outputs[:num_carry_out], outputs[num_carry_out:]
    )


def needed(program: Program, wanted: Iterable[Any], known: Iterable[int]) -> list[int]:
    """Positions of the equations that lead from known values to the wanted ones, in order."""
    known, missing, found = set(known), {atom for atom in wanted if isinstance(atom, int)}, []
    for position in reversed(range(len(program.equations))):
        equation = program.equations[position]
        if missing.difference(known).intersection(equation.outputs):
            found.append(position)
            missing.update(atom for atom in equation.inputs if isinstance(atom, int))
    return found[::-1]


def compute(program: Program, wanted: Sequence[Any], known: Values, bind: Callable | None = None) -> list[Any]:
    """The wanted values from known ones; `bind(position, *inputs)` may stand in for evaluating an equation."""
    values = dict(known)

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for position in needed(program, wanted, known):
        equation = program.equations[position]
        inputs = [read(atom) for atom in equation.inputs]
        outputs = equation.bind(*inputs) if bind is None else bind(position, *inputs)
        values = dict(zip(equation.outputs, outputs, strict=True)) | values
    return [read(atom) for atom in wanted]


# Calls whose body is walked as if it stood in the step itself, by the parameter that holds the body. Names inside
# custom derivative rules and loops are out of sight.
_BODIES = {
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}


def walk_named(jaxpr: Any, consts: list, args: list, seen: list[tuple[str, Array]]) -> list:
    """Evaluate a jaxpr equation by equation, noting (label, value) at every `name`."""
    values = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, args, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        body = equation.params.get(_BODIES.get(equation.primitive.name, ""))
        if body is not None:
            inner, inner_consts = (body.jaxpr, body.consts) if hasattr(body, "consts") else (body, [])
            outputs = walk_named(inner, inner_consts, inputs, seen)
        else:
            outputs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        if equation.primitive.name == "name":
            seen.append((equation.params["name"], outputs[0]))
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def recurrent_leaves(cell: Cell, params: Any, input_size: int) -> list[bool]:
    """For each leaf of the parameters, whether a matrix that meets the state in a step is made of it."""

    def matrices(params: Any) -> list[Array]:
        seen: list[Array] = []

        def note(product: Callable, h: Array, U: Array) -> Array:
            seen.append(U)
            return product(h, U)

        with intercept_recur(note):
            p = cell.prepare(params, None, (input_size,))
            cell.step(p, cell.initial_carry(params), cell.project(p, jnp.zeros(input_size, jnp.float32)))
        return seen

    jaxpr = jax.make_jaxpr(matrices)(params).jaxpr
    needed = {atom for atom in jaxpr.outvars if isinstance(atom, Var)}
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(equation.outvars):
            needed.update(atom for atom in equation.invars if isinstance(atom, Var))
    return [var in needed for var in jaxpr.invars]
