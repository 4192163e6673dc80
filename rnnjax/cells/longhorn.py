"""Longhorn: the state space model that solves a least squares problem at each step."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, shown, zeros
from rnnjax.cells.heads import inner
from rnnjax.initializers import Initializer, glorot_uniform, symmetric_uniform
from rnnjax.linear import advance

lecun_uniform: Initializer = jax.nn.initializers.lecun_uniform()


class LonghornParams(NamedTuple):
    W: Array  # [H, R + 2N] to the rate's R numbers, k and q
    W_rate: Array  # [R, H]
    b_rate: Array  # [H]
    D: Array  # [H]
    P: Array | None = None  # [I, H], where I is not H


@shown
def longhorn(hidden_size: int, *, state_size: int = 16, rate_rank: int | None = None) -> Cell:
    """Longhorn: a state space model that learns online to give each value back for its key. No forget gate.

        βₜ = σ(W_β W₁ xₜ + b_β)                                  [H]: large trusts the input more than the past
        kₜ = W_k xₜ,  qₜ = W_q xₜ                                 [N], shared by all channels
        εₜ = βₜ / (1 + βₜ kₜ·kₜ)
        Sₜ = (1 − εₜ (kₜ ⊙ kₜ)ᵀ) ⊙ Sₜ₋₁ + (εₜ ⊙ xₜ) kₜᵀ            [H, N]
        yₜ = Sₜ qₜ + D ⊙ xₜ

    Channel by channel, s′ = s − ε k (k·s − x) has the least ‖s′ − s‖² + β (k·s′ − x)²; of k kᵀ in it only the diagonal
    is kept. x has to be of size H; where I is not H, P xₜ stands in its place, P [I, H] learnt.
    Linear in time: `unroll(..., method=Associative())`.
    Carry: S [*B, H, N], N = state_size. Output: yₜ [*B, H]. Packing: W₁, W_k, W_q. Parameters: H(2R + 2N + 2),
    R = rate_rank, by default H / 16 rounded up; and HI for P where I is not H.
    Init: D one; W_β and b_β uniform within ±1/√R; W uniform with variance 1 / H; P glorot uniform.
    Differs from the paper: W has the variance of other matrices here, 3 times that of PyTorch's default; the
    convolution, gate and projections around the layer in a block are left out.
    Reference: Liu, Wang, Wu, Feng, Stone & Liu 2024, "Longhorn: state space models are amortized online learners",
    arXiv:2407.14207, section 3; the low rank of β and D as in the authors' code.

    Raises:
      ValueError: sizes below 1.
    """
    H, N = hidden_size, state_size
    check_size(hidden_size=H)
    R = -(-H // 16) if rate_rank is None else rate_rank
    check_size(state_size=N, rate_rank=R)

    def init(key: Array, input_size: int) -> LonghornParams:
        key_W, key_rate, key_bias, key_P = jax.random.split(key, 4)
        uniform = symmetric_uniform(1 / math.sqrt(R))
        return LonghornParams(
            W=lecun_uniform(key_W, (H, R + 2 * N), jnp.float32),
            W_rate=uniform(key_rate, (R, H)),
            b_rate=uniform(key_bias, (H,)),
            D=jnp.ones(H, jnp.float32),
            P=None if input_size == H else glorot_uniform(key_P, (input_size, H), jnp.float32),
        )

    def initial_carry(params: LonghornParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, H, N)

    def project(p: LonghornParams, x: Array) -> tuple[Array, ...]:
        x = x if p.P is None else dense(x, p.P)
        low_rank, k, q = jnp.split(dense(x, p.W), [R, R + N], axis=-1)
        return x, dense(low_rank, p.W_rate) + p.b_rate, k, q

    def step(p: LonghornParams, S: Array, z: tuple[Array, ...]) -> tuple[Array, Array]:
        x, z_beta, k, q = (name(part, "preactivation") for part in z)
        beta = name(jax.nn.sigmoid(z_beta), "input_gate")
        rate = (beta / (1 + beta * inner(k, k)[..., None]))[..., None]
        k = k[..., None, :]
        S = advance(S, 1 - rate * k**2, rate * x[..., None] * k)
        return S, jnp.sum(S * q[..., None, :], axis=-1) + p.D * x

    return Cell(H, init, initial_carry, project, step, linear=True)
