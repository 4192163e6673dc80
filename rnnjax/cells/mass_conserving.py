"""Mass-conserving LSTM: what flows in is stored, moved between cells, and flows out; nothing is lost."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, zero_carry
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, identity, orthogonal

softmax = jax.nn.softmax


class MCLSTMParams(NamedTuple):
    """N is H for o and M*H for i, and H*H more for R where it depends on time."""

    W: Array  # [I - M, N] from the auxiliary inputs
    U: Array  # [H, N] from the shares of the cells
    b: Array  # [H + M*H]
    B: Array  # [H, H]


@shown
def mclstm(
    hidden_size: int,
    *,
    mass_size: int = 1,
    time_dependent: bool = False,
    output_bias: Bias = -3.0,
    kernel_init: Initializer = orthogonal,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Mass-conserving LSTM.

        aₜ = the auxiliary inputs, sₜ = cₜ₋₁ / ‖cₜ₋₁‖₁ the shares of the cells
        iₜ = softmax(W_i aₜ + U_i sₜ + b_i)                      how each mass input is divided among the cells
        oₜ = σ(W_o aₜ + U_o sₜ + b_o)                            o = 1 lets all flow out
        Rₜ = softmax(B), or softmax(W_r aₜ + U_r sₜ + B)         where the mass of each cell goes
        mₜ = Rₜ cₜ₋₁ + iₜ xₜ
        cₜ = (1 − oₜ) ⊙ mₜ,   hₜ = oₜ ⊙ mₜ

    The first `mass_size` (M) inputs are the masses x, at least 0; the others are auxiliary. The sum of what came in is
    that of what flowed out and what is left. `time_dependent=True` is the second form of R, with H² (I − M + H)
    parameters.
    Carry: c [*B, H]. Output: hₜ [*B, H]. Packing: o, i (mass by mass), R (cell by cell). Parameters:
    N(I − M + H) + H(1 + M) + H², N = H(1 + M), or H(1 + M + H) if time-dependent.
    Init: W and U orthogonal, B the identity, b_i zero, b_o = −3, so that cells begin by keeping.
    Differs from the paper: the sum of c is replaced by 1 where it is 0; initial values are those of the authors'
    program.
    Reference: Hoedt et al. 2021, arXiv:2101.05186, section 2; github.com/ml-jku/mc-lstm.

    Raises:
      ValueError: sizes below 1, or, at initialisation, fewer inputs than masses.
    """
    H, M = hidden_size, mass_size
    check_size(hidden_size=H, mass_size=M)
    check_bias(output_bias=output_bias)
    N = H * (1 + M + (H if time_dependent else 0))

    def init(key: Array, input_size: int) -> MCLSTMParams:
        if input_size < M:
            raise ValueError(f"mass_size={M} needs at least as many inputs, got input_size {input_size}")
        key_W, key_U, key_b, key_B = jax.random.split(key, 4)
        W = kernel_init(key_W, (input_size - M, N), jnp.float32) if input_size > M else jnp.zeros((0, N), jnp.float32)
        b = jnp.concatenate([init_bias(output_bias, key_b, H), jnp.zeros(M * H, jnp.float32)])
        U = recurrent_init(key_U, (H, N), jnp.float32)
        return MCLSTMParams(W, U, b, identity()(key_B, (H, H), jnp.float32))

    def prepare(params: MCLSTMParams, key: Array | None = None, input_shape: tuple[int, ...] = ()):
        """Masses get rows of zeros in W; all biases, those of R too, are joined; a constant R is computed."""
        W = jnp.concatenate([jnp.zeros((M, N), params.W.dtype), params.W])
        if time_dependent:
            return params._replace(W=W, b=jnp.concatenate([params.b, params.B.ravel()]))
        return params._replace(W=W, B=softmax(params.B))

    def project(p: MCLSTMParams, x: Array) -> tuple[Array, Array]:
        return dense(x, p.W) + p.b, x[..., :M]

    def step(p: MCLSTMParams, c: Array, z: Any) -> tuple[Array, Array]:
        z, x = z
        total = jnp.sum(jnp.abs(c), axis=-1, keepdims=True)
        z = name(z + recur(c / jnp.where(total == 0, 1.0, total), p.U), "preactivation")
        o, i, R = jnp.split(z, [H, H + M * H], axis=-1)
        o = name(jax.nn.sigmoid(o), "output_gate")
        i = name(softmax(i.reshape(*i.shape[:-1], M, H)), "input_gate")
        if time_dependent:
            kept = jnp.einsum("...j,...jk->...k", c, softmax(R.reshape(*R.shape[:-1], H, H)))
        else:
            kept = recur(c, p.B)
        m = kept + jnp.einsum("...m,...mk->...k", x, i)
        h = o * m
        return m - h, h

    return Cell(H, init, zero_carry(H), project, step, prepare)
