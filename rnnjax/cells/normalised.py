"""Layer-normalised LSTM and GRU as first published; `rnnjax.layer_norm` normalises any cell's recurrent products."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.cells.lstm import LSTMCarry
from rnnjax.initializers import Bias, Initializer, check_bias, gate_params, glorot_uniform, orthogonal, per_gate

sigmoid = jax.nn.sigmoid


class Norm(NamedTuple):
    """Gain and bias of one layer normalisation over N values."""

    gain: Array  # [N]
    bias: Array  # [N]


def _identity_norm(size: int) -> Norm:
    return Norm(jnp.ones(size, jnp.float32), jnp.zeros(size, jnp.float32))


def _normalised(norm: Norm, a: Array, epsilon: float) -> Array:
    a = a - jnp.mean(a, axis=-1, keepdims=True)
    return norm.gain * a * jax.lax.rsqrt(jnp.mean(a**2, axis=-1, keepdims=True) + epsilon) + norm.bias


class LayerNormLSTMParams(NamedTuple):
    W: Array  # [I, 4*H]
    U: Array  # [H, 4*H]
    b: Array  # [4*H]
    norm_x: Norm  # over 4*H
    norm_h: Norm  # over 4*H
    norm_c: Norm  # over H


class LayerNormGRUParams(NamedTuple):
    W: Array  # [I, 3*H]
    U: Array  # [H, 3*H]
    norm_x: Norm  # over the 2*H of the gates
    norm_h: Norm
    norm_x_n: Norm  # over H
    norm_h_n: Norm


@shown
def lstm_layer_norm(
    hidden_size: int,
    *,
    forget_bias: Bias = 1.0,
    epsilon: float = 1e-5,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Layer-normalised LSTM: what comes from the input, what comes from the state and the shown memory, each by itself.

        LN(a; γ, β) = γ ⊙ (a − mean(a)) / √(var(a) + ε) + β,   mean and variance over all entries of a
        (zᵢ, z_f, z_g, z_o) = LN(W xₜ; γ₁, β₁) + LN(U hₜ₋₁; γ₂, β₂) + b
        cₜ = σ(z_f) ⊙ cₜ₋₁ + σ(zᵢ) ⊙ tanh(z_g)                   f = 1 keeps, i = 1 writes
        hₜ = σ(z_o) ⊙ tanh(LN(cₜ; γ₃, β₃))                       o = 1 shows

    The four gates are normalised as one vector of 4H. Of its three biases, β₁ + β₂ + b is one number for each gate.
    Carry: LSTMCarry(h [*B, H], c [*B, H]), c as it is, not normalised. Output: hₜ [*B, H]. Packing: i, f, g, o.
    Parameters: 4H(I + H + 1) + 18H.
    Init: gains one, all biases zero but b_f = 1; W glorot uniform, U orthogonal per gate.
    Differs from the paper: b_f; initial matrices are the usual ones of today.
    Reference: Ba, Kiros & Hinton 2016, arXiv:1607.06450, equations 20 to 22.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> LayerNormLSTMParams:
        gates = gate_params(key, input_size, H, (0.0, forget_bias, 0.0, 0.0), kernel_init, recurrent_init)
        return LayerNormLSTMParams(*gates, _identity_norm(4 * H), _identity_norm(4 * H), _identity_norm(H))

    def project(p: LayerNormLSTMParams, x: Array) -> Array:
        return _normalised(p.norm_x, name(dense(x, p.W), "preactivation"), epsilon) + p.b

    def step(p: LayerNormLSTMParams, carry: LSTMCarry, z: Array) -> tuple[LSTMCarry, Array]:
        h, c, _ = carry
        u = name(recur(h, p.U), "preactivation")
        z_i, z_f, z_g, z_o = split(z + _normalised(p.norm_h, u, epsilon), 4)
        i, f, o = name(sigmoid(z_i), "input_gate"), name(sigmoid(z_f), "forget_gate"), name(sigmoid(z_o), "output_gate")
        c = f * c + i * jnp.tanh(z_g)
        h = o * jnp.tanh(_normalised(p.norm_c, c, epsilon))
        return LSTMCarry(h, c), h

    return Cell(H, init, zero_carry(LSTMCarry, h=H, c=H), project, step)


@shown
def gru_layer_norm(
    hidden_size: int,
    *,
    epsilon: float = 1e-5,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Layer-normalised gated recurrent unit.

        LN(a; γ, β) = γ ⊙ (a − mean(a)) / √(var(a) + ε) + β,   mean and variance over all entries of a
        (zᵣ, z_z) = LN(W_g xₜ; γ₁, β₁) + LN(U_g hₜ₋₁; γ₂, β₂)
        nₜ = tanh(LN(W_n xₜ; γ₃, β₃) + σ(zᵣ) ⊙ LN(U_n hₜ₋₁; γ₄, β₄))     r = 1 lets the past into the candidate
        hₜ = (1 − σ(z_z)) ⊙ hₜ₋₁ + σ(z_z) ⊙ nₜ                           z = 1 writes

    The two gates are normalised as one vector of 2H.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: r, z, n. Parameters: 3H(I + H) + 12H.
    Init: gains one, biases zero; W glorot uniform, U orthogonal per gate.
    Differs from the paper: initial matrices are the usual ones of today. The update gate is the paper's, the other way
    round than that of `gru`.
    Reference: Ba, Kiros & Hinton 2016, arXiv:1607.06450, supplementary equations of the GRU.
    """
    H = hidden_size
    check_size(hidden_size=H)

    def init(key: Array, input_size: int) -> LayerNormGRUParams:
        key_W, key_U = jax.random.split(key)
        norms = [_identity_norm(size) for size in (2 * H, 2 * H, H, H)]
        W, U = per_gate(kernel_init, key_W, input_size, H, 3), per_gate(recurrent_init, key_U, H, H, 3)
        return LayerNormGRUParams(W, U, *norms)

    def project(p: LayerNormGRUParams, x: Array) -> tuple[Array, Array]:
        gates, n = jnp.split(name(dense(x, p.W), "preactivation"), [2 * H], axis=-1)
        return _normalised(p.norm_x, gates, epsilon), _normalised(p.norm_x_n, n, epsilon)

    def step(p: LayerNormGRUParams, h: Array, z: Any) -> tuple[Array, Array]:
        z_gates, z_n = z
        u_gates, u_n = jnp.split(name(recur(h, p.U), "preactivation"), [2 * H], axis=-1)
        r, z = split(z_gates + _normalised(p.norm_h, u_gates, epsilon), 2)
        r, z = name(sigmoid(r), "reset_gate"), name(sigmoid(z), "update_gate")
        n = jnp.tanh(z_n + r * _normalised(p.norm_h_n, u_n, epsilon))
        h = (1 - z) * h + z * n
        return h, h

    return Cell(H, init, zero_carry(H), project, step)
