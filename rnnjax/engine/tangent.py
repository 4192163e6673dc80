"""The tangent of a scan whose weights act outside its inner loop: what scan.py describes, written out."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.chunks import chunk_size
from rnnjax.engine.plan import Plan
from rnnjax.jaxprs import SLOPES, Values, compute, needed

Array = jax.Array


@jax.custom_jvp
def _stand_in(value: Array, parts: tuple[Array, ...]) -> Array:
    """`value`, which is known to be the first of the parts; its tangent is the sum of theirs."""
    del parts
    return value


@_stand_in.defjvp
def _stand_in_jvp(primals, tangents):
    return primals[0], sum(tangents[1][1:], tangents[1][0])


@jax.custom_jvp
def _with_slope(y: Array, slope: Array, z: Array) -> Array:
    """y, which is known to be a function of z with this slope there; z itself need not be known."""
    del slope, z
    return y


@_with_slope.defjvp
def _with_slope_jvp(primals, tangents):
    return primals[0], primals[1] * tangents[2]


class Kept(NamedTuple):
    """What the forward pass leaves for the tangent."""

    weights: list[Any]
    consts: list[Any]
    carry: list[Any]  # before the first step
    inputs: list[Any]  # [T, ...]
    before: dict[int, Any]  # leaf of the carry -> its value before each step [T, ...], unless shared with ys
    shared: dict[int, Any]  # leaf of the carry -> its value after each step [T, ...]
    saved: dict[int, Any]  # value -> [T, ...]


class Tangents(NamedTuple):
    """Tangents; leaves without one are absent from the dictionaries."""

    weights: dict[int, Any]
    consts: dict[int, Any]
    carry: dict[int, Any]
    inputs: dict[int, Any]


def floats(leaves: Sequence[Any]) -> list[int]:
    return [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def narrowed_weights(plan: Plan, weights: Sequence[Any]) -> list[Any]:
    return [w if kind.narrow is None else w.astype(kind.narrow) for w, kind in zip(weights, plan.weights, strict=True)]


def replaced_at(values: Sequence[Any], position: int, value: Any) -> list[Any]:
    values = list(values)
    values[position] = value
    return values


def scan_tangent(plan: Plan, kept: Kept, tangents: Tangents, num_steps: int, reverse: bool) -> tuple[dict, dict]:
    """Tangents of the final carry and of ys, from all of theirs."""
    dcarry = {i: or_zeros(tangents.carry.get(i), kept.carry[i]) for i in floats(kept.carry)}
    size = deferred_steps(num_steps, kept.carry)
    count, rest = divmod(num_steps, size)
    parts = [(0, rest, 1), (rest, size, count)] if reverse else [(0, size, count), (count * size, rest, 1)]
    pieces = []
    for start, size, count in reversed(parts) if reverse else parts:
        if size * count == 0:
            continue
        stop = start + size * count
        dinputs = {i: leaf[start:stop].reshape(count, size, *leaf.shape[1:]) for i, leaf in tangents.inputs.items()}
        body = _chunk_tangent(plan, kept, tangents, start, size, num_steps, reverse)
        dcarry, dys = lax.scan(recomputed(body), dcarry, (jnp.arange(count), dinputs), count, reverse=reverse)
        pieces.append({i: leaf.reshape(size * count, *leaf.shape[2:]) for i, leaf in dys.items()})
    if len(pieces) == 1:
        return dcarry, pieces[0]
    return dcarry, {i: jnp.concatenate([piece[i] for piece in pieces[:: -1 if reverse else 1]]) for i in pieces[0]}


def deferred_steps(num_steps: int, carry: Sequence[Any]) -> int:
    """Steps whose weight gradients are formed together: about 8, for more than 32 sequences 4.

    A product of some 256 rows is as fast as it gets on a core, and what a chunk keeps grows with its steps.
    """
    rows = max((math.prod(leaf.shape[:-1]) for leaf in carry), default=1)
    return chunk_size(num_steps, 8 if rows <= 32 else 4)


def recomputed(body: Callable) -> Callable:
    """A body of a scan whose intermediates are not stored by the forward pass."""
    return jax.checkpoint(body, prevent_cse=False)


def or_zeros(tangent: Any, leaf: Any) -> Array:
    return jnp.zeros_like(leaf) if tangent is None else tangent


def _at(a: Array, t: Any) -> Array:
    return lax.dynamic_index_in_dim(a, t, 0, keepdims=False)


def _chunk_tangent(
    plan: Plan, kept: Kept, tangents: Tangents, start: int, size: int, num_steps: int, reverse: bool
) -> Callable:
    """The tangent of `size` steps, as the body of a scan: (dcarry, (number of the chunk, dinputs)) -> (dcarry, dys)."""
    program = plan.program
    first = num_steps - 1 if reverse else 0
    consts = dict(zip(program.consts, kept.consts, strict=True))
    narrowed = narrowed_weights(plan, kept.weights)
    dconsts = {i: tangents.consts[i] for i in plan.direct_consts if i in tangents.consts}

    def step_values(t: Any) -> Values:
        """What is known before step t."""
        values = dict(consts)
        for leaf, value in enumerate(program.carry):
            if leaf in kept.before:
                values[value] = _at(kept.before[leaf], t)
            else:
                last = _at(kept.shared[leaf], jnp.clip(t + 1 if reverse else t - 1, 0, num_steps - 1))
                values[value] = jnp.where(t == first, kept.carry[leaf], last)
        values |= {value: _at(a, t) for value, a in zip(program.inputs, kept.inputs, strict=True)}
        return values

    def chunk_values(begin: Any) -> Values:
        """The same for all steps of a chunk, [size, ...], and the pre-activations and shared outputs."""

        def cut(a: Array) -> Array:
            return lax.dynamic_slice_in_dim(a, begin, size)

        values = {}
        for leaf, value in enumerate(program.carry):
            if leaf in kept.before:
                values[value] = cut(kept.before[leaf])
            else:
                after = kept.shared[leaf]
                edge = begin + size if reverse else begin - 1
                outside = begin + size > first if reverse else begin <= first
                last = _at(after, jnp.clip(edge, 0, num_steps - 1))
                last = jnp.where(outside, kept.carry[leaf], last)[None]
                here = cut(after)
                pair = [here[1:], last] if reverse else [last, here[:-1]]
                values[value] = jnp.concatenate(pair)
                values[program.carry_out[leaf]] = here
        values |= {value: cut(a) for value, a in zip(program.inputs, kept.inputs, strict=True)}
        return values | {value: cut(a) for value, a in kept.saved.items()}

    def contributions(begin: Any, dinputs: dict[int, Any]) -> dict[int, Array]:
        """E of the module's docstring, by sink: [size, ...]."""
        values = chunk_values(begin)
        dvalues: Values = {program.inputs[i]: leaf for i, leaf in dinputs.items()}
        total: dict[int, Array] = {}

        def add(sink: int, part: Array) -> None:
            total[sink] = total[sink] + part if sink in total else part

        operands, doperands = _operands(plan, consts, values, tangents.consts, dvalues)
        for position, site in plan.sites.items():
            equation = program.equations[position]
            dweight = tangents.weights.get(site.weight)
            shape = program.avals[equation.outputs[0]].shape
            narrow = plan.weights[site.weight].narrow
            if dweight is not None and narrow is not None:
                dweight = dweight.astype(narrow)
            if not site.is_product:
                if dweight is not None:
                    add(site.sink, jnp.broadcast_to(dweight, (size, *shape)))
                continue

            def product(weight: Array, operand: Array) -> Array:
                both = (weight, operand) if site.weight_at == 0 else (operand, weight)
                return equation.bind(*both)[0]

            def over_steps(weight: Array, operand: Array) -> Array:
                if site.weight_at != 1 or not equation.is_rows_times_matrix(operand, weight):
                    return jax.vmap(product, (None, 0))(weight, operand)
                rows = operand.reshape(-1, operand.shape[-1])
                return equation.of_rows().bind(rows, weight)[0].reshape(size, *shape)

            if dweight is not None:
                add(site.sink, over_steps(dweight, operands[site.operand]))
            if site.operand in doperands:
                add(site.sink, over_steps(narrowed[site.weight], doperands[site.operand]))
        return total

    def body(dcarry: dict[int, Any], chunk: tuple) -> tuple[dict, dict]:
        number, dinputs = chunk
        begin = start + number * size
        sums = contributions(begin, dinputs)
        direct = {i: leaf for i, leaf in dinputs.items() if i in plan.direct_inputs}

        def inner(dcarry, one):
            k, dsums, dinputs = one
            t = begin + k
            known = step_values(t)
            saved = {value: _at(a, t) for value, a in kept.saved.items()}
            ends = {leaf: _at(kept.shared[leaf], t) for leaf in plan.by_output.values()}
            carry = {i: known[program.carry[i]] for i in dcarry}
            given = {i: kept.consts[i] for i in dconsts}, {i: known[program.inputs[i]] for i in dinputs}
            zeros = {sink: jnp.zeros_like(dsum) for sink, dsum in dsums.items()}

            def replay(carry, sums, consts, inputs):
                values = known | {program.carry[i]: leaf for i, leaf in carry.items()}
                values |= {program.consts[i]: leaf for i, leaf in consts.items()}
                values |= {program.inputs[i]: leaf for i, leaf in inputs.items()}
                after, ys = _replay(plan, values, narrowed, saved, sums, ends)
                return {i: after[i] for i in floats(after)}, {i: ys[i] for i in floats(ys)}

            _, outputs = jax.jvp(replay, (carry, zeros, *given), (dcarry, dsums, dconsts, dinputs))
            return outputs

        return lax.scan(recomputed(inner), dcarry, (jnp.arange(size), sums, direct), size, reverse=reverse)

    return body


def _operands(
    plan: Plan, consts: Values, values: Values, dconsts: dict[int, Any], dvalues: Values
) -> tuple[dict[int, Array], dict[int, Array]]:
    """Operands of all products over a chunk [size, ...], and tangents of those that do not depend on the carry."""
    program = plan.program
    products = [site for site in plan.sites.values() if site.is_product]
    carried = list({site.operand: None for site in products if site.sees_carry})
    free = list({site.operand: None for site in products if not site.sees_carry})
    over_steps = jax.vmap(lambda values: compute(program, carried, consts | values))
    operands = dict(zip(carried, over_steps(values), strict=True)) if carried else {}
    if not free:
        return operands, {}

    # Of the constants only those that these operands are made of.
    used = {atom for i in needed(program, free, ()) for atom in program.equations[i].inputs if isinstance(atom, int)}
    dconsts = {program.consts[i]: leaf for i, leaf in dconsts.items() if program.consts[i] in used}
    used.update(free)
    dvalues = {value: leaf for value, leaf in dvalues.items() if value in used}
    inputs = {value: values[value] for value in program.inputs}

    def made(some_consts: Values, some_inputs: Values) -> dict[int, Array]:
        def one(inputs: Values) -> list[Array]:
            return compute(program, free, consts | some_consts | inputs)

        rest = {value: leaf for value, leaf in inputs.items() if value not in some_inputs}
        return dict(zip(free, jax.vmap(one)(rest | some_inputs), strict=True))

    primals = {value: consts[value] for value in dconsts}, {value: inputs[value] for value in dvalues}
    if not dconsts and not dvalues:
        return operands | made(*primals), {}
    made_primal, doperands = jax.jvp(made, primals, (dconsts, dvalues))
    return operands | made_primal, doperands


def _replay(
    plan: Plan, values: Values, narrowed: list, saved: Values, sums: Values, ends: dict[int, Array]
) -> tuple[list, list]:
    """A step once more: from the pre-activations stored, with `sums` (zeros that have a tangent) added at the sinks.

    What a function of SLOPES made of a pre-activation is in `ends`, by leaf of the carry.
    """
    program = plan.program

    def bind(position: int, *values: Any) -> Sequence[Any]:
        inputs: Sequence[Any] = values
        equation, site = program.equations[position], plan.sites.get(position)
        if position in plan.by_output:
            y = ends[plan.by_output[position]]
            return [_with_slope(y, SLOPES[equation.kind](y), *inputs)]
        if site is not None:
            inputs = replaced_at(inputs, site.weight_at, narrowed[site.weight])
            if site.is_product and not site.sees_carry:
                inputs = replaced_at(inputs, 1 - site.weight_at, lax.stop_gradient(inputs[1 - site.weight_at]))
        outputs = equation.bind(*inputs)
        for i, value in enumerate(equation.outputs):
            if value in saved or value in sums:
                parts = (outputs[i], sums[value]) if value in sums else (outputs[i],)
                outputs = replaced_at(outputs, i, _stand_in(saved.get(value, outputs[i]), parts))
        return outputs

    outputs = compute(program, [*program.carry_out, *program.ys], values, bind)
    return outputs[: len(program.carry_out)], outputs[len(program.carry_out) :]
