"""Cells in which input and state multiply each other before any gate: mLSTM and multiplicative integration."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.cells.lstm import LSTMCarry
from rnnjax.initializers import (
    Bias,
    Initializer,
    bias as init_bias,
    check_bias,
    gate_params,
    glorot_uniform,
    orthogonal,
    per_gate,
)

sigmoid = jax.nn.sigmoid


class MultiplicativeLSTMParams(NamedTuple):
    W: Array  # [I, 4*H]
    U: Array  # [H, 4*H] from m
    b: Array  # [4*H]
    W_m: Array  # [I, H]
    U_m: Array  # [H, H]


@shown
def multiplicative_lstm(
    hidden_size: int,
    *,
    forget_bias: Bias = 1.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Multiplicative LSTM: every input has a recurrent matrix of its own, factored.

        mₜ = (W_m xₜ) ⊙ (U_m hₜ₋₁)
        iₜ = σ(W_i xₜ + U_i mₜ + b_i)                            i = 1 writes
        fₜ = σ(W_f xₜ + U_f mₜ + b_f)                            f = 1 keeps
        gₜ = tanh(W_g xₜ + U_g mₜ + b_g)
        oₜ = σ(W_o xₜ + U_o mₜ + b_o)                            o = 1 shows
        cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ,   hₜ = oₜ ⊙ tanh(cₜ)

    Carry: LSTMCarry(h [*B, H], c [*B, H]). Output: hₜ [*B, H]. Packing: i, f, g, o.
    Parameters: 4H(I + H + 1) + H(I + H).
    Init: W glorot uniform, U orthogonal per gate, b_f = 1, other biases zero.
    Differs from the paper: the biases, which its equations leave out, and initial values, which are the usual ones of
    today; its variant with the output gate inside the tanh is left out.
    Reference: Krause et al. 2016, arXiv:1609.07959, section 3.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> MultiplicativeLSTMParams:
        key, key_W, key_U = jax.random.split(key, 3)
        gates = gate_params(key, input_size, H, (0.0, forget_bias, 0.0, 0.0), kernel_init, recurrent_init)
        W_m = kernel_init(key_W, (input_size, H), jnp.float32)
        return MultiplicativeLSTMParams(*gates, W_m, recurrent_init(key_U, (H, H), jnp.float32))

    def project(p: MultiplicativeLSTMParams, x: Array) -> tuple[Array, Array]:
        return affine(p, x), name(dense(x, p.W_m), "preactivation")

    def step(p: MultiplicativeLSTMParams, carry: LSTMCarry, z: Any) -> tuple[LSTMCarry, Array]:
        h, c, _ = carry
        z, z_m = z
        m = z_m * name(recur(h, p.U_m), "preactivation")
        z_i, z_f, z_g, z_o = split(name(z + recur(m, p.U), "preactivation"), 4)
        i, f, o = name(sigmoid(z_i), "input_gate"), name(sigmoid(z_f), "forget_gate"), name(sigmoid(z_o), "output_gate")
        c = f * c + i * jnp.tanh(z_g)
        h = o * jnp.tanh(c)
        return LSTMCarry(h, c), h

    return Cell(H, init, zero_carry(LSTMCarry, h=H, c=H), project, step)


class Integration(NamedTuple):
    """The vectors of multiplicative integration, each [G*H]."""

    alpha: Array
    beta_1: Array
    beta_2: Array
    b: Array


class MIParams(NamedTuple):
    W: Array  # [I, G*H]
    U: Array  # [H, G*H]
    mi: Integration


class MIGRUParams(NamedTuple):
    W: Array  # [I, 3*H]
    U: Array  # [H, 2*H] of r and z
    U_n: Array  # [H, H]
    mi: Integration


def _mi(v: Integration, Wx: Array, Uh: Array) -> Array:
    return v.alpha * Wx * Uh + v.beta_1 * Uh + v.beta_2 * Wx + v.b


def _init_integration(key: Array, size: int, alpha: float, beta: float, biases: tuple[Bias, ...]) -> Integration:
    full = lambda value: jnp.full((size * len(biases),), value, jnp.float32)
    keys = jax.random.split(key, len(biases))
    b = jnp.concatenate([init_bias(value, k, size) for value, k in zip(biases, keys, strict=True)])
    return Integration(full(alpha), full(beta), full(beta), b)


def _project(p: MIParams | MIGRUParams, x: Array) -> Array:
    return name(dense(x, p.W), "preactivation")


@shown
def mi_rnn(
    hidden_size: int,
    *,
    alpha: float = 2.0,
    beta: float = 0.5,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Simple recurrent network with multiplicative integration.

        MI(p, q) = α ⊙ p ⊙ q + β₁ ⊙ q + β₂ ⊙ p + b
        hₜ = tanh(MI(W xₜ, U hₜ₋₁))

    With α = 0 and β = 1 it is `elman`. Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + H + 4).
    Init: W glorot uniform, U orthogonal, α and β as given, b zero.
    Differs from the paper: initial matrices are the usual ones of today (it draws them from a uniform distribution
    whose width it varies).
    Reference: Wu et al. 2016, arXiv:1606.06630, equation 4.
    """
    H = hidden_size
    check_size(hidden_size=H)

    def init(key: Array, input_size: int) -> MIParams:
        key_W, key_U, key_mi = jax.random.split(key, 3)
        W, U = kernel_init(key_W, (input_size, H), jnp.float32), recurrent_init(key_U, (H, H), jnp.float32)
        return MIParams(W, U, _init_integration(key_mi, H, alpha, beta, (0.0,)))

    def step(p: MIParams, h: Array, z: Array) -> tuple[Array, Array]:
        h = jnp.tanh(_mi(p.mi, z, name(recur(h, p.U), "preactivation")))
        return h, h

    return Cell(H, init, zero_carry(H), _project, step)


@shown
def mi_lstm(
    hidden_size: int,
    *,
    alpha: float = 1.0,
    beta: float = 0.5,
    forget_bias: Bias = 1.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """LSTM with multiplicative integration.

        MI(p, q) = α ⊙ p ⊙ q + β₁ ⊙ q + β₂ ⊙ p + b, with vectors of its own for every gate
        iₜ = σ(MI(W_i xₜ, U_i hₜ₋₁))                             i = 1 writes
        fₜ = σ(MI(W_f xₜ, U_f hₜ₋₁))                             f = 1 keeps
        gₜ = tanh(MI(W_g xₜ, U_g hₜ₋₁))
        oₜ = σ(MI(W_o xₜ, U_o hₜ₋₁))                             o = 1 shows
        cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ,   hₜ = oₜ ⊙ tanh(cₜ)

    Carry: LSTMCarry(h [*B, H], c [*B, H]). Output: hₜ [*B, H]. Packing: i, f, g, o. Parameters: 4H(I + H + 4).
    Init: W glorot uniform, U orthogonal per gate, α and β as given, b_f = 1, other biases zero.
    Differs from the paper: as `mi_rnn`; b_f.
    Reference: Wu et al. 2016, arXiv:1606.06630, equation 4 and appendix A.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> MIParams:
        key_W, key_U, key_mi = jax.random.split(key, 3)
        return MIParams(
            W=per_gate(kernel_init, key_W, input_size, H, 4),
            U=per_gate(recurrent_init, key_U, H, H, 4),
            mi=_init_integration(key_mi, H, alpha, beta, (0.0, forget_bias, 0.0, 0.0)),
        )

    def step(p: MIParams, carry: LSTMCarry, z: Array) -> tuple[LSTMCarry, Array]:
        h, c, _ = carry
        z_i, z_f, z_g, z_o = split(_mi(p.mi, z, name(recur(h, p.U), "preactivation")), 4)
        i, f, o = name(sigmoid(z_i), "input_gate"), name(sigmoid(z_f), "forget_gate"), name(sigmoid(z_o), "output_gate")
        c = f * c + i * jnp.tanh(z_g)
        h = o * jnp.tanh(c)
        return LSTMCarry(h, c), h

    return Cell(H, init, zero_carry(LSTMCarry, h=H, c=H), _project, step)


@shown
def mi_gru(
    hidden_size: int,
    *,
    alpha: float = 1.0,
    beta: float = 0.5,
    reset_bias: Bias = 0.0,
    update_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Gated recurrent unit with multiplicative integration, reset gate before the recurrent product.

        MI(p, q) = α ⊙ p ⊙ q + β₁ ⊙ q + β₂ ⊙ p + b, with vectors of its own for every gate
        rₜ = σ(MI(W_r xₜ, U_r hₜ₋₁))                             r = 1 lets the past into the candidate
        zₜ = σ(MI(W_z xₜ, U_z hₜ₋₁))                             z = 1 writes
        nₜ = tanh(MI(W_n xₜ, U_n (rₜ ⊙ hₜ₋₁)))
        hₜ = (1 − zₜ) ⊙ hₜ₋₁ + zₜ ⊙ nₜ

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: r, z, n. Parameters: 3H(I + H + 4).
    Init: W glorot uniform, U orthogonal per gate, α and β as given, biases zero or as given.
    Differs from the paper: as `mi_rnn`. The update gate is the paper's, the other way round than that of `gru`.
    Reference: Wu et al. 2016, arXiv:1606.06630, equation 4 and appendix A.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(reset_bias=reset_bias, update_bias=update_bias)

    def init(key: Array, input_size: int) -> MIGRUParams:
        key_W, key_U, key_n, key_mi = jax.random.split(key, 4)
        return MIGRUParams(
            W=per_gate(kernel_init, key_W, input_size, H, 3),
            U=per_gate(recurrent_init, key_U, H, H, 2),
            U_n=recurrent_init(key_n, (H, H), jnp.float32),
            mi=_init_integration(key_mi, H, alpha, beta, (reset_bias, update_bias, 0.0)),
        )

    def step(p: MIGRUParams, h: Array, z: Array) -> tuple[Array, Array]:
        gates = Integration(*(v[: 2 * H] for v in p.mi))
        candidate = Integration(*(v[2 * H :] for v in p.mi))
        z_gates, z_n = jnp.split(z, [2 * H], axis=-1)
        r, z = split(_mi(gates, z_gates, name(recur(h, p.U), "preactivation")), 2)
        r, z = name(sigmoid(r), "reset_gate"), name(sigmoid(z), "update_gate")
        n = jnp.tanh(_mi(candidate, z_n, name(recur(r * h, p.U_n), "preactivation")))
        h = (1 - z) * h + z * n
        return h, h

    return Cell(H, init, zero_carry(H), _project, step)
