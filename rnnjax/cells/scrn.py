"""A simple recurrent network with slow units beside the fast ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, zero_carry
from rnnjax.initializers import Initializer, glorot_uniform, orthogonal


class SCRNParams(NamedTuple):
    A: Array  # [I, H]
    B: Array  # [I, S]
    P: Array  # [S, H]
    R: Array  # [H, H]


class SCRNCarry(NamedTuple):
    h: Array  # [*B, H]
    s: Array  # [*B, S]


@shown
def scrn(
    hidden_size: int,
    *,
    context_size: int | None = None,
    alpha: float = 0.95,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Structurally constrained recurrent network: context units that change slowly, beside hidden units that do not.

        sₜ = (1 − α) B xₜ + α sₜ₋₁
        hₜ = σ(P sₜ + A xₜ + R hₜ₋₁)
        yₜ = [hₜ; sₜ]

    Carry: SCRNCarry(h [*B, H], s [*B, S]), S = context_size, half of H if not given. Output: [hₜ; sₜ] [*B, H + S], so
    that a linear readout is the paper's U hₜ + V sₜ. Parameters: H(I + H + S) + IS, no biases.
    Init: A, B and P glorot uniform, R orthogonal.
    Differs from the paper: nothing in the equations. The code published with it lets h see the context of the step
    before, P sₜ₋₁. α is fixed, as in most of the paper.
    Reference: Mikolov, Joulin, Chopra, Mathieu & Ranzato 2015, "Learning longer memory in recurrent neural networks",
    arXiv:1412.7753.

    Raises:
      ValueError: alpha outside [0, 1), or a size below 1.
    """
    H = hidden_size
    check_size(hidden_size=H)
    S = max(1, H // 2) if context_size is None else context_size
    check_size(context_size=S)
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha, the share of the context that stays, must lie in [0, 1), got {alpha}")

    def init(key: Array, input_size: int) -> SCRNParams:
        key_A, key_B, key_P, key_R = jax.random.split(key, 4)
        return SCRNParams(
            A=kernel_init(key_A, (input_size, H), jnp.float32),
            B=kernel_init(key_B, (input_size, S), jnp.float32),
            P=kernel_init(key_P, (S, H), jnp.float32),
            R=recurrent_init(key_R, (H, H), jnp.float32),
        )

    def project(p: SCRNParams, x: Array) -> tuple[Array, Array]:
        return dense(x, p.A), dense(x, p.B)

    def step(p: SCRNParams, carry: SCRNCarry, z: Any) -> tuple[SCRNCarry, Array]:
        h, s = carry
        z_h, z_s = z
        s = name((1 - alpha) * z_s + alpha * s, "preactivation")
        h = jax.nn.sigmoid(name(recur(s, p.P) + z_h + recur(h, p.R), "preactivation"))
        return SCRNCarry(h, s), jnp.concatenate([h, s], axis=-1)

    return Cell(H + S, init, zero_carry(SCRNCarry, h=H, s=S), project, step)
