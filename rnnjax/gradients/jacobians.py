"""Jacobians of a later carry by an earlier one: how each direction of the state survives."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell
from rnnjax.gradients.products import Graded, graded, log_norm, log_singular_values, random_frame, times
from rnnjax.gradients.tangents import as_map, check_count, one_by_one


class JacobianSpectrum(NamedTuple):
    """Of J_k = ∂carry_T / ∂carry_{T-k}, all D real entries of the carry joined (`state_size`); natural logarithms."""

    lags: Array  # [L], k
    log_singular_values: Array  # [L, *B, K], falling; K = D, or the number of probes
    log_rms: Array  # [L, *B], of the root mean square of all D singular values, ‖J_k‖_F / √D


def jacobian_spectrum(
    cell: Cell,
    params: Any,
    xs: Array,
    lags: Sequence[int],
    *,
    carry: Any = None,
    num_probes: int | None = None,
    key: Array | None = None,
) -> JacobianSpectrum:
    """Singular values of the Jacobian from the carry k steps before the end to the last one.

    J_k is a product of k Jacobians of one step, taken from the end backwards (vector-Jacobian products) and kept as
    logarithms (`products.py`), so that singular values far outside the range of float32 come out right to some five
    digits. A singular value of 1 hands a gradient on as it is; the largest bounds how much of it can be left.

    Args:
      cell, params, xs, carry: as for `unroll`; evaluation. Every example [*B] has a spectrum of its own.
      lags: whole numbers from 1 to T, in rising order.
      num_probes: K random orthonormal directions in place of all D: for large states. `log_rms` is then an estimate
        without bias of the mean square (Hutchinson 1990), and the singular values, those of K rows of J_k in a random
        basis, are lower bounds that meet the largest ones of J_k as k grows.
      key: of the probes.

    A direction of which a single step leaves less than rounding shows (1e-5 in float32) counts as lost: its singular
    value is zero.
    Source: Pascanu, Mikolov & Bengio 2013, section 2.1 (the bound); Pennington, Schoenholz & Ganguli 2017,
    arXiv:1711.04735 (the whole spectrum).

    Raises:
      ValueError: lags out of range or order, a number of probes that does not fit, a carry without real entries.
    """
    lags = [int(lag) for lag in lags]
    if not lags or lags != sorted(set(lags)) or lags[0] < 1 or lags[-1] > len(xs):
        raise ValueError(f"lags must rise within 1 and T = {len(xs)}, got {lags}")
    examples = one_by_one(cell, params, xs, carry)
    space = examples.space
    if num_probes is not None:
        check_count("num_probes", num_probes, space.size)
    dtype = jax.eval_shape(space.to_vector, jax.eval_shape(lambda: cell.initial_carry(params, ()))).dtype
    frame = jnp.eye(space.size, dtype=dtype)
    if num_probes is not None:
        frame = random_frame(jax.random.key(0) if key is None else key, space.size, num_probes, dtype)
    slots = jnp.searchsorted(jnp.array(lags), jnp.arange(1, lags[-1] + 1))

    def spectrum(carry: Any, xs: Array) -> tuple[Array, Array]:
        _, carries = lax.scan(lambda c, x: (cell.step(examples.p, c, cell.project(examples.p, x))[0], c), carry, xs)

        def back(state, inputs):
            product, kept = state
            carry, x, slot = inputs
            step = as_map(cell, examples.p, space, carry, x)
            _, pull, _ = jax.vjp(step, space.to_vector(carry), has_aux=True)
            product = times(jax.vmap(lambda row: pull(row)[0], 1, 1)(product.Q), product)
            # Every lag's slot is written until its lag is reached.
            kept = jax.tree.map(lambda all_, one: all_.at[slot].set(one), kept, (product.L, product.C))
            return (product, kept), None

        start = graded(frame)
        kept = jax.tree.map(lambda a: jnp.zeros((len(lags), *a.shape), a.dtype), (start.L, start.C))
        last = slice(len(xs) - lags[-1], None)
        inputs = jax.tree.map(lambda a: a[last], (carries, xs))
        (_, kept), _ = lax.scan(back, (start, kept), (*inputs, slots[::-1]), reverse=True)
        products = Graded(jnp.zeros((len(lags), 0)), *kept)  # Q changes no singular value
        mean = 0.5 * jnp.log(jnp.asarray(frame.shape[1], dtype))
        return jax.vmap(log_singular_values)(products), jax.vmap(log_norm)(products) - mean

    values, rms = examples.each(spectrum)
    first = len(examples.batch_shape)
    return JacobianSpectrum(jnp.array(lags), jnp.moveaxis(values, first, 0), jnp.moveaxis(rms, first, 0))


def quantiles(spectrum: JacobianSpectrum, q: Array) -> Array:
    """Quantiles [Q, L] of the log singular values at each lag, over all of them and all examples together."""
    values = spectrum.log_singular_values.reshape(len(spectrum.lags), -1)
    ordered = jnp.sort(values, axis=1)
    # By rank, not by interpolation: there may be -inf among them.
    ranks = jnp.round(jnp.asarray(q) * (values.shape[1] - 1)).astype(jnp.int32)
    return ordered[:, ranks].T
