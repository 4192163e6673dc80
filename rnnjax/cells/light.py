"""Gated cells with few parameters: one gate, or two scalars, on top of a simple recurrent network."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.initializers import (
    Bias,
    Initializer,
    bias as init_bias,
    check_bias,
    glorot_uniform,
    orthogonal,
    per_gate,
)

sigmoid = jax.nn.sigmoid
narrow = jax.nn.initializers.normal(0.1)
Matrix = Array | tuple[Array, Array]  # [N, H], or its factors [N, R] and [R, H]


class LightRUParams(NamedTuple):
    W: Array  # [I, 2*H]
    U: Array  # [H, H] into the gate
    b: Array  # [H] of the gate


@shown
def lightru(
    hidden_size: int,
    *,
    forget_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Light recurrent unit: one gate mixes the state with what is seen, and the candidate knows no past.

        nₜ = tanh(W_n xₜ)
        fₜ = σ(W_f xₜ + U_f hₜ₋₁ + b_f)                          f = 1 forgets, and writes
        hₜ = (1 − fₜ) ⊙ hₜ₋₁ + fₜ ⊙ nₜ

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: n, f. Parameters: 2HI + H² + H.
    Init: W glorot uniform, U orthogonal, b zero or as given.
    Differs from the paper: initial values are the usual ones of today; its stack of such cells is `stack`.
    Reference: Ye et al. 2024, "Light recurrent unit", Electronics 13(16), 3204, section 3.2.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> LightRUParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        W = per_gate(kernel_init, key_W, input_size, H, 2)
        return LightRUParams(W, recurrent_init(key_U, (H, H), jnp.float32), init_bias(forget_bias, key_b, H))

    def project(p: LightRUParams, x: Array) -> tuple[Array, Array]:
        z_n, z_f = split(dense(x, p.W), 2)
        return name(z_n, "preactivation"), z_f + p.b

    def step(p: LightRUParams, h: Array, z: Any) -> tuple[Array, Array]:
        z_n, z_f = z
        f = name(sigmoid(name(z_f + recur(h, p.U), "preactivation")), "forget_gate")
        h = (1 - f) * h + f * jnp.tanh(z_n)
        return h, h

    return Cell(H, init, zero_carry(H), project, step)


class FastRNNParams(NamedTuple):
    W: Matrix  # [I, H]
    U: Matrix  # [H, H]
    b: Array  # [H]
    alpha: Array  # [1]
    beta: Array  # [1]


class FastGRNNParams(NamedTuple):
    W: Matrix  # [I, H]
    U: Matrix  # [H, H]
    b_z: Array  # [H]
    b_h: Array  # [H]
    zeta: Array  # [1]
    nu: Array  # [1]


@shown
def fastrnn(
    hidden_size: int,
    *,
    alpha: float = -3.0,
    beta: float = 3.0,
    bias: Bias = 1.0,
    kernel_rank: int | None = None,
    recurrent_rank: int | None = None,
    kernel_init: Initializer = narrow,
    recurrent_init: Initializer = narrow,
) -> Cell:
    """FastRNN: a simple recurrent network with a weighted residual connection, two scalars in all.

        h̃ₜ = tanh(W xₜ + U hₜ₋₁ + b)
        hₜ = σ(α) h̃ₜ + σ(β) hₜ₋₁

    Ranks, where given, make W = W₁ W₂ and U = U₁ U₂ of that rank.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + H + 1) + 2; a factored W has R(I + H), U 2RH.
    Init: W and U, or their factors, N(0, 0.1²); b = 1; α = −3 and β = 3, so that σ(α) ≪ 1 and σ(β) = 1 − σ(α).
    Differs from the paper: it leaves out the sparsity of its matrices, which is a way of training; initial values are
    those of the authors' program.
    Reference: Kusupati et al. 2018, arXiv:1901.02358, section 3.1; github.com/microsoft/EdgeML.

    Raises:
      ValueError: a size or a rank below 1.
    """
    H = hidden_size
    _check(H, kernel_rank, recurrent_rank)
    check_bias(bias=bias)

    def init(key: Array, input_size: int) -> FastRNNParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        return FastRNNParams(
            W=_factors(kernel_init, key_W, input_size, H, kernel_rank),
            U=_factors(recurrent_init, key_U, H, H, recurrent_rank),
            b=init_bias(bias, key_b, H),
            alpha=jnp.full((1,), alpha, jnp.float32),
            beta=jnp.full((1,), beta, jnp.float32),
        )

    def step(p: Any, h: Array, z: Array) -> tuple[Array, Array]:
        candidate = jnp.tanh(name(z + recur(h, p.U), "preactivation"))
        h = sigmoid(p.alpha) * candidate + sigmoid(p.beta) * h
        return h, h

    return Cell(H, init, zero_carry(H), affine, step, _multiplied)


@shown
def fastgrnn(
    hidden_size: int,
    *,
    zeta: float = 1.0,
    nu: float = -4.0,
    update_bias: Bias = 1.0,
    cell_bias: Bias = 1.0,
    kernel_rank: int | None = None,
    recurrent_rank: int | None = None,
    kernel_init: Initializer = narrow,
    recurrent_init: Initializer = narrow,
) -> Cell:
    """FastGRNN: gate and candidate share their matrices and differ by a bias.

        zₜ = σ(W xₜ + U hₜ₋₁ + b_z)                              z = 1 keeps
        h̃ₜ = tanh(W xₜ + U hₜ₋₁ + b_h)
        hₜ = (σ(ζ) (1 − zₜ) + σ(ν)) ⊙ h̃ₜ + zₜ ⊙ hₜ₋₁

    Ranks, where given, make W = W₁ W₂ and U = U₁ U₂ of that rank.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + H + 2) + 2; a factored W has R(I + H), U 2RH.
    Init: W and U, or their factors, N(0, 0.1²); both biases 1; ζ = 1 and ν = −4.
    Differs from the paper: as `fastrnn`.
    Reference: Kusupati et al. 2018, arXiv:1901.02358, section 3.2; github.com/microsoft/EdgeML.

    Raises:
      ValueError: a size or a rank below 1.
    """
    H = hidden_size
    _check(H, kernel_rank, recurrent_rank)
    check_bias(update_bias=update_bias, cell_bias=cell_bias)

    def init(key: Array, input_size: int) -> FastGRNNParams:
        key_W, key_U, key_z, key_h = jax.random.split(key, 4)
        return FastGRNNParams(
            W=_factors(kernel_init, key_W, input_size, H, kernel_rank),
            U=_factors(recurrent_init, key_U, H, H, recurrent_rank),
            b_z=init_bias(update_bias, key_z, H),
            b_h=init_bias(cell_bias, key_h, H),
            zeta=jnp.full((1,), zeta, jnp.float32),
            nu=jnp.full((1,), nu, jnp.float32),
        )

    def project(p: Any, x: Array) -> Array:
        return dense(x, p.W)

    def step(p: Any, h: Array, z: Array) -> tuple[Array, Array]:
        a = name(z + recur(h, p.U), "preactivation")
        z = name(sigmoid(a + p.b_z), "update_gate")
        h = (sigmoid(p.zeta) * (1 - z) + sigmoid(p.nu)) * jnp.tanh(a + p.b_h) + z * h
        return h, h

    return Cell(H, init, zero_carry(H), project, step, _multiplied)


def _check(hidden_size: int, kernel_rank: int | None, recurrent_rank: int | None) -> None:
    ranks = {"kernel_rank": kernel_rank, "recurrent_rank": recurrent_rank}
    check_size(hidden_size=hidden_size, **{label: rank for label, rank in ranks.items() if rank is not None})


def _factors(init: Initializer, key: Array, rows: int, size: int, rank: int | None) -> Matrix:
    if rank is None:
        return init(key, (rows, size), jnp.float32)
    key_1, key_2 = jax.random.split(key)
    return init(key_1, (rows, rank), jnp.float32), init(key_2, (rank, size), jnp.float32)


def _multiplied(params, key: Array | None = None, input_shape: tuple[int, ...] = ()):
    """The matrices themselves, once per sequence."""
    del key, input_shape
    W, U = (m[0] @ m[1] if isinstance(m, tuple) else m for m in (params.W, params.U))
    return params._replace(W=W, U=U)
