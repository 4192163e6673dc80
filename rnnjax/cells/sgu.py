"""Simple gated units: the input multiplies the state, and one gate updates it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, recur, shown, split, zero_carry
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, glorot_uniform, orthogonal, per_gate


class SGUParams(NamedTuple):
    W: Array  # [I, 2H] for z, then g
    b: Array  # [2H]
    U_z: Array  # [H, H]
    U_g: Array  # [H, H]
    U_o: Array | None = None  # [H, H], in the deep form


@shown
def sgu(
    hidden_size: int,
    *,
    keep_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Simple gated unit: the input gates the state by a product, twice.

        x_g = W_g xₜ + b_g
        z_g = tanh(U_g (x_g ⊙ hₜ₋₁))
        z_out = softplus(z_g ⊙ hₜ₋₁)
        zₜ = hard σ(W_z xₜ + U_z hₜ₋₁ + b_z)                     z = 1 writes; hard σ(v) = min(max(v / 5 + 1/2, 0), 1)
        hₜ = (1 − zₜ) ⊙ hₜ₋₁ + zₜ ⊙ z_out

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: z, g. Parameters: 2H(I + H + 1).
    Init: W glorot uniform, U_z and U_g orthogonal, b_g = 0, b_z = −keep_bias, so that a positive `keep_bias` keeps.
    Differs from the paper: nothing.
    Reference: Gao & Glowacka 2016, "Deep gate recurrent neural network", arXiv:1604.02910.
    """
    return _sgu(hidden_size, False, keep_bias, kernel_init, recurrent_init)


@shown
def dsgu(
    hidden_size: int,
    *,
    keep_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Deep simple gated unit: one more matrix, and a bounded state.

        z_out = σ(U_o (z_g ⊙ hₜ₋₁))

    All else as in `sgu`. Parameters: H(2I + 3H + 2). Init: U_o orthogonal, the rest as in `sgu`.
    Reference: Gao & Glowacka 2016, arXiv:1604.02910.
    """
    return _sgu(hidden_size, True, keep_bias, kernel_init, recurrent_init)


def hard_sigmoid(v: Array) -> Array:
    """min(max(v / 5 + 1/2, 0), 1), the form of Theano and Keras; that of JAX has the slope 1/6."""
    return jnp.clip(0.2 * v + 0.5, 0.0, 1.0)


def _sgu(hidden_size, deep, keep_bias, kernel_init, recurrent_init) -> Cell:
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(keep_bias=keep_bias)

    def init(key: Array, input_size: int) -> SGUParams:
        key_W, key_b, key_z, key_g, key_o = jax.random.split(key, 5)
        return SGUParams(
            W=per_gate(kernel_init, key_W, input_size, H, 2),
            b=jnp.concatenate([-init_bias(keep_bias, key_b, H), jnp.zeros(H, jnp.float32)]),
            U_z=recurrent_init(key_z, (H, H), jnp.float32),
            U_g=recurrent_init(key_g, (H, H), jnp.float32),
            U_o=recurrent_init(key_o, (H, H), jnp.float32) if deep else None,
        )

    def step(p: SGUParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_z, x_g = split(name(z, "preactivation"), 2)
        z_g = jnp.tanh(name(recur(x_g * h, p.U_g), "preactivation"))
        z_out = jax.nn.sigmoid(name(recur(z_g * h, p.U_o), "preactivation")) if deep else jax.nn.softplus(z_g * h)
        z = name(hard_sigmoid(name(z_z + recur(h, p.U_z), "preactivation")), "update_gate")
        h = (1 - z) * h + z * z_out
        return h, h

    return Cell(H, init, zero_carry(H), affine, step)
