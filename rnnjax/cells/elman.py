"""Simple recurrent networks: Elman's, and its rectified and identity-initialised forms."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, zeros
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, glorot_uniform, identity, orthogonal


class ElmanParams(NamedTuple):
    W: Array  # [I, H]
    U: Array  # [H, H]
    b: Array  # [H]


@shown
def elman(
    hidden_size: int,
    *,
    activation: Callable[[Array], Array] = jnp.tanh,
    bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Elman network, the simple recurrent network.

        hₜ = tanh(W xₜ + U hₜ₋₁ + b)

    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + H + 1).
    Init: W glorot uniform, U orthogonal, b zero.
    Differs from the paper: the logistic units are tanh units here, as is usual today (`activation` replaces them); the
    gradient goes through all of time, not one step.
    Reference: Elman 1990, "Finding structure in time", Cognitive Science 14, figure 2.
    """
    check_size(hidden_size=hidden_size)
    check_bias(bias=bias)

    def init(key: Array, input_size: int) -> ElmanParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        return ElmanParams(
            W=kernel_init(key_W, (input_size, hidden_size), jnp.float32),
            U=recurrent_init(key_U, (hidden_size, hidden_size), jnp.float32),
            b=init_bias(bias, key_b, hidden_size),
        )

    def initial_carry(params: ElmanParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, hidden_size)

    def project(p: ElmanParams, x: Array) -> Array:
        return dense(x, p.W) + p.b

    def step(p: ElmanParams, h: Array, z: Array) -> tuple[Array, Array]:
        h = activation(name(z + recur(h, p.U), "preactivation"))
        return h, h

    return Cell(hidden_size, init, initial_carry, project, step)


elman_relu = partial(elman, activation=jax.nn.relu)
elman_relu.__doc__ = "Elman network of rectified units, h = max(0, W x + U h + b); options as `elman`."


@shown
def irnn(hidden_size: int, *, scale: float = 1.0, kernel_std: float = 0.001, bias: Bias = 0.0) -> Cell:
    """IRNN: a rectified network that starts as an integrator.

        hₜ = max(0, W xₜ + U hₜ₋₁ + b),   U₀ = scale · I,  b₀ = 0

    Carry and parameters as in `elman`. Init: W ~ N(0, kernel_std²), U identity times scale, b zero.
    Differs from the paper: nothing; its phoneme experiments take scale = 0.01.
    Reference: Le, Jaitly & Hinton 2015, arXiv:1504.00941, sections 2 and 3.
    """
    kernel_init = jax.nn.initializers.normal(kernel_std)
    return elman_relu(hidden_size, bias=bias, kernel_init=kernel_init, recurrent_init=identity(scale))
