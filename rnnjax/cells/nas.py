"""The cell found by neural architecture search."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.cells.lstm import LSTMCarry
from rnnjax.initializers import Initializer, glorot_uniform, per_gate

sigmoid, relu, tanh = jax.nn.sigmoid, jax.nn.relu, jnp.tanh


class NASParams(NamedTuple):
    W: Array  # [I, 8*H]
    U: Array  # [H, 8*H]


@shown
def nas(
    hidden_size: int, *, kernel_init: Initializer = glorot_uniform, recurrent_init: Initializer = glorot_uniform
) -> Cell:
    """The recurrent cell that a controller trained by reinforcement composed for language modelling.

        zₖ = W_k xₜ,   uₖ = U_k hₜ₋₁,   k = 0..7
        p = tanh(σ(z₀ + u₀) ⊙ relu(z₁ + u₁))
        q = tanh(σ(z₂ + u₂) + relu(z₃ ⊙ u₃))
        r = tanh(tanh(z₄ + u₄) ⊙ σ(z₅ + u₅))
        s = σ(tanh(z₆ + u₆) + σ(z₇ + u₇))
        cₜ = tanh(p + cₜ₋₁) ⊙ q
        hₜ = tanh(cₜ ⊙ tanh(r + s))

    Carry: LSTMCarry(h [*B, H], c [*B, H]). Output: hₜ [*B, H]. Packing: 0 to 7. Parameters: 8H(I + H), no biases.
    Init: W and U glorot uniform per branch.
    Differs from the paper: it draws the cell and gives no equations; these are the authors' as released (NASCell of
    tf.contrib.rnn, without its optional biases and projection), initial values included.
    Reference: Zoph & Le 2017, arXiv:1611.01578, figure 8 (appendix).
    """
    H = hidden_size
    check_size(hidden_size=H)

    def init(key: Array, input_size: int) -> NASParams:
        key_W, key_U = jax.random.split(key)
        return NASParams(per_gate(kernel_init, key_W, input_size, H, 8), per_gate(recurrent_init, key_U, H, H, 8))

    def project(p: NASParams, x: Array) -> Array:
        return name(dense(x, p.W), "preactivation")

    def step(params: NASParams, carry: LSTMCarry, z: Array) -> tuple[LSTMCarry, Array]:
        u = split(name(recur(carry.h, params.U), "preactivation"), 8)
        parts = zip(split(z, 8), u, strict=True)
        a = [zk * uk if k == 3 else zk + uk for k, (zk, uk) in enumerate(parts)]
        p = tanh(sigmoid(a[0]) * relu(a[1]))
        q = tanh(sigmoid(a[2]) + relu(a[3]))
        r = tanh(tanh(a[4]) * sigmoid(a[5]))
        s = sigmoid(tanh(a[6]) + sigmoid(a[7]))
        c = tanh(p + carry.c) * q
        h = tanh(c * tanh(r + s))
        return LSTMCarry(h, c), h

    return Cell(H, init, zero_carry(LSTMCarry, h=H, c=H), project, step)
