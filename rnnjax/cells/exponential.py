"""Exponential gating: the scalar LSTM of xLSTM."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, recur, shown, split, zeros
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, glorot_uniform, per_gate


class SLSTMParams(NamedTuple):
    W: Array  # [I, 4*H]
    U: Array  # [K, H/K, 4*H/K], one matrix for each head
    b: Array  # [4*H]


class SLSTMCarry(NamedTuple):
    """All [*B, H]; c and n are held divided by exp(m)."""

    h: Array
    c: Array
    n: Array
    m: Array


@shown
def slstm(
    hidden_size: int,
    *,
    num_heads: int = 1,
    exponential_forget: bool = False,
    forget_bias: Bias | None = None,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = jax.nn.initializers.zeros,
) -> Cell:
    """sLSTM: gates that may exceed one, a normaliser, and a stabiliser that keeps both in range.

        z̃, ĩ, f̃, õ = W xₜ + U hₜ₋₁ + b
        mₜ = max(log fₜ + mₜ₋₁, ĩₜ)                              log f = log σ(f̃), or f̃ with `exponential_forget`
        i'ₜ = exp(ĩₜ − mₜ),   f'ₜ = exp(log fₜ + mₜ₋₁ − mₜ)      i writes, f = 1 keeps
        cₜ = f'ₜ ⊙ cₜ₋₁ + i'ₜ ⊙ tanh(z̃ₜ)
        nₜ = f'ₜ ⊙ nₜ₋₁ + i'ₜ
        hₜ = σ(õₜ) ⊙ cₜ / nₜ                                     o = 1 shows

    m drops out of c / n: it only keeps the exponentials in range, so h is that of i = exp(ĩ) and f unscaled. A unit
    sees the h of its own head only.
    Carry: SLSTMCarry(h, c, n, m), each [*B, H]; at first h = c = n = 0 and m = −∞, nothing written yet. Output: hₜ
    [*B, H]. Packing: i, f, z, o. Parameters: 4H(I + H/K + 1) with K heads.
    Init: W glorot uniform, U zero, b zero but b_f, which by default falls from 5 to −7 over the units of a head as
    5 − 12 u^0.3, u = 0..1.
    Differs from the paper: the causal convolution, normalisation and projections of its block are left out. U and b_f
    begin as in the authors' program, for the first block of a stack.
    Reference: Beck et al. 2024, arXiv:2405.04517, section 2.2 and appendix A; github.com/NX-AI/xlstm.

    Raises:
      ValueError: sizes below 1, or a number of heads that does not divide the hidden size.
    """
    H, K = hidden_size, num_heads
    check_size(hidden_size=H, num_heads=K)
    if forget_bias is not None:
        check_bias(forget_bias=forget_bias)
    if H % K:
        raise ValueError(f"num_heads={K} does not divide hidden_size {H}")

    def init(key: Array, input_size: int) -> SLSTMParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        if forget_bias is None:
            b_f = jnp.tile(5 - 12 * jnp.linspace(0.0, 1.0, H // K, dtype=jnp.float32) ** 0.3, K)
        else:
            b_f = init_bias(forget_bias, key_b, H)
        heads = [per_gate(recurrent_init, k, H // K, H // K, 4) for k in jax.random.split(key_U, K)]
        b = jnp.concatenate([jnp.zeros(H, jnp.float32), b_f, jnp.zeros(2 * H, jnp.float32)])
        return SLSTMParams(per_gate(kernel_init, key_W, input_size, H, 4), jnp.stack(heads), b)

    def initial_carry(params: SLSTMParams, batch_shape: tuple[int, ...] = ()) -> SLSTMCarry:
        nothing = zeros(params, *batch_shape, H)
        return SLSTMCarry(nothing, nothing, nothing, nothing - jnp.inf)

    def prepare(params: Any, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> Any:
        return params._replace(U=tuple(params.U))

    def step(p: SLSTMParams, carry: SLSTMCarry, z: Array) -> tuple[SLSTMCarry, Array]:
        h, c, n, m = carry
        heads = [split(recur(h_k, U_k), 4) for h_k, U_k in zip(split(h, K), p.U, strict=True)]
        u = jnp.concatenate([gate for gates in zip(*heads, strict=True) for gate in gates], axis=-1)
        z_i, z_f, z_z, z_o = split(name(z + u, "preactivation"), 4)
        log_f = m + (z_f if exponential_forget else jax.nn.log_sigmoid(z_f))
        m = jnp.maximum(log_f, z_i)
        i, f = name(jnp.exp(z_i - m), "input_gate"), name(jnp.exp(log_f - m), "forget_gate")
        c = f * c + i * jnp.tanh(z_z)
        n = f * n + i
        h = name(jax.nn.sigmoid(z_o), "output_gate") * c / n
        return SLSTMCarry(h, c, n, m), h

    return Cell(H, init, initial_carry, affine, step, prepare)
