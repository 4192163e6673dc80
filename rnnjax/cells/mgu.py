"""Minimal gated units: one gate that both resets and updates, and its three cheaper forms."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, glorot_uniform, orthogonal, per_gate


class MGUParams(NamedTuple):
    W: Array  # [I, 2H] for f and n; [I, H] for n alone where the gate does not see the input
    U_n: Array  # [H, H]
    b_n: Array  # [H]
    U_f: Array | None = None  # [H, H]
    b_f: Array | None = None  # [H]


@shown
def mgu(
    hidden_size: int,
    *,
    keep_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Minimal gated unit: one gate forgets and resets.

        fₜ = σ(W_f xₜ + U_f hₜ₋₁ + b_f)                          f = 1 writes, and lets the past into the candidate
        nₜ = tanh(W_n xₜ + U_n (fₜ ⊙ hₜ₋₁) + b_n)
        hₜ = (1 − fₜ) ⊙ hₜ₋₁ + fₜ ⊙ nₜ

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing of W: f, n. Parameters: 2H(I + H + 1).
    Init: W glorot uniform, U_f and U_n orthogonal, b_n = 0, b_f = −keep_bias, so that a positive `keep_bias`, or
    `Chrono(t_max)`, keeps.
    Differs from the paper: nothing.
    Reference: Zhou, Wu, Zhang & Zhou 2016, "Minimal gated unit for recurrent neural networks", arXiv:1603.09420.
    """
    return _mgu(hidden_size, True, True, keep_bias, kernel_init, recurrent_init)


@shown
def mgu1(
    hidden_size: int,
    *,
    keep_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Minimal gated unit whose gate does not see the input.

        fₜ = σ(U_f hₜ₋₁ + b_f)                                   f = 1 writes

    All else as in `mgu`. Parameters: H(I + 2H + 2).
    Reference: Heck & Salem 2017, "Simplified minimal gated unit variations for recurrent neural networks",
    arXiv:1701.03452, variant MGU1.
    """
    return _mgu(hidden_size, False, True, keep_bias, kernel_init, recurrent_init)


@shown
def mgu2(
    hidden_size: int, *, kernel_init: Initializer = glorot_uniform, recurrent_init: Initializer = orthogonal
) -> Cell:
    """Minimal gated unit whose gate sees the state alone, without a bias.

        fₜ = σ(U_f hₜ₋₁)                                         f = 1 writes

    All else as in `mgu`. Parameters: H(I + 2H + 1).
    Reference: Heck & Salem 2017, arXiv:1701.03452, variant MGU2.
    """
    return _mgu(hidden_size, False, True, None, kernel_init, recurrent_init)


@shown
def mgu3(
    hidden_size: int,
    *,
    keep_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Minimal gated unit whose gate is constant: a learnt time constant for each unit.

        f = σ(b_f)                                               f = 1 writes

    All else as in `mgu`. Parameters: H(I + H + 2).
    Reference: Heck & Salem 2017, arXiv:1701.03452, variant MGU3.
    """
    return _mgu(hidden_size, False, False, keep_bias, kernel_init, recurrent_init)


def _mgu(hidden_size, sees_input, sees_state, keep_bias, kernel_init, recurrent_init) -> Cell:
    H = hidden_size
    check_size(hidden_size=H)
    if keep_bias is not None:
        check_bias(keep_bias=keep_bias)

    def init(key: Array, input_size: int) -> MGUParams:
        key_W, key_n, key_f, key_b = jax.random.split(key, 4)
        return MGUParams(
            W=per_gate(kernel_init, key_W, input_size, H, 1 + sees_input),
            U_n=recurrent_init(key_n, (H, H), jnp.float32),
            b_n=jnp.zeros(H, jnp.float32),
            U_f=recurrent_init(key_f, (H, H), jnp.float32) if sees_state else None,
            b_f=None if keep_bias is None else -init_bias(keep_bias, key_b, H),
        )

    def project(p: MGUParams, x: Array) -> Array:
        return dense(x, p.W)

    def step(p: MGUParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_f, z_n = split(z, 2) if sees_input else (jnp.zeros_like(z), z)
        if sees_state:
            z_f = z_f + recur(h, p.U_f)
        if keep_bias is not None:
            z_f = z_f + p.b_f
        f = name(jax.nn.sigmoid(name(z_f, "preactivation")), "update_gate")
        n = jnp.tanh(name(z_n + recur(f * h, p.U_n) + p.b_n, "preactivation"))
        h = (1 - f) * h + f * n
        return h, h

    return Cell(H, init, zero_carry(H), project, step)
