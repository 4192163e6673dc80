"""LSTMs with further connections: from the memory to the gates, from the input to the output."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.cells.lstm import LSTMCarry
from rnnjax.initializers import Bias, Initializer, check_bias, gate_params, glorot_uniform, orthogonal, per_gate

sigmoid = jax.nn.sigmoid


class WMCLSTMParams(NamedTuple):
    W: Array  # [I, 4*H]
    U: Array  # [H, 4*H]
    b: Array  # [4*H]
    U_c: Array  # [H, 2*H] from the memory before to i and f
    U_o: Array  # [H, H] from the new memory to o


@shown
def wmclstm(
    hidden_size: int,
    *,
    forget_bias: Bias = 1.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
    memory_init: Initializer = glorot_uniform,
) -> Cell:
    """LSTM with working memory connections: the gates read the memory through a matrix and a tanh.

        iₜ = σ(W_i xₜ + U_i hₜ₋₁ + tanh(U_ci cₜ₋₁) + b_i)        i = 1 writes
        fₜ = σ(W_f xₜ + U_f hₜ₋₁ + tanh(U_cf cₜ₋₁) + b_f)        f = 1 keeps
        gₜ = tanh(W_g xₜ + U_g hₜ₋₁ + b_g)
        cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ
        oₜ = σ(W_o xₜ + U_o hₜ₋₁ + tanh(U_co cₜ) + b_o)          o = 1 shows
        hₜ = oₜ ⊙ tanh(cₜ)

    Peepholes (`lstm_vanilla`) are the same with a diagonal matrix and no tanh.
    Carry: LSTMCarry(h [*B, H], c [*B, H]). Output: hₜ [*B, H]. Packing: i, f, g, o. Parameters: 4H(I + H + 1) + 3H².
    Init: W and the matrices of the memory glorot uniform, U orthogonal per gate, b_f = 1, other biases zero.
    Differs from the paper: initial values are the usual ones of today.
    Reference: Landi et al. 2021, arXiv:2109.00020, section 3.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> WMCLSTMParams:
        key, key_c, key_o = jax.random.split(key, 3)
        gates = gate_params(key, input_size, H, (0.0, forget_bias, 0.0, 0.0), kernel_init, recurrent_init)
        return WMCLSTMParams(*gates, per_gate(memory_init, key_c, H, H, 2), memory_init(key_o, (H, H), jnp.float32))

    def step(p: WMCLSTMParams, carry: LSTMCarry, z: Array) -> tuple[LSTMCarry, Array]:
        h, c, _ = carry
        z_i, z_f, z_g, z_o = split(name(z + recur(h, p.U), "preactivation"), 4)
        m_i, m_f = split(jnp.tanh(name(recur(c, p.U_c), "preactivation")), 2)
        i = name(sigmoid(z_i + m_i), "input_gate")
        f = name(sigmoid(z_f + m_f), "forget_gate")
        c = f * c + i * jnp.tanh(z_g)
        o = name(sigmoid(z_o + jnp.tanh(name(recur(c, p.U_o), "preactivation"))), "output_gate")
        h = o * jnp.tanh(c)
        return LSTMCarry(h, c), h

    return Cell(H, init, zero_carry(LSTMCarry, h=H, c=H), affine, step)


class ResidualLSTMParams(NamedTuple):
    W: Array  # [I, 4*H]
    U: Array  # [H, 4*H]
    b: Array  # [4*H]
    w: Array  # [3, H] peepholes of i, f, o
    W_p: Array  # [H, H]
    W_h: Array | None  # [I, H]; absent where I = H


@shown
def residual_lstm(
    hidden_size: int,
    *,
    forget_bias: Bias = 1.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Residual LSTM: the input has a way around the memory to the output.

        iₜ = σ(W_i xₜ + U_i hₜ₋₁ + w_i ⊙ cₜ₋₁ + b_i)             i = 1 writes
        fₜ = σ(W_f xₜ + U_f hₜ₋₁ + w_f ⊙ cₜ₋₁ + b_f)             f = 1 keeps
        cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ tanh(W_g xₜ + U_g hₜ₋₁ + b_g)
        oₜ = σ(W_o xₜ + U_o hₜ₋₁ + w_o ⊙ cₜ + b_o)               o = 1 shows
        hₜ = oₜ ⊙ (W_p tanh(cₜ) + W_h xₜ)

    W_h is the identity, and no parameter, where the input is of size H: in all layers of a stack but the first.
    Carry: LSTMCarry(h [*B, H], c [*B, H]). Output: hₜ [*B, H]. Packing: i, f, g, o.
    Parameters: 4H(I + H + 1) + 3H + H², and HI more unless I = H.
    Init: W, W_p and W_h glorot uniform, U orthogonal per gate, b_f = 1, other biases and peepholes zero.
    Differs from the paper: W_p is square (there it may project to fewer units than c has); initial values are the
    usual ones of today.
    Reference: Kim, El-Khamy & Lee 2017, arXiv:1701.03360, section 3.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> ResidualLSTMParams:
        key, key_p, key_h = jax.random.split(key, 3)
        gates = gate_params(key, input_size, H, (0.0, forget_bias, 0.0, 0.0), kernel_init, recurrent_init)
        W_p = kernel_init(key_p, (H, H), jnp.float32)
        W_h = None if input_size == H else kernel_init(key_h, (input_size, H), jnp.float32)
        return ResidualLSTMParams(*gates, jnp.zeros((3, H), jnp.float32), W_p, W_h)

    def project(p: ResidualLSTMParams, x: Array) -> tuple[Array, Array]:
        return affine(p, x), x if p.W_h is None else dense(x, p.W_h)

    def step(p: ResidualLSTMParams, carry: LSTMCarry, z: Any) -> tuple[LSTMCarry, Array]:
        h, c, _ = carry
        z, shortcut = z
        w_i, w_f, w_o = p.w
        z_i, z_f, z_g, z_o = split(name(z + recur(h, p.U), "preactivation"), 4)
        i = name(sigmoid(z_i + w_i * c), "input_gate")
        f = name(sigmoid(z_f + w_f * c), "forget_gate")
        c = f * c + i * jnp.tanh(z_g)
        o = name(sigmoid(z_o + w_o * c), "output_gate")
        h = o * name(dense(jnp.tanh(c), p.W_p) + shortcut, "preactivation")
        return LSTMCarry(h, c), h

    return Cell(H, init, zero_carry(LSTMCarry, h=H, c=H), project, step)
