"""Lyapunov exponents: at what rate neighbouring states part or meet, direction by direction."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell
from rnnjax.gradients.products import orthonormalised, random_frame
from rnnjax.gradients.tangents import as_map, check_count, one_by_one


class Lyapunov(NamedTuple):
    """Exponents in natural logarithms per step, falling."""

    exponents: Array  # [*B, K], over all counted steps
    running: Array  # [S, *B, K], over the first 1..S counted steps: whether they have converged


def lyapunov_spectrum(
    cell: Cell,
    params: Any,
    xs: Array,
    *,
    carry: Any = None,
    num_exponents: int | None = None,
    burn_in: int = 0,
    key: Array | None = None,
) -> Lyapunov:
    """The Lyapunov spectrum of a cell driven by xs, from the QR decomposition of its tangent flow.

        J_t Q_{t-1} = Q_t R_t,      λ_i = (1/S) Σ_t log |R_t|_ii

    Q_0 is random, J_t = ∂carry_t/∂carry_{t-1} acts by Jacobian-vector products. λ_1 is the rate at which the Jacobian
    of many steps grows: the gradient's, in the long run. Where all are below 0 every perturbation dies; 0 hands it on;
    above 0 there is chaos. Integer leaves have no exponent, a complex leaf has two for each entry; a direction that is
    lost within a single step has -inf.

    Args:
      cell, params, xs [T, *B, I], carry: as for `unroll`; evaluation. Every example has a spectrum of its own.
      num_exponents: K, the largest ones; by default all D (`state_size`).
      burn_in: steps that are run, and turn Q, before the S = T - burn_in counted ones.
      key: of Q_0.

    Sources: Benettin et al. 1980, Meccanica 15; Shimada & Nagashima 1979; of recurrent networks Engelken, Wolf & Abbott
    2023, Physical Review Research 5, 043044, and Vogt et al. 2022, arXiv:2006.14123.

    Raises:
      ValueError: sizes that do not fit, or a carry without real entries.
    """
    if not 0 <= burn_in < len(xs):
        raise ValueError(f"burn_in={burn_in} must be at least 0 and below T = {len(xs)}")
    examples = one_by_one(cell, params, xs, carry)
    space = examples.space
    if num_exponents is not None:
        check_count("num_exponents", num_exponents, space.size)
    key = jax.random.key(0) if key is None else key

    def logs(carry: Any, xs: Array) -> Array:
        def step(state, x):
            carry, Q = state
            _, push, new = jax.linearize(
                as_map(cell, examples.p, space, carry, x), space.to_vector(carry), has_aux=True
            )
            Q, R = orthonormalised(jax.vmap(push, 1, 1)(Q))
            return (new, Q), jnp.log(jnp.diagonal(R))

        Q = random_frame(key, space.size, num_exponents or space.size, space.to_vector(carry).dtype)
        return lax.scan(step, (carry, Q), xs)[1][burn_in:]

    per_step = jnp.moveaxis(examples.each(logs), len(examples.batch_shape), 0)
    counted = jnp.arange(1, len(per_step) + 1).reshape(-1, *(1,) * (per_step.ndim - 1))
    running = -jnp.sort(-jnp.cumsum(per_step, axis=0) / counted, axis=-1)
    return Lyapunov(running[-1], running)
