"""unroll: a cell over a sequence, step by step or by stretches of time. Knows no cell by name."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.cell import Array, Cell, check_size, dtype_of, matmul_dtype as multiplying_in, where_each
from rnnjax.chunks import checkpoint_interval, chunk_size
from rnnjax.engine.scan import deferred_scan
from rnnjax.intercept import interceptable
from rnnjax.linear import Start

SAVE = ("preactivations", "nothing", "chunks", "everything")
PROJECT = ("auto", "inside", "before")
ENGINE = ("auto", "plain", "deferred")
# Where "auto" defers weight gradients on a CPU, see _choose: up to so many sequences, if the largest parameter has at
# least so many rows and columns.
DEFERRED = ((16, 64), (256, 128))
METHOD = ("scan", "associative")
LINEAR_KINDS = (
    "minimal gated units (mingru, minlstm), quasi-recurrent (qrnn, sru), strongly typed (t_rnn, t_gru, t_lstm), "
    "linear recurrent units (lru, rg_lru), state space models (s4d, s5, selective_ssm, ssd, longhorn, linear_lmu), "
    "matrix memories (linear_attention, gated_linear_attention, hgrn2, mlstm)"
)


@interceptable
def unroll(
    cell: Cell,
    params: Any,
    xs: Array,
    carry: Any = None,
    *,
    lengths: Array | None = None,
    resets: Array | None = None,
    reverse: bool = False,
    key: Array | None = None,
    save: str = "preactivations",
    project: str = "auto",
    matmul_dtype: Any = None,
    engine: str = "auto",
    method: str = "scan",
    chunk: int | None = None,
) -> tuple[Any, Array]:
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
      save: what the forward pass keeps for the backward pass beside the carries. "preactivations" (the values so named
        by the cell; the elementwise rest is recomputed), "nothing" (each step is recomputed), "chunks" (one carry per
        about sqrt(T) steps, for very long sequences: memory grows as sqrt(T) at the price of one more forward pass), or
        "everything" (plain automatic differentiation).
      project: where inputs meet W. "before" the scan in one large product (best on accelerators), "inside" the step
        (best on CPUs, where writing and re-reading [T, B, G*H] costs more than it saves), or "auto": by backend.
      matmul_dtype: multiply matrices in this dtype, such as jnp.bfloat16; parameters, gates and carries keep theirs.
      engine: how derivatives are taken. "plain" is automatic differentiation of the scan as it stands; "deferred" forms
        weight gradients outside the backward scan, for several steps at once (rnnjax/engine/), and takes no account
        of save="everything". Both give the same numbers up to rounding, in every mode of differentiation. "auto" takes
        the faster one: on a CPU, "deferred" for few sequences and weights that are not small.
      method: "scan" goes step by step. "associative", for cells that are linear in their carry (Cell.linear), takes
        stretches of steps at once by a parallel scan (rnnjax/linear.py), and stretch after stretch: the same numbers up
        to rounding, in few long operations in place of many short ones. `save` then speaks of stretches: beside one
        carry for each, it keeps "preactivations" of all steps, or "nothing" (as "chunks"), or "everything".
      chunk: with method="associative", the number of steps of a stretch, by default about sqrt(T) or 128, the larger.
        Memory for the stretch being worked on grows with it, and that for the carries kept with T / chunk.

    Returns:
      (carry, ys): the carry after each sequence's last step, and all outputs.

    Raises:
      ValueError: shapes, lengths, a carry or an option that do not fit, before anything is compiled.
    """
    xs = jnp.asarray(xs)
    lengths, resets = (a if a is None or isinstance(a, Array) else np.asarray(a) for a in (lengths, resets))
    _check(cell, xs, lengths, resets, save, project, engine)
    _check_method(cell, engine, method, chunk)
    num_steps, batch_shape = xs.shape[0], xs.shape[1:-1]
    if jnp.issubdtype(xs.dtype, jnp.floating):
        xs = xs.astype(dtype_of(params))
    if project == "auto":
        long_products = method == "associative"  # whole stretches are projected at once wherever it is done
        project = "inside" if long_products or jax.default_backend() == "cpu" else "before"

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
        zs = cell.project(p, xs) if project == "before" else xs

        def stretch(carry, inputs):
            z, are_active, are_reset = inputs
            if are_active is not None:  # in padding every step begins anew: nothing grows there, and it is not returned
                are_reset = ~are_active if are_reset is None else are_reset | ~are_active
            starts = jax.tree.map(lambda value, first: Start(value, first, are_reset), carry, initial)
            states, y = cell.step(p, starts, cell.project(p, z) if project == "inside" else z)
            if are_active is None:
                return jax.tree.map(lambda leaf: leaf[-1], states), y
            num_active = jnp.sum(are_active, axis=0)
            last = jax.tree.map(lambda leaf: _reorder(leaf, jnp.maximum(num_active - 1, 0)[None])[0], states)
            carry = where_each(num_active > 0, last, carry)
            return carry, where_each(are_active, y, jax.tree.map(jnp.zeros_like, y))

        def step(carry, inputs):
            z, is_active, is_reset = inputs
            before = carry
            if is_reset is not None:
                carry = where_each(is_reset, initial, carry)
            if project == "inside":
                z = cell.project(p, z)
            carry, y = cell.step(p, carry, z)
            if is_active is not None:
                carry = where_each(is_active, carry, before)
                y = where_each(is_active, y, jax.tree.map(jnp.zeros_like, y))
            return carry, y

        inputs = (zs, active, resets)
        backwards = reverse and lengths is None
        if method == "associative":
            carry, ys = _stretches(stretch, carry, inputs, num_steps, backwards, save, chunk)
        else:
            chosen = _choose(engine, save, params, batch_shape)
            carry, ys = _scan(step, carry, inputs, num_steps, backwards, save, chosen)
    if reverse and lengths is not None:
        ys = jax.tree.map(lambda y: _reorder(y, order), ys)
    return carry, ys


def _choose(engine: str, save: str, params: Any, batch_shape: tuple[int, ...]) -> str:
    """The engine that "auto" stands for.

    Each step of a plain backward scan reads and writes the whole gradient of U, which costs about as much as
    multiplying a few dozen rows by it. So few sequences gain from deferral; small weights stay in the cache either way.
    Deferral also stores less, as the outputs serve as the carries they are. Its time over that of plain, for tanh RNN,
    GRU and LSTM on one core: 0.6 to 0.7 with 4 sequences of 64 units, 0.8 to 1.1 with 16 and 0.8 to 1.3 with 32; with
    128 units 0.8 to 0.9 with 32 sequences, 0.9 to 1.1 with 64 to 256; with 512 units 0.8 to 1.0. On accelerators it has
    not been measured, and the plain scan stays.
    """
    if engine != "auto":
        return engine
    if save == "everything" or jax.default_backend() != "cpu":
        return "plain"
    largest = max(map(jnp.shape, jax.tree.leaves(params)), key=math.prod, default=())
    rows, size = math.prod(batch_shape), min(largest, default=0)
    return "deferred" if any(rows <= most and size >= least for most, least in DEFERRED) else "plain"


def _scan(step: Callable, carry: Any, inputs: Any, num_steps: int, reverse: bool, save: str, engine: str):
    """lax.scan with the chosen memory for the backward pass."""
    if engine == "deferred":
        return deferred_scan(step, carry, inputs, num_steps, reverse, save)
    if save == "everything":
        return lax.scan(step, carry, inputs, num_steps, reverse=reverse)
    # Inside a scan nothing can be merged across steps, so the barrier against common subexpressions only costs time.
    lean_step = jax.checkpoint(step, policy=_policy(save), prevent_cse=False)
    if save != "chunks":
        return lax.scan(lean_step, carry, inputs, num_steps, reverse=reverse)

    @jax.checkpoint
    def chunk(carry, part):
        return lax.scan(lean_step, carry, part, reverse=reverse)

    return _in_chunks(chunk, carry, inputs, num_steps, checkpoint_interval(num_steps), reverse)


def _stretches(
    stretch: Callable, carry: Any, inputs: Any, num_steps: int, reverse: bool, save: str, chunk: int | None
) -> tuple[Any, Any]:
    """A function of many steps at once, over stretch after stretch."""

    def forward(carry, part):
        if not reverse:
            return stretch(carry, part)
        carry, ys = stretch(carry, _flipped(part))
        return carry, _flipped(ys)

    if save != "everything":
        forward = jax.checkpoint(forward, policy=_policy(save), prevent_cse=False)
    return _in_chunks(
        forward, carry, inputs, num_steps, chunk or chunk_size(num_steps, max(128, math.isqrt(num_steps))), reverse
    )


def _policy(save: str) -> Callable:
    """What a recomputed step or stretch keeps all the same."""
    policies = jax.checkpoint_policies
    return policies.save_only_these_names("preactivation") if save == "preactivations" else policies.nothing_saveable


def _in_chunks(run: Callable, carry: Any, inputs: Any, num_steps: int, size: int, reverse: bool) -> tuple[Any, Any]:
    """`run(carry, part)` over parts of `size` steps, and one that is shorter where they do not divide num_steps."""
    count, rest = divmod(num_steps, size)
    whole = slice(rest, None) if reverse else slice(0, count * size)
    chunks = jax.tree.map(lambda a: a[whole].reshape(count, size, *a.shape[1:]), inputs)
    carry, ys = lax.scan(run, carry, chunks, count, reverse=reverse)
    ys = jax.tree.map(lambda y: y.reshape(count * size, *y.shape[2:]), ys)
    if not rest:
        return carry, ys
    remainder = slice(0, rest) if reverse else slice(count * size, None)
    carry, ys_rest = run(carry, jax.tree.map(lambda a: a[remainder], inputs))
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts[:: -1 if reverse else 1]), ys, ys_rest)


def _flipped(values: Any) -> Any:
    return jax.tree.map(lambda a: jnp.flip(a, axis=0), values)


def _reorder(values: Array, order: Array) -> Array:
    """values [T, *B, ...] taken along time by order [T, *B]."""
    order = order.reshape(order.shape + (1,) * (values.ndim - order.ndim))
    return jnp.take_along_axis(values, order, axis=0)


def _check(cell: Cell, xs: Array, lengths: Any, resets: Any, save: str, project: str, engine: str) -> None:
    if not isinstance(cell, Cell):
        raise ValueError(f"unroll needs a Cell such as lstm(64), got {cell!r}; a Layer has its own apply")
    for option, value, allowed in (("save", save, SAVE), ("project", project, PROJECT), ("engine", engine, ENGINE)):
        if value not in allowed:
            raise ValueError(f"unknown {option} {value!r}; allowed: {', '.join(allowed)}")
    if engine == "deferred" and save == "everything":
        raise ValueError("save='everything' is plain automatic differentiation: it needs engine='plain' or 'auto'")
    if xs.ndim < 2:
        raise ValueError(f"xs must be [T, *batch, input_size], got shape {xs.shape}")
    if lengths is not None:
        _check_lengths(lengths, xs)
    if resets is not None and jnp.shape(resets) != xs.shape[:-1]:
        raise ValueError(f"resets must be [T, *batch] = {xs.shape[:-1]} for xs {xs.shape}, got {jnp.shape(resets)}")


def _check_method(cell: Cell, engine: str, method: str, chunk: int | None) -> None:
    if method not in METHOD:
        raise ValueError(f"unknown method {method!r}; allowed: {', '.join(METHOD)}")
    if chunk is not None:
        if method != "associative":
            raise ValueError(f"chunk={chunk} is an option of method='associative'; for method='scan' see save='chunks'")
        check_size(chunk=chunk)
    if method == "associative" and engine == "deferred":
        raise ValueError(
            "engine='deferred' goes step by step; method='associative' forms weight gradients for many steps at once "
            "as it is, and needs engine='plain'"
        )
    if method == "associative" and not cell.linear:
        raise ValueError(
            "method='associative' needs a cell that is linear in its carry, and this one is not. Those that are: "
            f"{LINEAR_KINDS}. In a stack, layer(cell, method='associative') serves the linear ones among the others"
        )


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
