"""Singular values of long matrix products, none of them lost to rounding beside the largest.

A product P of many matrices soon holds singular values a factor 1e100 apart, of which floating point sees the largest
only. It is kept as P = Q e^L C: orthonormal columns Q, a diagonal matrix by its logarithms L, in falling order, and C,
which stays well conditioned. One more factor from the left takes one QR decomposition of A Q.
Source: Loh et al. 1989 (the stable matrix products of quantum Monte Carlo), with the columns ordered before the
decomposition as in Bai et al. 2011, Linear Algebra and its Applications 435.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array

LOST = 100.0  # roundings: less than this left of a column is nothing
SWEEPS = 12  # of `log_singular_values`; each multiplies what is off the diagonal by the ratio of two singular values
NEAR = 8.0  # singular values less than a factor e^8 below the largest are taken from the SVD


class Graded(NamedTuple):
    """A product P = Q e^L C."""

    Q: Array  # [D, K], orthonormal columns
    L: Array  # [K], -inf where a singular value is zero
    C: Array  # [K, K]


def orthonormalised(A: Array) -> tuple[Array, Array]:
    """A [D, K] = Q R with orthonormal columns Q and R upper triangular with a diagonal that is not negative.

    Modified Gram-Schmidt, column by column: for the small matrices of a step faster than LAPACK's QR inside a scan. A
    column of which the ones before it leave no more than rounding does (1e-5 of its norm in float32) is zero in Q and
    on R's diagonal.
    """
    columns = jnp.arange(A.shape[1])
    least = LOST * jnp.finfo(A.dtype).eps * jnp.linalg.norm(A, axis=0)

    def one(j, state):
        rows, R = state  # of A, transposed: so far orthonormal, from j on what is left of them
        size = jnp.linalg.norm(rows[j])
        size = jnp.where(size > least[j], size, 0)
        q = rows[j] / jnp.where(size > 0, size, 1) * (size > 0)
        share = jnp.where(columns > j, rows @ q, 0)
        rows = (rows - share[:, None] * q).at[j].set(q)
        return rows, R.at[j].set(share.at[j].set(size))

    rows, R = lax.fori_loop(0, A.shape[1], one, (A.T, jnp.zeros((A.shape[1],) * 2, A.dtype)))
    return rows.T, R


def random_frame(key: Array, size: int, count: int, dtype: Any) -> Array:
    """`count` random orthonormal directions [size, count], uniformly distributed."""
    return orthonormalised(jax.random.normal(key, (size, count), dtype))[0]


def graded(Q: Array) -> Graded:
    """The product that is Q alone, orthonormal columns [D, K]."""
    return Graded(Q, jnp.zeros(Q.shape[1], Q.dtype), jnp.eye(Q.shape[1], dtype=Q.dtype))


def times(A_Q: Array, product: Graded) -> Graded:
    """A P from A Q [D, K] and P = Q e^L C."""
    Q, L, R, order = _decomposed(A_Q, product.L)
    return Graded(Q, L, R @ product.C[order])


def log_singular_values(product: Graded) -> Array:
    """The logarithms [K] of the singular values of P, falling; -inf for zero.

    Those near the largest are the SVD's. The others, which it loses, come from decomposing e^L C, transposed, again and
    again (the QLP iteration of Stewart 1999, SIAM Journal on Scientific Computing 20(4)): what it leaves of the
    diagonal are singular values, exact where they differ, and within a few per cent where many nearly agree.
    """

    def sweep(_, state):
        L, C = state
        _, L, R, _ = _decomposed(C.T, L)
        return L, R

    L, _ = lax.fori_loop(0, SWEEPS, sweep, (product.L, product.C))
    far = -jnp.sort(-L)
    highest = _highest(product)
    near = highest + jnp.log(jnp.linalg.svd(jnp.exp(product.L - highest)[:, None] * product.C, compute_uv=False))
    return jnp.where(near > near[0] - NEAR, near, far)


def log_norm(product: Graded) -> Array:
    """log of the Frobenius norm of P, []."""
    rows = jnp.sum(product.C**2, axis=1)
    highest = _highest(product)
    return highest + 0.5 * jnp.log(jnp.sum(rows * jnp.exp(2 * (product.L - highest))))


def _highest(product: Graded) -> Array:
    highest = jnp.max(product.L)
    return jnp.where(jnp.isneginf(highest), 0, highest)


def _decomposed(M: Array, L: Array) -> tuple[Array, Array, Array, Array]:
    """M e^L, its columns put in `order`, as Q e^L' C: (Q, L', C, order)."""
    order = jnp.argsort(-(jnp.log(jnp.linalg.norm(M, axis=0)) + L))
    L = L[order]
    Q, R = orthonormalised(M[:, order])
    diagonal = jnp.diagonal(R)
    zero = (diagonal == 0) | jnp.isneginf(L)
    log_diagonal = jnp.log(jnp.where(zero, 1, diagonal))
    exponent = jnp.log(jnp.abs(R)) - log_diagonal[:, None] + L[None, :] - jnp.where(zero, 0, L)[:, None]
    C = jnp.where(zero[:, None], jnp.eye(len(L), dtype=R.dtype), jnp.sign(R) * jnp.exp(exponent))
    return Q, jnp.where(zero, -jnp.inf, L + log_diagonal), C, order
