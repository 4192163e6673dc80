"""Recurrences linear in their state: one step at a time, or a stretch of time at once.

    advance         h_t = a_t h_{t-1} + b_t        entry by entry
    advance_matrix  h_t = h_{t-1} A + b_t          one matrix A for all time
    advance_blocks  h_t = M h_{t-1} + b_t          one small matrix for each unit, for all time
    advance_max     h_t = max(h_{t-1} + a_t, b_t)  linear where max adds and + multiplies
    delayed         x_{t-1}                        which the carry holds

A cell whose carry goes from step to step through these alone declares `linear=True`. Its step is written as any other,
for one step. `unroll(method=Associative())` calls the same step for a stretch of C steps: what comes from the inputs
then leads with time, [C, *B, ...], and a leaf of the carry is a `Start`, which only these functions can read. They
return the states after every step of the stretch, [C, *B, ...], by a parallel scan, for two steps in a row are one:
a_2 (a_1 h + b_1) + b_2 = (a_2 a_1) h + (a_2 b_1 + b_2).
Source: Blelloch 1990, "Prefix sums and their applications", CMU-CS-90-190, section 1.4; Martin & Cundy 2018,
arXiv:1709.04057.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, recur, where_each


class Start(NamedTuple):
    """A leaf of the carry before a stretch of time, and where in the stretch it goes back to its initial value."""

    value: Array  # [*B, ...]
    initial: Array  # [*B, ...]
    resets: Array | None  # booleans [C, *B]


def advance(h: Any, a: Array, b: Array) -> Array:
    """a h + b, entry by entry: the state after a step.

    Args:
      h: the state before it, [*B, ...].
      a: of the shape of h or with axes of size 1; or with fewer axes, as a parameter: the same at all times.
      b: of the shape of h.
    """

    def act(a, h, b):
        return a * h + b

    if not isinstance(h, Start):
        return act(a, h, b)
    return _scan(*_entered(act, h, a, b, 0.0))


def advance_max(h: Any, a: Array, b: Array) -> Array:
    """max(h + a, b), entry by entry: the state after a step. Shapes as in `advance`."""

    def act(a, h, b):
        return jnp.maximum(h + a, b)

    if not isinstance(h, Start):
        return act(a, h, b)

    def two_steps(first, second):
        (a_1, b_1), (a_2, b_2) = first, second
        return a_1 + a_2, act(a_2, b_1, b_2)

    return lax.associative_scan(two_steps, _entered(act, h, a, b, -jnp.inf))[1]


def advance_matrix(h: Any, A: Array, b: Array) -> Array:
    """h A + b for h, b [*B, N] and A [N, N]: the state after a step."""
    return _advance_constant(recur, h, A, b)


def advance_blocks(h: Any, M: Array, b: Array) -> Array:
    """M_n h_n + b_n for each of N units with K numbers, h, b [*B, N, K] and M [N, K, K]: the state after a step."""
    return _advance_constant(lambda h, M: jnp.sum(M * h[..., None, :], axis=-1), h, M, b)


def _advance_constant(times: Callable[[Array, Array], Array], h: Any, A: Array, b: Array) -> Array:
    """times(h, A) + b for one A, or stack of matrices A, for all time.

    Over a stretch by doubling: once every h_t holds the last 2^k inputs, h_t + h_{t-2^k} A^(2^k) holds twice as many.
    """

    def act(A, h, b):
        return times(h, A) + b

    if not isinstance(h, Start):
        return act(A, h, b)
    _, hs = _entered(act, h, A, b, None)
    period = None if h.resets is None else jnp.cumsum(h.resets, axis=0)
    shift = 1
    while shift < len(hs):
        further = times(hs[:-shift], A)
        if period is not None:
            further = where_each(period[:-shift] == period[shift:], further, jnp.zeros_like(further))
        hs = hs.at[shift:].add(further)
        A, shift = jnp.matmul(A, A, precision=lax.Precision.HIGHEST), 2 * shift
    return hs


def delayed(held: Any, x: Array) -> Array:
    """x of one step before: what the carry held. The carry then holds x."""
    if not isinstance(held, Start):
        return held
    before = jnp.concatenate([held.value[None], x[:-1]])
    return before if held.resets is None else where_each(held.resets, jnp.broadcast_to(held.initial, x.shape), before)


def _entered(act: Callable, h: Start, a: Any, b: Array, nothing: float | None) -> tuple[Any, Array]:
    """(a, b) of a stretch from an empty state: what enters it becomes part of b, and a is `nothing` at resets."""
    b = jnp.broadcast_to(b, (len(b), *h.value.shape))
    if nothing is not None and jnp.ndim(a) < b.ndim:
        a = jnp.broadcast_to(a, (len(b), *(1,) * (b.ndim - 1 - jnp.ndim(a)), *jnp.shape(a)))
    entering = b.at[0].set(act(a if nothing is None else a[0], h.value, b[0]))
    if h.resets is None:
        return a, entering
    b = where_each(h.resets, act(a, jnp.broadcast_to(h.initial, b.shape), b), entering)
    return a if nothing is None else where_each(h.resets, jnp.full_like(a, nothing), a), b


@jax.custom_jvp
def _scan(a: Array, b: Array) -> Array:
    """All h_t = a_t h_{t-1} + b_t from h_{-1} = 0.

    Its derivative, dh_t = a_t dh_{t-1} + (da_t h_{t-1} + db_t), is the same recurrence, and so takes no more memory
    than that.
    """
    return _parallel(a, b)


@_scan.defjvp
def _scan_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    h = _scan(a, b)
    before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])
    return h, _parallel(a, da * before + db)


def _parallel(a: Array, b: Array) -> Array:
    def two_steps(first, second):
        (a_1, b_1), (a_2, b_2) = first, second
        return a_2 * a_1, a_2 * b_1 + b_2

    return lax.associative_scan(two_steps, (a, b))[1]
