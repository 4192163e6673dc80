"""What is read of jaxprs: a step as a list of equations, named values, and which leaves are recurrent matrices.

Here stands all that is borrowed from inside jax about programs: its primitives by name, and where they hold programs of
their own. Names differ from version to version, so an equation with a program inside that is not in one of the lists
below is an error with its name.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var

from rnnjax.cell import Array, Cell, intercept_recur

Values = dict[int, Any]

# Their one program runs once, where they stand: read as if it were written out.
CALLS = frozenset({"jit", "closed_call", "call", "eval_jaxpr"})
# So does that of jax.checkpoint; what it keeps for a backward pass would be lost in writing it out.
RECOMPUTED = frozenset({"remat2"})
# Taken as one operation: loops and branches, whose programs run more or less than once; rules of one's own for
# derivatives, batches and lowering, which hold for the whole; devices; and functions of scalars. Names inside them are
# out of sight, and a weight that meets the carry inside one is differentiated with it, step by step.
WHOLE = frozenset(
    {
        *("scan", "while", "cond"),
        *("custom_jvp_call", "custom_vjp_call", "custom_lin", "custom_linear_solve", "linear_call"),
        *("custom_vmap_call", "custom_partitioning", "composite", "pallas_call"),
        "shard_map",
        *("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max"),
        *("reduce", "reduce_window", "select_and_scatter"),
    }
)
PRODUCTS = frozenset({"dot_general", "conv_general_dilated"})
SLOPES = {"tanh": lambda y: 1 - y * y, "logistic": lambda y: y * (1 - y)}  # of functions known by their output
ROWS_TIMES_MATRIX = (((1,), (0,)), ((), ()))


class Equation(NamedTuple):
    """One primitive: outputs = primitive(inputs), values by number, constants as literals."""

    primitive: Any
    params: dict
    inputs: tuple[Any, ...]
    outputs: tuple[int, ...]

    @property
    def kind(self) -> str:
        return self.primitive.name

    @property
    def label(self) -> str | None:
        """What `cell.name` called the value, where this is such a name."""
        return self.params["name"] if self.kind == "name" else None

    @property
    def is_product(self) -> bool:
        return self.kind in PRODUCTS

    @property
    def is_sum(self) -> bool:
        return self.kind == "add"

    @property
    def is_cast(self) -> bool:
        return self.kind == "convert_element_type"

    def is_rows_times_matrix(self, operand: Array, weight: Array) -> bool:
        """Whether it is h [..., H] times U [H, N], so that more steps are just more rows of one plain product.

        `operand` is that of several steps, [size, ..., H].
        """
        if self.kind != "dot_general" or weight.ndim != 2:
            return False
        last = operand.ndim - 2  # of the operand of one step
        (mine, its), batch = self.params["dimension_numbers"]
        return (tuple(mine), tuple(its), *map(tuple, batch)) == ((last,), (0,), (), ())

    def of_rows(self) -> "Equation":
        """The same product for rows [R, H] times U [H, N]."""
        return self._replace(params=self.params | {"dimension_numbers": ROWS_TIMES_MATRIX})

    def bind(self, *inputs: Any) -> Sequence[Any]:
        return _bind(self, inputs)


def _bind(equation: Any, inputs: Sequence[Any]) -> Sequence[Any]:
    primitive = equation.primitive
    outputs = primitive.bind(*inputs, **primitive.get_bind_params(equation.params))
    return outputs if primitive.multiple_results else [outputs]


def _body(equation: Any, written_out: frozenset[str]) -> tuple[Any, Sequence[Any]] | None:
    """(jaxpr, its constants) of a call that is `written_out`; None where an equation is taken as one operation.

    Raises:
      NotImplementedError: there is a program inside, and it is not known how it runs.
    """
    kind = equation.primitive.name
    if kind in written_out:
        (body,) = _programs(equation.params)
        return (body.jaxpr, body.consts) if isinstance(body, ClosedJaxpr) else (body, ())
    if kind not in CALLS | RECOMPUTED | WHOLE and any(True for _ in _programs(equation.params)):
        raise NotImplementedError(
            f"a step with the primitive {kind!r}, which holds a program of its own: how that runs is not known here. "
            "Its name belongs into CALLS or WHOLE of rnnjax/jaxprs.py; `unroll(method=Scan(engine='plain'))` does "
            "without reading the step"
        )
    return None


def _programs(params: dict) -> Iterator[Any]:
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, Jaxpr | ClosedJaxpr):
                yield one


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
            body = _body(equation, CALLS)
            if body is None or body[1]:  # constants of its own would have no number here
                outputs = [new(var) for var in equation.outvars]
                equations.append(Equation(equation.primitive, equation.params, tuple(inputs), tuple(outputs)))
            else:
                outputs = walk(body[0], [], inputs)
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


def walk_named(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], seen: list[tuple[str, Array]]) -> list:
    """Evaluate a jaxpr equation by equation, noting (label, value) at every `name`."""
    values = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, args, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        body = _body(equation, CALLS | RECOMPUTED)
        outputs = _bind(equation, inputs) if body is None else walk_named(body[0], body[1], inputs, seen)
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
