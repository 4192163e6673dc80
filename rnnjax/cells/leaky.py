"""Units with time constants of their own, and a gated unit that also sees a state of some steps ago."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, recur, shown, split, zero_carry, zeros
from rnnjax.initializers import (
    Bias,
    Initializer,
    bias as init_bias,
    check_bias,
    gate_params,
    glorot_uniform,
    orthogonal,
    symmetric_uniform,
)

sigmoid = jax.nn.sigmoid


class LeakyParams(NamedTuple):
    W: Array  # [I, H]
    U: Array  # [H, H]
    b: Array  # [H]
    keep: Array  # [H] logit of what a unit keeps


class TauGRUParams(NamedTuple):
    W: Array  # [I, 4H]
    U: Array  # [H, 3H] from the state before
    U_delayed: Array  # [H, H] from the delayed state
    b: Array  # [4H]


class TauGRUCarry(NamedTuple):
    h: Array  # [*B, H]
    past: Array  # [*B, delay, H] the states before h, the oldest first


@shown
def leaky(
    hidden_size: int,
    *,
    keep_bias: Bias = 1.0,
    bias: Bias = 0.0,
    activation: Callable[[Array], Array] = jnp.tanh,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Leaky units: each with a time constant that it learns.

        hₜ = (1 - α) ⊙ hₜ₋₁ + α ⊙ tanh(W xₜ + U hₜ₋₁ + b)        α = 1 - σ(k),  0 < α < 1

    One Euler step of the continuous-time network τ dh/dt = -h + tanh(W x + U h + b), τ = 1/α = 1 + eᵏ steps.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + H + 2).
    Init: W glorot uniform, U orthogonal, b zero, k = `keep_bias` (τ = 3.7 steps for 1; with `Chrono(t_max)` time
    constants spread evenly from 2 to t_max steps).
    Differs from the paper: it takes α itself as the parameter; k keeps it between 0 and 1.
    Reference: Tallec & Ollivier 2018, arXiv:1804.11188, section 1, the leaky network with an α for each unit.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(keep_bias=keep_bias, bias=bias)

    def init(key: Array, input_size: int) -> LeakyParams:
        key_gates, key_keep = jax.random.split(key)
        W, U, b = gate_params(key_gates, input_size, H, (bias,), kernel_init, recurrent_init)
        return LeakyParams(W, U, b, init_bias(keep_bias, key_keep, H))

    def prepare(params: LeakyParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> LeakyParams:
        return params._replace(keep=sigmoid(params.keep))

    def step(p: LeakyParams, h: Array, z: Array) -> tuple[Array, Array]:
        h = p.keep * h + (1 - p.keep) * activation(name(z + recur(h, p.U), "preactivation"))
        return h, h

    return Cell(H, init, zero_carry(H), affine, step, prepare)


@shown
def tau_gru(hidden_size: int, *, delay: int = 5, alpha: float = 1.0, beta: float = 1.0) -> Cell:
    """Gated unit with weighted time-delay feedback.

        uₜ = tanh(W_u xₜ + U_u hₜ₋₁ + b_u)
        zₜ = tanh(W_z xₜ + U_z hₜ₋₁₋τ + b_z)                     the state of τ steps earlier
        gₜ = σ(W_g xₜ + U_g hₜ₋₁ + b_g)                          g = 1 writes
        aₜ = σ(W_a xₜ + U_a hₜ₋₁ + b_a)                          a = 1 lets the delayed state in
        hₜ = (1 - gₜ) ⊙ hₜ₋₁ + gₜ ⊙ (β uₜ + α aₜ ⊙ zₜ)

    τ is `delay`, in steps; before the first step all states are zero.
    Carry: TauGRUCarry(h [*B, H], past [*B, delay, H]). Output: hₜ [*B, H]. Packing: u, z, g, a in W and b; u, g, a in
    U. Parameters: 4H(I + H + 1).
    Init: everything ~ U[-1/√H, 1/√H].
    Differs from the paper: biases; the paper tunes τ for each task.
    Reference: Erichson, Lim & Mahoney 2022, arXiv:2212.00228.
    """
    H = hidden_size
    check_size(hidden_size=H, delay=delay)

    def init(key: Array, input_size: int) -> TauGRUParams:
        key_W, key_U, key_delayed, key_b = jax.random.split(key, 4)
        draw = symmetric_uniform(H**-0.5)
        return TauGRUParams(
            W=draw(key_W, (input_size, 4 * H)),
            U=draw(key_U, (H, 3 * H)),
            U_delayed=draw(key_delayed, (H, H)),
            b=draw(key_b, (4 * H,)),
        )

    def initial_carry(params: TauGRUParams, batch_shape: tuple[int, ...] = ()) -> TauGRUCarry:
        h = zeros(params, *batch_shape, H)
        return TauGRUCarry(h, zeros(params, *batch_shape, delay, H))

    def step(p: TauGRUParams, carry: TauGRUCarry, x: Array) -> tuple[TauGRUCarry, Array]:
        h, past = carry
        x_u, x_z, x_g, x_a = split(x, 4)
        h_u, h_g, h_a = split(recur(h, p.U), 3)
        u = jnp.tanh(name(x_u + h_u, "preactivation"))
        z = jnp.tanh(name(x_z + recur(past[..., 0, :], p.U_delayed), "preactivation"))
        g = name(sigmoid(name(x_g + h_g, "preactivation")), "update_gate")
        a = name(sigmoid(name(x_a + h_a, "preactivation")), "delay_gate")
        past = jnp.concatenate([past[..., 1:, :], h[..., None, :]], axis=-2)
        h = (1 - g) * h + g * (beta * u + alpha * a * z)
        return TauGRUCarry(h, past), h

    return Cell(H, init, initial_carry, affine, step)
