"""Bistable recurrent cells: a neuron with two stable states of its own, which its gates turn on and off."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, glorot_uniform, per_gate

sigmoid = jax.nn.sigmoid


class BRParams(NamedTuple):
    W: Array  # [I, 3*H]
    w: Array  # [2*H], each neuron's own feedback into a and c
    b: Array  # [2*H]


class NBRParams(NamedTuple):
    W: Array  # [I, 3*H]
    U: Array  # [H, 2*H]
    b: Array  # [2*H]


@shown
def br(
    hidden_size: int, *, feedback_bias: Bias = 0.0, update_bias: Bias = 0.0, kernel_init: Initializer = glorot_uniform
) -> Cell:
    """Bistable recurrent cell: no neuron sees another one's state.

        aₜ = 1 + tanh(W_a xₜ + w_a ⊙ hₜ₋₁ + b_a)                 a > 1 is bistable, a < 1 has one stable state
        cₜ = σ(W_c xₜ + w_c ⊙ hₜ₋₁ + b_c)                        c = 1 keeps
        hₜ = cₜ ⊙ hₜ₋₁ + (1 − cₜ) ⊙ tanh(W_n xₜ + aₜ ⊙ hₜ₋₁)

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: a, c, n. Parameters: 3HI + 4H.
    Init: W glorot uniform, w one, b zero or as given (of a: `feedback_bias`, of c: `update_bias`).
    Differs from the paper: the biases, which its equations leave out and the authors' program has; so are the initial
    values.
    Reference: Vecoven, Ernst & Drion 2021, arXiv:2006.05252, section 3 (BRC); github.com/nvecoven/BRC.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(feedback_bias=feedback_bias, update_bias=update_bias)

    def init(key: Array, input_size: int) -> BRParams:
        key_W, key_b = jax.random.split(key)
        W = per_gate(kernel_init, key_W, input_size, H, 3)
        return BRParams(W, jnp.ones(2 * H, jnp.float32), _biases(key_b, H, feedback_bias, update_bias))

    def step(p: BRParams, h: Array, z: Any) -> tuple[Array, Array]:
        return _bistable(h, name(z[0] + p.w * jnp.concatenate([h, h], axis=-1), "preactivation"), z[1])

    return Cell(H, init, zero_carry(H), _project, step)


@shown
def nbr(
    hidden_size: int,
    *,
    feedback_bias: Bias = 0.0,
    update_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = glorot_uniform,
) -> Cell:
    """Recurrently neuromodulated bistable cell: the other neurons set each one's gates.

        aₜ = 1 + tanh(W_a xₜ + U_a hₜ₋₁ + b_a)                   a > 1 is bistable, a < 1 has one stable state
        cₜ = σ(W_c xₜ + U_c hₜ₋₁ + b_c)                          c = 1 keeps
        hₜ = cₜ ⊙ hₜ₋₁ + (1 − cₜ) ⊙ tanh(W_n xₜ + aₜ ⊙ hₜ₋₁)

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: a, c, n. Parameters: 3HI + 2H² + 2H.
    Init: W and U glorot uniform, b zero or as given (of a: `feedback_bias`, of c: `update_bias`).
    Differs from the paper: as `br`.
    Reference: Vecoven, Ernst & Drion 2021, arXiv:2006.05252, section 3 (nBRC); github.com/nvecoven/BRC.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(feedback_bias=feedback_bias, update_bias=update_bias)

    def init(key: Array, input_size: int) -> NBRParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        return NBRParams(
            W=per_gate(kernel_init, key_W, input_size, H, 3),
            U=per_gate(recurrent_init, key_U, H, H, 2),
            b=_biases(key_b, H, feedback_bias, update_bias),
        )

    def step(p: NBRParams, h: Array, z: Any) -> tuple[Array, Array]:
        return _bistable(h, name(z[0] + recur(h, p.U), "preactivation"), z[1])

    return Cell(H, init, zero_carry(H), _project, step)


def _biases(key: Array, size: int, *values: Bias) -> Array:
    keys = jax.random.split(key, len(values))
    return jnp.concatenate([init_bias(value, k, size) for value, k in zip(values, keys, strict=True)])


def _project(p: BRParams | NBRParams, x: Array) -> tuple[Array, Array]:
    gates, n = jnp.split(dense(x, p.W), [p.b.shape[0]], axis=-1)
    return gates + p.b, n


def _bistable(h: Array, gates: Array, n: Array) -> tuple[Array, Array]:
    a, c = split(gates, 2)
    a = name(1 + jnp.tanh(a), "feedback_gate")
    c = name(sigmoid(c), "update_gate")
    h = c * h + (1 - c) * jnp.tanh(name(n + a * h, "preactivation"))
    return h, h
