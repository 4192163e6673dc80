"""The selective state spaces of Mamba and Mamba-2: linear systems whose step, input and readout the input sets."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, shown, zeros
from rnnjax.cells.heads import as_heads, as_units, head_size, outer
from rnnjax.cells.state_space import check_range, step_biases
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


class SSDParams(NamedTuple):
    W: Array  # [I, H + 2N + heads] to x, B, C and the step
    b_step: Array  # [heads]
    log_decay: Array  # [heads] log of -A
    D: Array  # [heads]


@shown
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
    Linear in time: `unroll(method=Associative())`.
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
        return SelectiveParams(
            W=lecun_uniform(key_W, (H, R + 2 * N), jnp.float32),
            W_step=symmetric_uniform(1 / math.sqrt(R))(key_step, (R, H)),
            b_step=step_biases(key_bias, H, *step_range),
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


@shown
def ssd(
    hidden_size: int,
    *,
    num_heads: int = 1,
    state_size: int = 16,
    step_range: tuple[float, float] = (0.001, 0.1),
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """State space duality (SSD), the recurrent layer of Mamba-2: all of a head's state decays by one number a step.

        uₜ = W_u xₜ                                              [H], cut into heads of d = H / num_heads units
        Δₜ = softplus(W_Δ xₜ + b_Δ)                              [heads]: large lets the input in and the past go
        Bₜ = W_B xₜ,  Cₜ = W_C xₜ                                 [N], shared by all heads
        hₜ = exp(Δₜ A) hₜ₋₁ + Δₜ uₜ Bₜᵀ                           [d, N] for each head,  A = −exp(log_decay)
        yₜ = hₜ Cₜ + D uₜ

    Δ, A and D are one number for each head. Over time y is linear attention with the mask exp(A Σ Δ), the sum over the
    steps between: C, B and Δ u are its queries, keys and values.
    Linear in time: `unroll(..., method=Associative())`.
    Carry: h [*B, heads, d, N], N = state_size. Output: yₜ [*B, H]. Packing: u, B, C, Δ. Parameters:
    I(H + 2N + heads) + 3 heads.
    Init: −A uniform from 1 to 16; D one; b_Δ such that softplus(b_Δ) is log uniform in step_range; W glorot uniform
    each.
    Differs from the paper: the convolution over u, B and C with its SiLU, the gate, the normalisation and the
    projection after y in a Mamba-2 block are left out; N there is 64 to 256, for a thousand units and more.
    Reference: Dao & Gu 2024, "Transformers are SSMs: generalized models and efficient algorithms through structured
    state space duality", arXiv:2405.21060, sections 3 to 5 and 7; Δ and initial values as in the authors' code.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads, a step_range that is none.
    """
    H, N, d = hidden_size, state_size, head_size(hidden_size, num_heads)
    check_size(state_size=N)
    check_range("step_range", *step_range)
    widths = (H, N, N, num_heads)

    def init(key: Array, input_size: int) -> SSDParams:
        key_step, key_decay, *keys_W = jax.random.split(key, 2 + len(widths))
        Ws = [kernel_init(k, (input_size, width), jnp.float32) for k, width in zip(keys_W, widths, strict=True)]
        return SSDParams(
            W=jnp.concatenate(Ws, axis=-1),
            b_step=step_biases(key_step, num_heads, *step_range),
            log_decay=jnp.log(jax.random.uniform(key_decay, (num_heads,), jnp.float32, 1.0, 16.0)),
            D=jnp.ones(num_heads, jnp.float32),
        )

    def initial_carry(params: SSDParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, num_heads, d, N)

    def project(p: SSDParams, x: Array) -> Array:
        return dense(x, p.W)

    def step(p: SSDParams, h: Array, z: Array) -> tuple[Array, Array]:
        u, B, C, z_step = jnp.split(name(z, "preactivation"), [H, H + N, H + 2 * N], axis=-1)
        u = as_heads(u, num_heads)
        delta = name(jax.nn.softplus(z_step + p.b_step), "step_size")[..., None]
        decay = jnp.exp(-delta * jnp.exp(p.log_decay)[:, None])
        h = advance(h, decay[..., None], outer(delta * u, B[..., None, :]))
        y = jnp.einsum("...hdn,...n->...hd", h, C) + p.D[:, None] * u
        return h, as_units(y)

    return Cell(H, init, initial_carry, project, step, linear=True)
