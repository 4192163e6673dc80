"""How far a gradient travels back in time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.cell import Array, Cell, where_each
from rnnjax.unroll import unroll

SMALLEST = 1e-30  # gradients below this carry no information about the slope


def gradient_by_lag(
    cell: Cell, params: Any, xs: Array, loss: Callable[[Array], Array], *, lengths: Array | None = None
) -> Array:
    """log of the gradient's norm by lag, [T, *B]: entry k - 1 is log ‖∂L/∂carry‖ for lag k = 1..T.

    At lag k the carry is the one handed from step T - k to the next, T being each sequence's own last step; lag T is
    the initial carry, and lags beyond a sequence's length are -inf. The norm joins all real leaves of the carry, a
    complex leaf as two; integer leaves have no gradient.

    The gradient is carried back as a direction of norm one and the logarithm of its size, example by example, so that
    what would underflow float32 (a tanh RNN's gradient within some 120 steps) is still measured.

    Args:
      cell, params, xs, lengths: as for `unroll`; evaluation, from the initial carry.
      loss: outputs [T, *B, O] -> losses, one an example (or their sum).
    """
    num_steps, batch_shape = xs.shape[0], xs.shape[1:-1]
    p = cell.prepare(params, None, xs.shape[1:])
    _, ys = unroll(cell, params, xs, lengths=lengths, save="nothing")
    dys = jax.grad(lambda ys: jnp.sum(loss(ys)))(ys)
    (dys,), log_dys = _direction_and_log_norm([dys], xs.shape[:-1])
    initial = cell.initial_carry(params, batch_shape)
    _, carries = lax.scan(lambda c, x: (cell.step(p, c, cell.project(p, x))[0], c), initial, xs)

    def back(state, inputs):
        direction, log_size = state
        carry, x, dy, log_dy, active = inputs
        scale = jnp.maximum(log_size, log_dy)
        scale = jnp.where(jnp.isneginf(scale), 0.0, scale)
        cotangents = _times(direction, jnp.exp(log_size - scale)), _times([dy], jnp.exp(log_dy - scale))[0]
        leaves, rebuild = _inexact(carry)

        def step(leaves):
            carry, y = cell.step(p, rebuild(leaves), cell.project(p, x))
            return _inexact(carry)[0], y

        (gradient,) = jax.vjp(step, leaves)[1](cotangents)
        direction, log_norm = _direction_and_log_norm(gradient, batch_shape)
        state = where_each(active, (direction, scale + log_norm), state)
        return state, state[1]

    lengths = jnp.full(batch_shape, num_steps) if lengths is None else jnp.asarray(lengths)
    time = jnp.arange(num_steps).reshape(-1, *(1,) * len(batch_shape))
    start = [jnp.zeros_like(leaf) for leaf in _inexact(initial)[0]], jnp.full(batch_shape, -jnp.inf)
    _, log_norms = lax.scan(back, start, (carries, xs, dys, log_dys, time < lengths), reverse=True)
    position = lengths - 1 - time
    by_lag = jnp.take_along_axis(log_norms, jnp.maximum(position, 0), axis=0)
    return jnp.where(position >= 0, by_lag, -jnp.inf)


def _inexact(carry: Any) -> tuple[list[Array], Callable[[list[Array]], Any]]:
    """The leaves of a carry that have a gradient, and the function that puts them back among the others."""
    leaves, structure = jax.tree.flatten(carry)
    where = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]

    def rebuild(chosen: list[Array]) -> Any:
        whole = list(leaves)
        for i, leaf in zip(where, chosen, strict=True):
            whole[i] = leaf
        return jax.tree.unflatten(structure, whole)

    return [leaves[i] for i in where], rebuild


def _direction_and_log_norm(leaves: list[Array], batch_shape: tuple[int, ...]) -> tuple[list[Array], Array]:
    """All leaves [*B, ...] joined, one an example: scaled to norm one, and log of their norm; zeros stay, at -inf.

    The largest entry is divided out first: squares leave float32's range long before their roots do.
    """

    def joined(reduce: Callable, leaves: list[Array]) -> Array:
        return reduce(jnp.stack([reduce(jnp.abs(leaf.reshape(*batch_shape, -1)), axis=-1) for leaf in leaves]), axis=0)

    largest = joined(jnp.max, leaves)
    leaves = _times(leaves, 1 / jnp.where(largest == 0, 1, largest))
    norm = joined(jnp.linalg.norm, leaves)
    return _times(leaves, 1 / jnp.where(norm == 0, 1, norm)), jnp.log(largest) + jnp.log(norm)


def _times(leaves: list[Array], factors: Array) -> list[Array]:
    return [leaf * factors.reshape(factors.shape + (1,) * (leaf.ndim - factors.ndim)) for leaf in leaves]


def mean_by_lag(log_norms: Array, lengths: Array | None = None) -> Array:
    """log of the gradient's norm at each lag, averaged over the examples that reach it: [T] from [T, *B].

    Args:
      log_norms: as `gradient_by_lag` returns them.
      lengths: [*B], those given there; without them every example reaches every lag.
    """
    num_lags = len(log_norms)
    log_norms = jnp.reshape(log_norms, (num_lags, -1))
    reached = jnp.full(num_lags, log_norms.shape[1])
    if lengths is not None:
        reached = jnp.sum(jnp.arange(1, num_lags + 1)[:, None] <= jnp.ravel(lengths), axis=1)
    return jax.nn.logsumexp(log_norms, axis=1) - jnp.log(jnp.maximum(reached, 1))


class Horizon(NamedTuple):
    """How many steps it takes the gradient to fall by a factor e."""

    steps: float  # infinite where the gradient does not fall
    censored: bool  # longer than the sequence it was measured on, so an extrapolation


def gradient_horizon(log_norms: Array) -> Horizon:
    """The horizon of the logarithms [T] of the gradient's norms d_k at lags k = 1..T, as `mean_by_lag` returns them.

    It is -1 / slope of log d_k, by least squares over the lags k >= T/4 with d_k > 1e-30 (over all such lags, should
    fewer than two of them reach T/4: the gradient is gone before); infinite if the slope is not negative, 0 if fewer
    than two lags have any gradient, NaN if a norm is NaN or infinite.
    """
    log_d = np.asarray(log_norms, np.float64)
    if not (log_d < np.inf).all():
        return Horizon(float("nan"), censored=False)
    num_lags = len(log_d)
    lags = np.arange(1, num_lags + 1)
    visible = log_d > np.log(SMALLEST)
    late = visible & (lags >= num_lags / 4)
    chosen = late if late.sum() >= 2 else visible
    if chosen.sum() < 2:
        return Horizon(0.0, censored=False)
    slope = np.polyfit(lags[chosen], log_d[chosen], 1)[0]
    steps = -1.0 / slope if slope < 0 else float("inf")
    return Horizon(float(steps), censored=bool(steps > num_lags))
