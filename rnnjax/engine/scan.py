"""The deferred engine: weight gradients formed outside the backward scan, for any step function.

Automatic differentiation of a scan adds a matrix to the gradient of every weight at every step. Here the step is traced
once and each place where a matrix that does not change over time meets something that does is found in its jaxpr:

    z_t = ... + h_t U + x_t W + b

The tangent of the scan is then written so that what the weights contribute stands outside the inner loop,

    E_t = h_t dU + x_t dW + dx_t W + db       for several steps at once, one product for each matrix
    dcarry_t, dy_t = J_t (dcarry_{t-1}, E_t)  step by step; J_t from the stored pre-activations, no product done again
                                              (or, where h_t = tanh(z_t) recurs and is returned, from 1 - h_t^2)

and transposing it, which JAX does, gives the backward pass: a scan that hands back dz_t, and dU = sum h_t' dz_t,
dW = sum x_t' dz_t, db = sum dz_t, dx_t = dz_t W' formed for several steps at once. As only the tangent is written, both
modes of differentiation, their compositions, vmap and shard_map work as everywhere.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from rnnjax.chunks import checkpoint_interval
from rnnjax.engine.plan import Plan, make_plan
from rnnjax.engine.tangent import (
    Kept,
    Tangents,
    floats,
    narrowed_weights,
    or_zeros,
    recomputed,
    replaced_at,
    scan_tangent,
)
from rnnjax.jaxprs import compute, write_out

Array = jax.Array


def deferred_scan(step: Callable, carry: Any, inputs: Any, num_steps: int, reverse: bool, save: str) -> tuple[Any, Any]:
    """`lax.scan(step, carry, inputs, num_steps, reverse)`; see the module for what becomes of its derivative.

    Args:
      save: "preactivations", "nothing" or "chunks", as in `unroll`.
    """
    if num_steps == 0:
        return lax.scan(step, carry, inputs, num_steps, reverse=reverse)
    carry_leaves, carry_tree = jax.tree.flatten(carry)
    input_leaves, input_tree = jax.tree.flatten(inputs)
    one_step = jax.eval_shape(lambda leaves: [leaf[0] for leaf in leaves], input_leaves)
    closed, out = jax.make_jaxpr(
        lambda carry, x: step(jax.tree.unflatten(carry_tree, carry), jax.tree.unflatten(input_tree, x)),
        return_shape=True,
    )(carry_leaves, one_step)
    structures: Any = jax.tree.structure(out[0]), jax.tree.structure(out[1])
    program = write_out(closed.jaxpr, len(carry_leaves), structures[0].num_leaves)
    same = [a.strip_weak_type() for a in closed.out_avals[: len(carry_leaves)]] == [
        jax.typeof(a).strip_weak_type() for a in carry_leaves
    ]
    if closed.effects or structures[0] != carry_tree or not same:
        return lax.scan(step, carry, inputs, num_steps, reverse=reverse)

    plan = make_plan(program, save_named=save != "nothing")
    consts = dict(zip(program.consts, closed.consts, strict=True))
    weights = compute(program, [weight.value for weight in plan.weights], consts)
    run = _make_run(plan, num_steps, reverse, in_chunks=save == "chunks")
    carry_leaves, ys = run(weights, list(closed.consts), carry_leaves, input_leaves)
    return jax.tree.unflatten(carry_tree, carry_leaves), jax.tree.unflatten(structures[1], ys)


def _make_run(plan: Plan, num_steps: int, reverse: bool, in_chunks: bool) -> Callable:
    @jax.custom_jvp
    def run(weights: list, consts: list, carry: list, inputs: list) -> tuple[list, list]:
        carry, ys, _ = _forward(plan, weights, consts, carry, inputs, num_steps, reverse, keep=False)
        return carry, ys

    def rule(primals: tuple[list, list, list, list], tangents: Any) -> tuple[Any, Any]:
        tangents = Tangents(*(_present(leaves) for leaves in tangents))
        carry, ys, kept = _forward(plan, *primals, num_steps, reverse, keep=True)
        tangent = recomputed(lambda kept, tangents: scan_tangent(plan, kept, tangents, num_steps, reverse))
        dcarry, dys = tangent(kept, tangents)
        return (carry, ys), (_every(dcarry, carry), _every(dys, ys))

    def rule_in_chunks(primals: tuple[list, list, list, list], tangents: Any) -> tuple[Any, Any]:
        tangents = Tangents(*(_present(leaves) for leaves in tangents))
        return _in_chunks(plan, *primals, tangents, num_steps, reverse)

    run.defjvp(rule_in_chunks if in_chunks else rule, symbolic_zeros=True)
    return run


def _present(leaves: Sequence[Any]) -> dict[int, Any]:
    return {i: leaf for i, leaf in enumerate(leaves) if not isinstance(leaf, SymbolicZero)}


def _every(tangents: dict[int, Any], leaves: Sequence[Any]) -> list[Any]:
    """Tangents of all leaves; those of integers are of the type that has no values."""
    return [
        tangents[i] if i in tangents else np.zeros(jnp.shape(leaf), jax.dtypes.float0) for i, leaf in enumerate(leaves)
    ]


def _forward(
    plan: Plan, weights: list, consts: list, carry: list, inputs: list, num_steps: int, reverse: bool, keep: bool
) -> tuple[list, list, Kept | None]:
    """The scan itself, and what it leaves for the tangent."""
    program = plan.program
    narrowed = narrowed_weights(plan, weights)
    wanted = [*program.carry_out, *program.ys, *(plan.saved if keep else ())]

    def bind(position: int, *inputs: Any) -> Sequence[Any]:
        values: Sequence[Any] = inputs
        site = plan.sites.get(position)
        if site is not None:
            values = replaced_at(values, site.weight_at, narrowed[site.weight])
        return program.equations[position].bind(*values)

    def step(carry, inputs):
        known = zip((*program.consts, *program.carry, *program.inputs), (*consts, *carry, *inputs), strict=True)
        outputs = compute(program, wanted, dict(known), bind)
        after, rest = outputs[: len(carry)], outputs[len(carry) :]
        before = {i: leaf for i, leaf in enumerate(carry) if i not in plan.shared} if keep else None
        return [jnp.asarray(a, b.dtype) for a, b in zip(after, carry, strict=True)], (rest, before)

    before_all = carry
    carry, (rest, before) = lax.scan(step, carry, inputs, num_steps, reverse=reverse)
    ys, saved = rest[: len(program.ys)], rest[len(program.ys) :]
    if not keep:
        return carry, ys, None
    shared = {leaf: ys[i] for leaf, i in plan.shared.items()}
    kept = Kept(weights, consts, before_all, inputs, before, shared, dict(zip(plan.saved, saved, strict=True)))
    return carry, ys, kept


def _in_chunks(
    plan: Plan,
    weights: list,
    consts: list,
    carry: list,
    inputs: list,
    tangents: Tangents,
    num_steps: int,
    reverse: bool,
) -> tuple[Any, Any]:
    """The scan and its tangent, keeping one carry for about sqrt(T) steps; the steps between are run once more."""
    size = checkpoint_interval(num_steps)
    count, rest = divmod(num_steps, size)
    parts = [(0, rest, 1), (rest, size, count)] if reverse else [(0, size, count), (count * size, rest, 1)]
    dcarry = {i: or_zeros(tangents.carry.get(i), carry[i]) for i in floats(carry)}
    pieces = []
    for start, size, count in reversed(parts) if reverse else parts:
        if size * count == 0:
            continue

        def cut(leaf):
            return leaf[start : start + size * count].reshape(count, size, *leaf.shape[1:])

        def run(carry, inputs):
            after, ys, _ = _forward(plan, weights, consts, carry, inputs, size, reverse, keep=False)
            return after, (ys, carry)

        def tangent(dcarry, one):
            carry, inputs, dinputs = one
            _, _, kept = _forward(plan, weights, consts, carry, inputs, size, reverse, keep=True)
            return scan_tangent(plan, kept, tangents._replace(carry=dcarry, inputs=dinputs), size, reverse)

        chunks = [cut(leaf) for leaf in inputs]
        carry, (ys, starts) = lax.scan(run, carry, chunks, count, reverse=reverse)
        dinputs = {i: cut(leaf) for i, leaf in tangents.inputs.items()}
        dcarry, dys = lax.scan(recomputed(tangent), dcarry, (starts, chunks, dinputs), count, reverse=reverse)
        pieces.append(jax.tree.map(lambda leaf: leaf.reshape(size * count, *leaf.shape[2:]), (ys, dys)))
    ys, dys = jax.tree.map(lambda *leaves: jnp.concatenate(leaves[:: -1 if reverse else 1]), *pieces)
    return (carry, ys), (_every(dcarry, carry), _every(dys, ys))
