"""The intersection RNN: one gate through time and one through depth."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.initializers import Bias, Initializer, check_bias, gate_params, glorot_uniform, orthogonal


class IntersectionParams(NamedTuple):
    W: Array  # [N, 4H], N the width of what the gates see: I, which is H, or H after P
    U: Array  # [H, 4H]
    b: Array  # [4H]
    P: Array | None = None  # [I, H], where I is not H
    b_P: Array | None = None  # [H]


@shown
def intersection_rnn(
    hidden_size: int,
    *,
    forget_bias: Bias = 1.0,
    depth_bias: Bias = 1.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Intersection RNN, the +RNN: a gate carries the state on in time, another carries the input up in depth.

        yⁱⁿ = max(0, W_y xₜ + U_y hₜ₋₁ + b_y)
        hⁱⁿ = tanh(W_h xₜ + U_h hₜ₋₁ + b_h)
        gʸ = σ(W_gy xₜ + U_gy hₜ₋₁ + b_gy)                       gʸ = 1 hands the input up
        gʰ = σ(W_gh xₜ + U_gh hₜ₋₁ + b_gh)                       gʰ = 1 keeps
        yₜ = gʸ ⊙ xₜ + (1 − gʸ) ⊙ yⁱⁿ
        hₜ = gʰ ⊙ hₜ₋₁ + (1 − gʰ) ⊙ hⁱⁿ

    x and y are of one width, H. Where the input's size I is another, P x + b_P stands for x throughout, P [I, H]
    learnt.
    Carry: h [*B, H]. Output: yₜ [*B, H]. Packing: gʸ, gʰ, y, h. Parameters: 4H(2H + 1), and H(I + 1) for P and b_P
    where I is not H.
    Init: W and P glorot uniform, U orthogonal per gate, b_gh = forget_bias, b_gy = depth_bias, other biases zero.
    Differs from the paper: its constants b^fg, added to both gates and tuned there, are initial biases here, which is
    the same function. Their value 1 and the map P are those of TensorFlow's cell of this name.
    Reference: Collins, Sohl-Dickstein & Sussillo 2017, "Capacity and trainability in recurrent neural networks",
    arXiv:1611.09913.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias, depth_bias=depth_bias)

    def init(key: Array, input_size: int) -> IntersectionParams:
        key_gates, key_P = jax.random.split(key)
        W, U, b = gate_params(key_gates, H, H, [depth_bias, forget_bias, 0.0, 0.0], kernel_init, recurrent_init)
        if input_size == H:
            return IntersectionParams(W, U, b)
        return IntersectionParams(W, U, b, kernel_init(key_P, (input_size, H), jnp.float32), jnp.zeros(H, jnp.float32))

    def project(p: IntersectionParams, x: Array) -> tuple[Array, Array]:
        if p.P is not None:
            x = name(dense(x, p.P) + p.b_P, "preactivation")
        return x, dense(x, p.W) + p.b

    def step(p: IntersectionParams, h: Array, z: Any) -> tuple[Array, Array]:
        x, z = z
        z_gy, z_gh, z_y, z_h = split(name(z + recur(h, p.U), "preactivation"), 4)
        g_y = name(jax.nn.sigmoid(z_gy), "depth_gate")
        g_h = name(jax.nn.sigmoid(z_gh), "update_gate")
        y = g_y * x + (1 - g_y) * jax.nn.relu(z_y)
        h = g_h * h + (1 - g_h) * jnp.tanh(z_h)
        return h, y

    return Cell(H, init, zero_carry(H), project, step)
