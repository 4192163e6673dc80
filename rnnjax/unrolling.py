"""unroll: a cell over a sequence, by a method given as data. Knows no cell by name, and no method."""

import functools
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Inexact, Integer

from rnnjax.cell import Array, Cell, dtype_of, matmul_dtype as multiplying_in, where_each
from rnnjax.intercept import interceptable
from rnnjax.leaves import check_params
from rnnjax.linear import Start
from rnnjax.methods import Method, Recurrence, Scan, check_method


@interceptable
def unroll(
    cell: Cell,
    params: Any,
    xs: Inexact[Array, "T *B I"],
    carry: Any = None,
    *,
    lengths: Integer[Array, "*B"] | None = None,
    resets: Bool[Array, " T *B"] | None = None,
    reverse: bool = False,
    key: Array | None = None,
    matmul_dtype: Any = None,
    method: Method = Scan(),
) -> tuple[Any, Inexact[Array, "T *B O"]]:
    """Run a cell over time: (carry, ys [T, *B, O]) from xs [T, *B, I].

        carry_t, y_t = step(p, carry_{t-1}, project(p, x_t)),   t = 1..T

    Args:
      cell: the cell, or a stack of cells.
      params: what `cell.init` returned.
      xs: inputs [T, *B, I], time first, any number of batch axes (none too), cast to the dtype of the parameters.
      carry: the state to start from, as an earlier call returned it; None is the cell's initial one.
      lengths: integers [*B], 0 <= length <= T. From its length on, a sequence's carry stands still and its outputs are
        zero, so the returned carry is the one at its own last step. Padding is never read, not even a NaN in it.
      resets: booleans [T, *B]. Where true the carry goes back to the cell's initial one before that step.
      reverse: run from the last step to the first, each sequence within its own length; ys stay in the order of xs, and
        a reset acts before its step in the order of running.
      key: turns on what is random in a cell (dropout); None is evaluation.
      matmul_dtype: multiply matrices in this dtype, such as jnp.bfloat16; parameters, gates and carries keep theirs.
      method: how time is gone through. `Scan(save=..., engine=..., project=...)` goes step by step, and says what the
        backward pass keeps and how derivatives are taken; `Associative(chunk=..., ...)` takes stretches of steps at
        once, for cells that are linear in their carry; or any other `Method` (rnnjax/methods.py).

    Returns:
      (carry, ys): the carry after each sequence's last step, and all outputs.

    Raises:
      ValueError: params of another cell or size, shapes, lengths, a carry or a method that do not fit, before anything
        is compiled.
    """
    xs = jnp.asarray(xs)
    lengths, resets = (a if a is None or isinstance(a, Array) else np.asarray(a) for a in (lengths, resets))
    _check(cell, params, xs, lengths, resets, method)
    num_steps, batch_shape = xs.shape[0], xs.shape[1:-1]
    if jnp.issubdtype(xs.dtype, jnp.floating):
        xs = xs.astype(dtype_of(params))
    before = method.projects_before()

    active = None
    if lengths is not None:
        time = jnp.arange(num_steps).reshape(-1, *(1,) * len(batch_shape))
        active = time < lengths
        xs = where_each(active, xs, jnp.zeros_like(xs))
        if reverse:
            order = jnp.where(active, lengths - 1 - time, time)
            xs = _reorder(xs, order)
            resets = None if resets is None else _reorder(resets, order)

    with multiplying_in(matmul_dtype):
        p = cell.prepare(params, key, xs.shape[1:])
        initial = cell.initial_carry(params, batch_shape)
        carry = initial if carry is None else _matching(carry, initial)
        zs = cell.project(p, xs) if before else xs

        def stretch(carry, inputs):
            z, are_active, are_reset = inputs
            if are_active is not None:  # in padding every step begins anew: nothing grows there, and it is not returned
                are_reset = ~are_active if are_reset is None else are_reset | ~are_active
            starts = jax.tree.map(lambda value, first: Start(value, first, are_reset), carry, initial)
            states, y = cell.step(p, starts, z if before else cell.project(p, z))
            if are_active is None:
                return jax.tree.map(lambda leaf: leaf[-1], states), y
            num_active = jnp.sum(are_active, axis=0)
            last = jax.tree.map(lambda leaf: _reorder(leaf, jnp.maximum(num_active - 1, 0)[None])[0], states)
            carry = where_each(num_active > 0, last, carry)
            return carry, where_each(are_active, y, jax.tree.map(jnp.zeros_like, y))

        def step(carry, inputs):
            z, is_active, is_reset = inputs
            held = carry
            if is_reset is not None:
                carry = where_each(is_reset, initial, carry)
            carry, y = cell.step(p, carry, z if before else cell.project(p, z))
            if is_active is not None:
                carry = where_each(is_active, carry, held)
                y = where_each(is_active, y, jax.tree.map(jnp.zeros_like, y))
            return carry, y

        recurrence = Recurrence(step, stretch, params, batch_shape)
        backwards = reverse and lengths is None
        carry, ys = method.run(recurrence, carry, (zs, active, resets), num_steps, backwards)
    if reverse and lengths is not None:
        ys = jax.tree.map(lambda y: _reorder(y, order), ys)
    return carry, ys


def _reorder(values: Array, order: Array) -> Array:
    """values [T, *B, ...] taken along time by order [T, *B]."""
    order = order.reshape(order.shape + (1,) * (values.ndim - order.ndim))
    return jnp.take_along_axis(values, order, axis=0)


def _check(cell: Cell, params: Any, xs: Array, lengths: Any, resets: Any, method: Method) -> None:
    if not isinstance(cell, Cell):
        raise ValueError(needs_a_cell("unroll", cell))
    check_method(method)
    method.check(cell)
    if xs.ndim < 2:
        raise ValueError(f"xs must be [T, *batch, input_size], got shape {xs.shape}")
    _check_params(cell, params, xs.shape[-1])
    if lengths is not None:
        _check_lengths(lengths, xs)
    if resets is not None and jnp.shape(resets) != xs.shape[:-1]:
        raise ValueError(f"resets must be [T, *batch] = {xs.shape[:-1]} for xs {xs.shape}, got {jnp.shape(resets)}")


def needs_a_cell(name: str, given: Any) -> str:
    """What is said of a Layer, or of anything else, where a cell must be."""
    hint = "; a Layer has its own apply" if hasattr(given, "apply") else ""
    return f"{name} needs a Cell such as lstm(64), got {given!r}{hint}"


@functools.lru_cache(maxsize=256)
def _shapes_of(cell: Cell, input_size: int) -> Any:
    """The shapes of a cell's params; of a cell and size seen before at no cost."""
    return jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))


def _check_params(cell: Cell, params: Any, input_size: int) -> None:
    """Refuse params that are not this cell's; where they are, for another number of inputs, with that number."""
    try:
        check_params(params, _shapes_of(cell, input_size), f"{cell!r} on {input_size} inputs")
    except ValueError:
        rows = {jnp.shape(leaf)[0] for leaf in jax.tree.leaves(params) if jnp.ndim(leaf)}
        for size in sorted(rows | {row + 1 for row in rows}):  # a cell may have no row for one of its inputs
            with suppress(ValueError, TypeError):  # a size this cell cannot have, or one these params are not for
                check_params(params, _shapes_of(cell, size), "")
                break
        else:
            raise
        raise ValueError(
            f"the input has {input_size} features, but these parameters were initialised for input_size {size}"
        ) from None


def _check_lengths(lengths: Any, xs: Array) -> None:
    if jnp.shape(lengths) != xs.shape[1:-1]:
        raise ValueError(f"lengths must be [*batch] = {xs.shape[1:-1]} for xs {xs.shape}, got {jnp.shape(lengths)}")
    if not jnp.issubdtype(jnp.result_type(lengths), jnp.integer):
        raise ValueError(f"lengths must be integers, got {jnp.result_type(lengths)}")
    if not isinstance(lengths, jax.core.Tracer) and jnp.size(lengths):
        low, high = np.asarray(lengths).min(), np.asarray(lengths).max()
        if low < 0 or high > xs.shape[0]:
            raise ValueError(f"lengths must lie between 0 and T = {xs.shape[0]}, got {low} to {high}")


def _matching(carry: Any, initial: Any) -> Any:
    """The carry given, in the dtypes of the initial one, once its structure and shapes are known to fit."""
    structures: Any = jax.tree.structure(initial), jax.tree.structure(carry)
    wanted, given = structures
    if wanted != given:
        raise ValueError(f"the carry has the structure {given}, but this cell's is {wanted}")
    for a, b in zip(jax.tree.leaves(carry), jax.tree.leaves(initial), strict=True):
        if jnp.shape(a) != b.shape:
            raise ValueError(f"the carry has a leaf of shape {jnp.shape(a)} where this cell and batch need {b.shape}")
    return jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), carry, initial)
