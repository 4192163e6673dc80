"""Linear attention whose memory forgets at a rate of its own for each unit of the keys, set by the input."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_positive, check_size, dense, name, shown, split, zeros
from rnnjax.cells.heads import as_heads, as_units, head_size, outer, read
from rnnjax.cells.matrix_memory import MemoryParams
from rnnjax.initializers import Initializer, glorot_uniform, per_gate
from rnnjax.linear import advance

sigmoid, silu, log_sigmoid = jax.nn.sigmoid, jax.nn.silu, jax.nn.log_sigmoid


class GLAParams(NamedTuple):
    W: Array  # [I, 2K + H + R] to q, k, v and the gate's R numbers
    W_gate: Array  # [R, K]
    b_gate: Array  # [K]


@shown
def gated_linear_attention(
    hidden_size: int,
    *,
    num_heads: int = 1,
    key_size: int | None = None,
    gate_rank: int = 16,
    temperature: float = 16.0,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """Gated linear attention (GLA): linear attention that forgets, each unit of the keys at a rate the input sets.

        qₜ, kₜ, vₜ = W_q xₜ,  W_k xₜ,  W_v xₜ
        αₜ = σ(W_α W₁ xₜ + b_α)^(1/τ)                            α = 1 keeps; τ = temperature draws it towards 1
        Sₜ = Sₜ₋₁ Diag(αₜ) + vₜ kₜᵀ
        yₜ = Sₜ qₜ / √e

    for each of num_heads heads of d = H / num_heads values and e = key_size keys, by default half of d, rounded up.
    Linear in time: `unroll(..., method=Associative())`.
    Carry: S [*B, heads, d, e], values by keys. Output: yₜ [*B, H]. Packing: q, k, v, W₁. Parameters:
    I(2K + H + R) + K(R + 1), K = heads e, R = gate_rank.
    Init: W, W₁ and W_α glorot uniform each, b_α zero.
    Differs from the paper: 1/√e as in the authors' code, where a normalisation of each head's output follows, which is
    left out together with the output gate and projection after it; W has the variance of other matrices here, 32 times
    that of the authors'.
    Reference: Yang, Wang, Shen, Panda & Kim 2024, "Gated linear attention transformers with hardware-efficient
    training", arXiv:2312.06635, section 4.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads, a temperature not above 0.
    """
    H, d = hidden_size, head_size(hidden_size, num_heads)
    e = -(-d // 2) if key_size is None else key_size
    check_size(key_size=e, gate_rank=gate_rank)
    check_positive(temperature=temperature)
    K = num_heads * e

    def init(key: Array, input_size: int) -> GLAParams:
        key_qk, key_v, key_low_rank, key_gate = jax.random.split(key, 4)
        Ws = [per_gate(kernel_init, key_qk, input_size, K, 2)]
        Ws += [kernel_init(k, (input_size, size), jnp.float32) for k, size in ((key_v, H), (key_low_rank, gate_rank))]
        W_gate = kernel_init(key_gate, (gate_rank, K), jnp.float32)
        return GLAParams(jnp.concatenate(Ws, axis=-1), W_gate, jnp.zeros(K, jnp.float32))

    def initial_carry(params: GLAParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, num_heads, d, e)

    def project(p: GLAParams, x: Array) -> Array:
        qkv, low_rank = jnp.split(dense(x, p.W), [2 * K + H], axis=-1)
        return jnp.concatenate([qkv, dense(low_rank, p.W_gate) + p.b_gate], axis=-1)

    def step(p: GLAParams, S: Array, z: Array) -> tuple[Array, Array]:
        parts = jnp.split(name(z, "preactivation"), [K, 2 * K, 2 * K + H], axis=-1)
        q, k, v, z_alpha = (as_heads(part, num_heads) for part in parts)
        alpha = name(jnp.exp(log_sigmoid(z_alpha) / temperature), "forget_gate")
        S = advance(S, alpha[..., None, :], outer(v, k))
        return S, as_units(read(S, q / math.sqrt(e)))

    return Cell(H, init, initial_carry, project, step, linear=True)


@shown
def hgrn2(
    hidden_size: int,
    *,
    num_heads: int = 1,
    lower_bound: float = 0.0,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """HGRN2, the hierarchically gated recurrent network with an expanded state: what is forgotten makes room to write.

        iₜ = φ(W_i xₜ + b_i)                                     φ(a) = a σ(a)
        fₜ = γ + (1 − γ) σ(W_f xₜ + b_f)                         f = 1 keeps; γ = lower_bound
        oₜ = σ(W_o xₜ + b_o)
        Sₜ = Sₜ₋₁ Diag(fₜ) + iₜ (1 − fₜ)ᵀ
        yₜ = Sₜ oₜ

    for each of num_heads heads of d = H / num_heads units: linear attention with o, 1 − f and i in place of queries,
    keys and values. With as many heads as units, h = f ⊙ h + (1 − f) ⊙ i and y = o ⊙ h, as before the expansion.
    Linear in time: `unroll(..., method=Associative())`.
    Carry: S [*B, heads, d, d], the paper's transposed. Output: yₜ [*B, H]. Packing: i, f, o. Parameters: 3H(I + 1).
    Init: W glorot uniform each, b zero.
    Differs from the paper: γ is a number, 0 in the paper's first layer and learnt, larger from layer to layer, in those
    above; the normalisation and projection after y are left out. The authors' language models have no biases, the
    identity for i and SiLU for o.
    Reference: Qin et al. 2024, "HGRN2: gated linear RNNs with state expansion", arXiv:2404.07904, section 3; the
    functions φ and σ as in the authors' code.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads, a lower_bound outside [0, 1).
    """
    H, d = hidden_size, head_size(hidden_size, num_heads)
    if not 0 <= lower_bound < 1:
        raise ValueError(f"lower_bound must be at least 0 and below 1, got {lower_bound!r}")

    def init(key: Array, input_size: int) -> MemoryParams:
        return MemoryParams(per_gate(kernel_init, key, input_size, H, 3), jnp.zeros(3 * H, jnp.float32))

    def initial_carry(params: MemoryParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, num_heads, d, d)

    def step(p: MemoryParams, S: Array, z: Array) -> tuple[Array, Array]:
        z_i, z_f, z_o = (as_heads(part, num_heads) for part in split(name(z, "preactivation"), 3))
        f = name(lower_bound + (1 - lower_bound) * sigmoid(z_f), "forget_gate")
        S = advance(S, f[..., None, :], outer(silu(z_i), 1 - f))
        return S, as_units(read(S, name(sigmoid(z_o), "output_gate")))

    return Cell(H, init, initial_carry, affine, step, linear=True)
