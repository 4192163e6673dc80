"""The selective state space model of Mamba: a diagonal linear system whose step, input and readout the input sets."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, zeros
from rnnjax.cells.state_space import check_range, log_steps
from rnnjax.initializers import Initializer, glorot_uniform, symmetric_uniform
from rnnjax.linear import advance

lecun_uniform: Initializer = jax.nn.initializers.lecun_uniform()


class SelectiveParams(NamedTuple):
    W: Array  # [H, R + 2N] to the step's R numbers, B and C
    W_step: Array  # [R, H]
    b_step: Array  # [H]
    log_decay: Array  # [H, N] log of -A
    D: Array  # [H]
    P: Array | None = None  # [I, H], where I is not H


def selective_ssm(
    hidden_size: int,
    *,
    state_size: int = 16,
    step_rank: int | None = None,
    step_range: tuple[float, float] = (0.001, 0.1),
    least: float = 0.0,
) -> Cell:
    """Selective state space model (S6), the recurrent layer of Mamba.

        Δₜ = softplus(W_Δ W₁ xₜ + b_Δ)                           [H]: large lets the input in and the past go
        Bₜ = W_B xₜ,  Cₜ = W_C xₜ                                 [N], shared by all channels
        hₜ = exp(Δₜ A) ⊙ hₜ₋₁ + Δₜ Bₜ xₜ                          [H, N],  A = −exp(log_decay)
        yₜ = hₜ Cₜ + D ⊙ xₜ

    With `least`, the least factor a state can meet, m + (1 − m) exp(Δₜ A) stands for exp(Δₜ A), m = least: from
    m = −1 on a state can be turned round, and parity be tracked (Grazzi et al. 2025, arXiv:2411.12537).
    x has to be of size H; where I is not H, P xₜ stands in its place, P [I, H] learnt.
    Linear in time: `unroll(method="associative")`.
    Carry: h [*B, H, N], N = state_size. Output: yₜ [*B, H]. Packing: W₁, W_B, W_C. Parameters: H(2R + 3N + 2),
    R = step_rank, by default H / 16 rounded up; and HI for P where I is not H.
    Init: A_n = −n, n = 1..N; D one; W_Δ uniform within ±1/√R; b_Δ such that softplus(b_Δ) is log uniform in step_range;
    W uniform with variance 1 / H; P glorot uniform.
    Differs from the paper: B is sampled as Δ B, as in the authors' code, not exactly; W has the variance of other
    matrices here, 3 times that of PyTorch's default; the convolution, gate and projections around the layer in a Mamba
    block are left out.
    Reference: Gu & Dao 2023, "Mamba: linear-time sequence modeling with selective state spaces", arXiv:2312.00752,
    section 3.2, algorithm 2, and section 3.6.

    Raises:
      ValueError: sizes below 1, a step_range that is none, a least factor outside [-1, 1).
    """
    H, N = hidden_size, state_size
    check_size(hidden_size=H)
    R = -(-H // 16) if step_rank is None else step_rank
    check_size(state_size=N, step_rank=R)
    check_range("step_range", *step_range)
    if not -1 <= least < 1:
        raise ValueError(f"least, the least factor of a state, must be at least -1 and below 1, got {least}")

    def init(key: Array, input_size: int) -> SelectiveParams:
        key_W, key_step, key_bias, key_P = jax.random.split(key, 4)
        steps = jnp.exp(log_steps(key_bias, H, *step_range))
        return SelectiveParams(
            W=lecun_uniform(key_W, (H, R + 2 * N), jnp.float32),
            W_step=symmetric_uniform(1 / math.sqrt(R))(key_step, (R, H)),
            b_step=steps + jnp.log(-jnp.expm1(-steps)),
            log_decay=jnp.tile(jnp.log(jnp.arange(1.0, N + 1, dtype=jnp.float32)), (H, 1)),
            D=jnp.ones(H, jnp.float32),
            P=None if input_size == H else glorot_uniform(key_P, (input_size, H), jnp.float32),
        )

    def initial_carry(params: SelectiveParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, H, N)

    def project(p: SelectiveParams, x: Array) -> tuple[Array, ...]:
        x = x if p.P is None else dense(x, p.P)
        low_rank, B, C = jnp.split(dense(x, p.W), [R, R + N], axis=-1)
        return x, dense(low_rank, p.W_step) + p.b_step, B, C

    def step(p: SelectiveParams, h: Array, z: tuple[Array, ...]) -> tuple[Array, Array]:
        x, z_step, B, C = (name(part, "preactivation") for part in z)
        delta = name(jax.nn.softplus(z_step), "step_size")[..., None]
        kept = least + (1 - least) * jnp.exp(-delta * jnp.exp(p.log_decay))
        h = advance(h, kept, delta * B[..., None, :] * x[..., None])
        y = jnp.sum(h * C[..., None, :], axis=-1) + p.D * x
        return h, y

    return Cell(H, init, initial_carry, project, step, linear=True)
