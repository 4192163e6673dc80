"""Reach: how far back a gradient is both large enough and the same from one sequence to the next.

Two things can end it. With J_k = ∂y_T/∂carry_{T-k}, the derivative of the last output by the carry handed on k steps
before the end, its size sqrt(mean |J_k|²) over sequences may fall; and its coherence may, the share of that mean square
that all sequences have in common, estimated without bias from N of them:

    κ_k = (N |mean J_k|² - mean |J_k|²) / ((N - 1) mean |J_k|²)

κ = 1 where every sequence has the same J_k, as in a constant linear cell. κ = 0 where they have nothing in common: what
one sequence teaches, the next one takes back. For one state behind a gate that noise moves, c_t = a_t c_{t-1} with a_t
of mean a and variance s², κ_k = (1 + s²/a²)^-k.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.cell import Array, Cell, dtype_of, where_each
from rnnjax.gradients.products import random_frame
from rnnjax.gradients.tangents import state_size
from rnnjax.leaves import inexact_leaves

SMALL = 1e-3  # of the size at lag 1; less than that is lost
BATCH_SIZE = 32  # sequences of a training step
MOST_OUTPUTS = 16  # up to which every output has a cotangent of its own
AT_ONCE = 128  # sequences that are taken back through time together


class Derivatives(NamedTuple):
    """What N sequences say of J_k, by lag k = 1..T."""

    log_rms: Array  # [T] log sqrt(mean |J_k|²), the norm joining outputs and carry; -inf where it is zero
    coherence: Array  # [T] κ_k, from -1 / (N - 1) to 1; NaN where there is no derivative, or one sequence alone


class Reach(NamedTuple):
    """The smaller of two lags, as a share of T."""

    share: float  # min(size_lag, coherence_lag) / T, at most 1; NaN if a derivative is NaN or infinite
    size_lag: float  # the first lag whose log_rms is under a thousandth of that of lag 1; infinite where none is
    coherence_lag: float  # the first lag with κ_k < 1 / (B + 1); infinite where there is none


class _Sums(NamedTuple):
    """Over sequences, by lag; true values are e^log_scale times these (squares: twice that)."""

    log_scale: Array  # [T]
    total: list[Array]  # [T, M, ...], the sum of J_k by leaf of the carry
    squares: Array  # [T], the sum of |J_k|²
    number: Array  # [T], sequences that reach the lag


def output_derivatives(cell: Cell, params: Any, xs: Array, *, lengths: Array | None = None) -> Derivatives:
    """Size and coherence of the derivative of the last output by the carry, over sequences, by lag.

    At lag k the carry is the one handed from step T - k to the next, T being each sequence's own last step, as in
    `gradient_by_lag`; the norm joins all real leaves, a complex leaf as two. Reverse mode, with a cotangent for every
    output; above 16 outputs, 16 random orthonormal directions among them, the same for all sequences.

    All sequences are rescaled by one number a step, so that derivatives far outside the range of float32 come out
    right; one that is smaller than another by more than that range counts as zero beside it.

    Args:
      cell, params, xs, lengths: as for `unroll`; evaluation, from the initial carry. κ has a standard error of about
        1 / N where it is near 0: take 1,000 sequences or more.

    Raises:
      ValueError: no Cell, or a carry without real entries.
    """
    if not isinstance(cell, Cell):
        raise ValueError(f"the reach is of a Cell, such as lstm(64) or a stack of cells; got {cell!r}")
    state_size(cell, params)  # refuses a carry without real entries
    if jnp.issubdtype(xs.dtype, jnp.floating):
        xs = xs.astype(dtype_of(params))
    num_steps, num_outputs = len(xs), cell.output_size
    xs = xs.reshape(num_steps, -1, xs.shape[-1])
    num_examples = xs.shape[1]
    lengths = jnp.full(num_examples, num_steps) if lengths is None else jnp.ravel(jnp.asarray(lengths))
    # Every sequence ends at the last step; those that begin later keep the initial carry until they do.
    time = jnp.arange(num_steps)[:, None] - (num_steps - lengths)
    xs = jnp.take_along_axis(xs, jnp.maximum(time, 0)[:, :, None], axis=0)
    active = time >= 0
    if num_outputs <= MOST_OUTPUTS:
        directions = jnp.eye(num_outputs, dtype=dtype_of(params))
    else:
        directions = random_frame(jax.random.key(0), num_outputs, MOST_OUTPUTS, dtype_of(params)).T
    share = min(AT_ONCE, num_examples)
    padding = -num_examples % share  # sequences without a single step

    def shares(a: Array) -> Array:
        a = jnp.pad(a, ((0, 0), (0, padding)) + ((0, 0),) * (a.ndim - 2))
        return jnp.moveaxis(a.reshape(num_steps, -1, share, *a.shape[2:]), 1, 0)

    def add(sums: _Sums, some: tuple[Array, Array]) -> tuple[_Sums, None]:
        return _added(sums, _sums(cell, params, *some, directions)), None

    of_each = jax.eval_shape(lambda: _sums(cell, params, xs[:, :share], active[:, :share], directions))
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), of_each)
    nothing = nothing._replace(log_scale=jnp.full_like(nothing.log_scale, -jnp.inf))
    sums, _ = lax.scan(add, nothing, (shares(xs), shares(active)))
    common = sum(jnp.sum(jnp.abs(leaf.reshape(num_steps, -1)) ** 2, axis=1) for leaf in sums.total)
    n = sums.number
    log_mean_square = 2 * sums.log_scale + jnp.log(sums.squares / n) + math.log(num_outputs / len(directions))
    return Derivatives(0.5 * log_mean_square, (common - sums.squares) / ((n - 1) * sums.squares))


def gradient_reach(found: Derivatives, num_lags: int | None = None, batch_size: int = BATCH_SIZE) -> Reach:
    """How far size and coherence last, of what `output_derivatives` found.

    A lag is out of reach where the size is under a thousandth of that at lag 1, or where κ_k < 1 / (B + 1): there the
    mean over a minibatch of B sequences falls below its own standard error. What grows is not out of reach.

    Args:
      num_lags: T, where a task asks for less than the whole sequence; lags beyond it are not looked at.
      batch_size: B.

    Raises:
      ValueError: a number of lags that is not there, or a batch size below 1.
    """
    log_rms, coherence = (np.asarray(values, np.float64)[:num_lags] for values in found)
    T = len(log_rms) if num_lags is None else num_lags
    if not 1 <= T <= len(found.log_rms):
        raise ValueError(f"num_lags={num_lags} must be from 1 to {len(found.log_rms)}, the steps measured")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    if not (log_rms < np.inf).all():
        return Reach(math.nan, math.nan, math.nan)
    gone = np.isneginf(log_rms)
    size_lag = _first(gone | (log_rms < log_rms[0] + math.log(SMALL)))
    coherence_lag = _first(~gone & ~(coherence >= 1 / (batch_size + 1)))
    return Reach(min(size_lag, coherence_lag, T) / T, size_lag, coherence_lag)


def _first(true: np.ndarray) -> float:
    """The first lag, counted from 1, at which something is true."""
    return float(np.argmax(true) + 1) if true.any() else math.inf


def _sums(cell: Cell, params: Any, xs: Array, active: Array, directions: Array) -> _Sums:
    """Over the sequences xs [T, C, I]; those that begin later are inactive before."""
    p = cell.prepare(params, None, xs.shape[1:])
    start = cell.initial_carry(params, xs.shape[1:2])

    def forward(carry: Any, inputs: tuple[Array, Array]) -> tuple[Any, Any]:
        x, is_active = inputs
        new, _ = cell.step(p, carry, cell.project(p, x))
        return where_each(is_active, new, carry), carry

    def back(state: tuple[Array, list[Array]], inputs: Any) -> tuple[Any, _Sums]:
        log_scale, cotangents = state  # [M, C, ...]
        carry, x, is_active, is_last = inputs
        leaves, rebuild = inexact_leaves(carry)

        def step(leaves: list[Array]) -> tuple[list[Array], Array]:
            carry, y = cell.step(p, rebuild(leaves), cell.project(p, x))
            return inexact_leaves(carry)[0], y

        (_, y), pull = jax.vjp(step, leaves)
        dys = jnp.broadcast_to(directions[:, None].astype(y.dtype), (len(directions), *y.shape)) * is_last
        (found,) = jax.vmap(pull)((cotangents, dys))
        found = [where_each(is_active, leaf.swapaxes(0, 1), jnp.zeros_like(leaf.swapaxes(0, 1))) for leaf in found]
        found = [leaf.swapaxes(0, 1) for leaf in found]
        largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in found]))
        found = [leaf / jnp.where(largest == 0, 1, largest) for leaf in found]
        log_scale = log_scale + jnp.log(largest)
        squares = jnp.sum(jnp.stack([jnp.sum(jnp.abs(leaf) ** 2) for leaf in found]))
        sums = _Sums(log_scale, [jnp.sum(leaf, axis=1) for leaf in found], squares, jnp.sum(is_active))
        return (log_scale, found), sums

    last, carries = lax.scan(forward, start, (xs, active))
    zeros = [jnp.zeros((len(directions), *leaf.shape), leaf.dtype) for leaf in inexact_leaves(last)[0]]
    is_last = jnp.arange(len(xs)) == len(xs) - 1
    state = jnp.zeros((), dtype_of(params)), zeros
    _, sums = lax.scan(back, state, (carries, xs, active, is_last), reverse=True)
    return jax.tree.map(lambda by_step: by_step[::-1], sums)  # from the end: lags 1 to T


def _added(a: _Sums, b: _Sums) -> _Sums:
    log_scale = jnp.maximum(a.log_scale, b.log_scale)
    at = jnp.where(jnp.isneginf(log_scale), 0, log_scale)
    by_a, by_b = jnp.exp(a.log_scale - at), jnp.exp(b.log_scale - at)

    def both(one: Array, other: Array) -> Array:
        shape = (-1,) + (1,) * (one.ndim - 1)
        return one * by_a.reshape(shape) + other * by_b.reshape(shape)

    total = [both(one, other) for one, other in zip(a.total, b.total, strict=True)]
    return _Sums(log_scale, total, a.squares * by_a**2 + b.squares * by_b**2, a.number + b.number)
