"""Networks whose units see nothing of the past but their own."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, shown, zero_carry
from rnnjax.initializers import Bias, Initializer, Uniform, bias as init_bias, check_bias

kernel = jax.nn.initializers.variance_scaling(2 / 65, "fan_in", "uniform")


class IndRNNParams(NamedTuple):
    W: Array  # [I, H]
    u: Array  # [H]
    b: Array  # [H]


@shown
def indrnn(
    hidden_size: int,
    *,
    recurrent: Bias | None = None,
    t_max: float | None = None,
    max_gain: float = 2.0,
    activation: Callable[[Array], Array] = jax.nn.relu,
    bias: Bias = 0.0,
    kernel_init: Initializer = kernel,
) -> Cell:
    """Independently recurrent network: a unit's past reaches it alone, through one number.

        hₜ = max(0, W xₜ + u ⊙ hₜ₋₁ + b)

    The gradient across T steps is at most |u|ᵀ. With `t_max`, the longest sequence T, u is kept within
    |u| <= max_gain^(1/T), so that this is at most `max_gain`; from one layer to the next units meet in W (`stack`).
    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + 2).
    Init: W uniform with the variance 2 / (65 I), u ~ U[0, 1], with `t_max` U[0, max_gain^(1/T)], b zero. For the last
    layer, where a long memory is wanted, the paper draws u near 1: `recurrent=Uniform(0.5 ** (1 / T), 2 ** (1 / T))`.
    Differs from the paper: it cuts u to the bound after every update; here u is cut once per sequence and the gradient
    passes as if it were not, so that u finds its way back.
    Reference: Li et al. 2018, arXiv:1803.04831; initial values as in the authors' code.

    Raises:
      ValueError: t_max below 1 step, or a gain that is not above 0.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)
    if recurrent is not None:
        check_bias(recurrent=recurrent)
    if not max_gain > 0:
        raise ValueError(f"max_gain, the largest factor over t_max steps, must be above 0, got {max_gain}")
    if t_max is not None and not t_max >= 1:
        raise ValueError(f"t_max, the longest sequence, must be at least 1 step, got {t_max}")
    bound = None if t_max is None else max_gain ** (1 / t_max)
    first = Uniform(0.0, 1.0 if bound is None else bound) if recurrent is None else recurrent

    def init(key: Array, input_size: int) -> IndRNNParams:
        key_W, key_u, key_b = jax.random.split(key, 3)
        W = kernel_init(key_W, (input_size, H), jnp.float32)
        return IndRNNParams(W, init_bias(first, key_u, H), init_bias(bias, key_b, H))

    def prepare(params: IndRNNParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> IndRNNParams:
        if bound is None:
            return params
        excess = jax.lax.stop_gradient(params.u - jnp.clip(params.u, -bound, bound))
        return params._replace(u=params.u - excess)

    def step(p: IndRNNParams, h: Array, z: Array) -> tuple[Array, Array]:
        h = activation(name(z + p.u * h, "preactivation"))
        return h, h

    return Cell(H, init, zero_carry(H), affine, step, prepare)
