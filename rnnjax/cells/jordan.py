"""Jordan's network: what comes back is the output, not the hidden layer."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, dense, name, recur, shown, zero_carry
from rnnjax.initializers import Initializer, glorot_uniform


class JordanParams(NamedTuple):
    W: Array  # [I, H]
    U: Array  # [O, H]
    b: Array  # [H]
    V: Array  # [H, O]
    c: Array  # [O]


@shown
def jordan(
    hidden_size: int,
    *,
    output_size: int | None = None,
    mu: float = 0.5,
    activation: Callable[[Array], Array] = jax.nn.sigmoid,
    output_activation: Callable[[Array], Array] = jax.nn.sigmoid,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = glorot_uniform,
) -> Cell:
    """Jordan network: state units gather the outputs and hand them back to the hidden layer.

        hₜ = σ(W xₜ + U sₜ₋₁ + b)
        yₜ = σ(V hₜ + c)
        sₜ = μ sₜ₋₁ + yₜ

    Carry: s [*B, O], O = output_size, H if not given. Output: yₜ [*B, O]. Parameters: H(I + O + 1) + O(H + 1).
    `activation` and `output_activation` stand for the two σ. With μ = 0 the state is the output of the step before, the
    form in which the network is mostly used.
    Init: W, U and V glorot uniform, biases zero.
    Differs from the paper: the gradient goes through all of time; initial values are the usual ones of today.
    Reference: Jordan 1986, "Attractor dynamics and parallelism in a connectionist sequential machine", Proceedings of
    the Eighth Annual Conference of the Cognitive Science Society.

    Raises:
      ValueError: mu outside [0, 1), or a size below 1.
    """
    H, O = hidden_size, hidden_size if output_size is None else output_size
    check_size(hidden_size=H, output_size=O)
    if not 0 <= mu < 1:
        raise ValueError(f"mu, the share of the state that stays, must lie in [0, 1), got {mu}")

    def init(key: Array, input_size: int) -> JordanParams:
        key_W, key_U, key_V = jax.random.split(key, 3)
        return JordanParams(
            W=kernel_init(key_W, (input_size, H), jnp.float32),
            U=recurrent_init(key_U, (O, H), jnp.float32),
            b=jnp.zeros(H, jnp.float32),
            V=kernel_init(key_V, (H, O), jnp.float32),
            c=jnp.zeros(O, jnp.float32),
        )

    def step(p: JordanParams, s: Array, z: Array) -> tuple[Array, Array]:
        h = activation(name(z + recur(s, p.U), "preactivation"))
        y = output_activation(name(dense(h, p.V) + p.c, "preactivation"))
        return mu * s + y, y

    return Cell(O, init, zero_carry(O), affine, step)
