"""Networks whose units see nothing of the past but their own."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, shown, split, zero_carry
from rnnjax.cells.lstm import LSTMCarry
from rnnjax.initializers import (
    Bias,
    Initializer,
    Uniform,
    bias as init_bias,
    check_bias,
    glorot_uniform,
    per_gate,
)

sigmoid = jax.nn.sigmoid
kernel = jax.nn.initializers.variance_scaling(2 / 65, "fan_in", "uniform")


class IndRNNParams(NamedTuple):
    W: Array  # [I, H]
    u: Array  # [H]
    b: Array  # [H]


class ParaGRUParams(NamedTuple):
    W: Array  # [I, 3H]
    u: Array  # [3H]
    b: Array  # [3H]


class ParaLSTMParams(NamedTuple):
    W: Array  # [I, 3H]
    u: Array  # [3H]
    b: Array  # [3H]
    w: Array  # [2H] of the peepholes to f and o


@shown
def indrnn(
    hidden_size: int,
    *,
    recurrent: Bias | None = None,
    t_max: float | None = None,
    max_gain: float = 2.0,
    activation: Callable[[Array], Array] = jax.nn.relu,
    bias: Bias = 0.0,
    kernel_init: Initializer = kernel,
) -> Cell:
    """Independently recurrent network: a unit's past reaches it alone, through one number.

        hₜ = max(0, W xₜ + u ⊙ hₜ₋₁ + b)

    The gradient across T steps is at most |u|ᵀ. With `t_max`, the longest sequence T, u is kept within
    |u| <= max_gain^(1/T), so that this is at most `max_gain`; from one layer to the next units meet in W (`stack`).
    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + 2).
    Init: W uniform with the variance 2 / (65 I), u ~ U[0, 1], with `t_max` U[0, max_gain^(1/T)], b zero. For the last
    layer, where a long memory is wanted, the paper draws u near 1: `recurrent=Uniform(0.5 ** (1 / T), 2 ** (1 / T))`.
    Differs from the paper: it cuts u to the bound after every update; here u is cut once per sequence and the gradient
    passes as if it were not, so that u finds its way back.
    Reference: Li et al. 2018, arXiv:1803.04831; initial values as in the authors' code.

    Raises:
      ValueError: t_max below 1 step, or a gain that is not above 0.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)
    if recurrent is not None:
        check_bias(recurrent=recurrent)
    if not max_gain > 0:
        raise ValueError(f"max_gain, the largest factor over t_max steps, must be above 0, got {max_gain}")
    if t_max is not None and not t_max >= 1:
        raise ValueError(f"t_max, the longest sequence, must be at least 1 step, got {t_max}")
    bound = None if t_max is None else max_gain ** (1 / t_max)
    first = Uniform(0.0, 1.0 if bound is None else bound) if recurrent is None else recurrent

    def init(key: Array, input_size: int) -> IndRNNParams:
        key_W, key_u, key_b = jax.random.split(key, 3)
        W = kernel_init(key_W, (input_size, H), jnp.float32)
        return IndRNNParams(W, init_bias(first, key_u, H), init_bias(bias, key_b, H))

    def prepare(params: IndRNNParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> IndRNNParams:
        if bound is None:
            return params
        excess = jax.lax.stop_gradient(params.u - jnp.clip(params.u, -bound, bound))
        return params._replace(u=params.u - excess)

    def step(p: IndRNNParams, h: Array, z: Array) -> tuple[Array, Array]:
        h = activation(name(z + p.u * h, "preactivation"))
        return h, h

    return Cell(H, init, zero_carry(H), affine, step, prepare)


@shown
def para_gru(hidden_size: int, *, keep_bias: Bias | None = None, kernel_init: Initializer = glorot_uniform) -> Cell:
    """GRU with diagonal recurrent matrices, of ParaRNN: each unit is a gated unit on its own.

        rₜ = σ(W_r xₜ + u_r ⊙ hₜ₋₁ + b_r)                        r = 1 lets the past into the candidate
        zₜ = σ(W_z xₜ + u_z ⊙ hₜ₋₁ + b_z)                        z = 1 writes
        nₜ = tanh(W_n xₜ + u_n ⊙ (rₜ ⊙ hₜ₋₁) + b_n)
        hₜ = (1 − zₜ) ⊙ hₜ₋₁ + zₜ ⊙ nₜ

    The Jacobian of a step is diagonal, which makes a step of Newton's method over a whole sequence cheap; that is what
    the cell is for. From one layer to the next units meet in W (`stack`).
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: r, z, n. Parameters: 3H(I + 2).
    Init: W glorot uniform per gate, u normal with variance 4 / (5H), b zero but for b_z, which falls evenly from 0 to
    -1 from the first unit to the last; with `keep_bias`, a number or `Chrono(t_max)`, b_z = −keep_bias.
    Differs from the paper: W is one matrix over the whole input, where its models have a block for each of several
    heads.
    Reference: Danieli, Rodríguez, Sarabia, Suau & Zappella 2025, "ParaRNN: unlocking parallel training of nonlinear
    RNNs for large language models", arXiv:2510.21450; equations and initial values as in the authors' code.
    """
    H = hidden_size
    check_size(hidden_size=H)
    if keep_bias is not None:
        check_bias(keep_bias=keep_bias)

    def init(key: Array, input_size: int) -> ParaGRUParams:
        key_W, key_u, key_b = jax.random.split(key, 3)
        b_z = jnp.linspace(0.0, -1.0, H) if keep_bias is None else -init_bias(keep_bias, key_b, H)
        return ParaGRUParams(
            W=per_gate(kernel_init, key_W, input_size, H, 3),
            u=_diagonals(key_u, H, 3),
            b=jnp.concatenate([jnp.zeros(H), b_z, jnp.zeros(H)]).astype(jnp.float32),
        )

    def step(p: ParaGRUParams, h: Array, z: Array) -> tuple[Array, Array]:
        x_r, x_z, x_n = split(z, 3)
        u_r, u_z, u_n = split(p.u, 3)
        r = name(sigmoid(name(x_r + u_r * h, "preactivation")), "reset_gate")
        z = name(sigmoid(name(x_z + u_z * h, "preactivation")), "update_gate")
        n = jnp.tanh(name(x_n + u_n * (r * h), "preactivation"))
        h = (1 - z) * h + z * n
        return h, h

    return Cell(H, init, zero_carry(H), affine, step)


@shown
def para_lstm(hidden_size: int, *, forget_bias: Bias | None = None, kernel_init: Initializer = glorot_uniform) -> Cell:
    """LSTM with diagonal recurrent matrices, of ParaRNN: peepholes, and an input gate coupled to the forget gate.

        fₜ = σ(W_f xₜ + u_f ⊙ hₜ₋₁ + w_f ⊙ cₜ₋₁ + b_f)           f = 1 keeps
        gₜ = tanh(W_g xₜ + u_g ⊙ hₜ₋₁ + b_g)
        cₜ = fₜ ⊙ cₜ₋₁ + (1 − fₜ) ⊙ gₜ
        oₜ = σ(W_o xₜ + u_o ⊙ hₜ₋₁ + w_o ⊙ cₜ + b_o)             o = 1 shows
        hₜ = oₜ ⊙ tanh(cₜ)

    The Jacobian of a step is a 2 by 2 block for each unit; see `para_gru`.
    Carry: LSTMCarry(h [*B, H], c [*B, H]). Output: hₜ [*B, H]. Packing: f, g, o in W, u and b; f, o in w.
    Parameters: H(3I + 8).
    Init: W glorot uniform per gate, u and w normal with variance 4 / (5H), b zero but for b_f, which falls evenly from
    0 to -1 from the first unit to the last, or is `forget_bias`.
    Differs from the paper: as `para_gru`.
    Reference: Danieli, Rodríguez, Sarabia, Suau & Zappella 2025, "ParaRNN: unlocking parallel training of nonlinear
    RNNs for large language models", arXiv:2510.21450; equations and initial values as in the authors' code.
    """
    H = hidden_size
    check_size(hidden_size=H)
    if forget_bias is not None:
        check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> ParaLSTMParams:
        key_W, key_u, key_w, key_b = jax.random.split(key, 4)
        b_f = jnp.linspace(0.0, -1.0, H) if forget_bias is None else init_bias(forget_bias, key_b, H)
        return ParaLSTMParams(
            W=per_gate(kernel_init, key_W, input_size, H, 3),
            u=_diagonals(key_u, H, 3),
            b=jnp.concatenate([b_f, jnp.zeros(2 * H)]).astype(jnp.float32),
            w=_diagonals(key_w, H, 2),
        )

    def step(p: ParaLSTMParams, carry: LSTMCarry, z: Array) -> tuple[LSTMCarry, Array]:
        h, c = carry.h, carry.c
        z_f, z_g, z_o = split(name(z + p.u * jnp.tile(h, 3), "preactivation"), 3)
        w_f, w_o = split(p.w, 2)
        f = name(sigmoid(z_f + w_f * c), "forget_gate")
        c = f * c + (1 - f) * jnp.tanh(z_g)
        o = name(sigmoid(z_o + w_o * c), "output_gate")
        h = o * jnp.tanh(c)
        return LSTMCarry(h, c), h

    return Cell(H, init, zero_carry(LSTMCarry, H, H), affine, step)


def _diagonals(key: Array, hidden_size: int, number: int) -> Array:
    """The diagonals of some recurrent matrices, [number * H], with variance 4 / (5H)."""
    return (0.8 / hidden_size) ** 0.5 * jax.random.normal(key, (number * hidden_size,), jnp.float32)
