"""Matrix memories: keys and values written as outer products, read by a query. Fast weights, in an older word."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, shown, zeros
from rnnjax.initializers import Initializer, glorot_uniform, per_gate
from rnnjax.linear import advance, advance_max, delayed

sigmoid, log_sigmoid = jax.nn.sigmoid, jax.nn.log_sigmoid


class MemoryParams(NamedTuple):
    W: Array  # [I, N]
    b: Array  # [N]


class MemoryCarry(NamedTuple):
    S: Array  # [*B, heads, d, d], values by keys
    n: Array  # [*B, heads, d], the sum of the keys


class MLSTMCarry(NamedTuple):
    C: Array  # [*B, heads, d, d], values by keys
    n: Array  # [*B, heads, d]
    m: Array  # [*B, heads]


def _head_size(hidden_size: int, num_heads: int) -> int:
    check_size(hidden_size=hidden_size, num_heads=num_heads)
    if hidden_size % num_heads:
        raise ValueError(f"hidden_size must be a multiple of num_heads = {num_heads}, got {hidden_size}")
    return hidden_size // num_heads


def _heads(z: Array, num_heads: int) -> Array:
    """[*B, heads * d] as [*B, heads, d]."""
    return z.reshape(*z.shape[:-1], num_heads, -1)


def _flat(y: Array) -> Array:
    """[*B, heads, d] as [*B, heads * d]."""
    return y.reshape(*y.shape[:-2], -1)


def _outer(v: Array, k: Array) -> Array:
    """v kᵀ [..., d, d]."""
    return v[..., :, None] * k[..., None, :]


def _read(S: Array, q: Array) -> Array:
    """S q, head by head."""
    return jnp.einsum("...ij,...j->...i", S, q)


def _inner(k: Array, q: Array) -> Array:
    return jnp.sum(k * q, axis=-1)


@shown
def linear_attention(hidden_size: int, *, num_heads: int = 1, kernel_init: Initializer = glorot_uniform) -> Cell:
    """Linear attention: causal attention with a kernel in place of the softmax, which makes it a recurrent network.

        qₜ, kₜ, vₜ = W_q xₜ + b_q,  W_k xₜ + b_k,  W_v xₜ + b_v
        Sₜ = Sₜ₋₁ + vₜ φ(kₜ)ᵀ
        nₜ = nₜ₋₁ + φ(kₜ)                                        φ(a) = elu(a) + 1
        yₜ = Sₜ φ(qₜ) / (nₜ · φ(qₜ))

    for each of num_heads heads of d = H / num_heads units. Nothing is forgotten.
    Linear in time: `unroll(method=Associative())`.
    Carry: MemoryCarry(S [*B, heads, d, d], n [*B, heads, d]). Output: yₜ [*B, H]. Packing: q, k, v. Parameters:
    3H(I + 1).
    Init: W glorot uniform each, b zero.
    Differs from the paper: the projection of the outputs is left to what stands around the cell.
    Reference: Katharopoulos, Vyas, Pappas & Fleuret 2020, "Transformers are RNNs: fast autoregressive transformers with
    linear attention", arXiv:2006.16236, sections 3.2 to 3.4, equations 7 and 16 to 20.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads.
    """
    H, d = hidden_size, _head_size(hidden_size, num_heads)

    def init(key: Array, input_size: int) -> MemoryParams:
        W = per_gate(kernel_init, key, input_size, H, 3)
        return MemoryParams(W, jnp.zeros(3 * H, jnp.float32))

    def initial_carry(params: MemoryParams, batch_shape: tuple[int, ...] = ()) -> MemoryCarry:
        shape = (*batch_shape, num_heads, d)
        return MemoryCarry(zeros(params, *shape, d), zeros(params, *shape))

    def step(p: MemoryParams, carry: MemoryCarry, z: Array) -> tuple[MemoryCarry, Array]:
        q, k, v = (_heads(part, num_heads) for part in jnp.split(name(z, "preactivation"), 3, axis=-1))
        q, k = jax.nn.elu(q) + 1, jax.nn.elu(k) + 1
        one = jnp.ones((), z.dtype)
        S = advance(carry.S, one, _outer(v, k))
        n = advance(carry.n, one, k)
        y = _read(S, q) / _inner(n, q)[..., None]
        return MemoryCarry(S, n), _flat(y)

    return Cell(H, init, initial_carry, affine, step, linear=True)


@shown
def delta_net(hidden_size: int, *, num_heads: int = 1, kernel_init: Initializer = glorot_uniform) -> Cell:
    """DeltaNet: a matrix memory that first takes out what it holds under a key, then writes.

        q̃ₜ, k̃ₜ, vₜ = W_q xₜ + b_q,  W_k xₜ + b_k,  W_v xₜ + b_v;   βₜ = σ(w_β xₜ + b_β)
        qₜ = φ(q̃ₜ) / ‖φ(q̃ₜ)‖,  kₜ = φ(k̃ₜ) / ‖φ(k̃ₜ)‖            φ(a) = a σ(a)
        Sₜ = Sₜ₋₁ + βₜ (vₜ − Sₜ₋₁ kₜ) kₜᵀ                         β = 1 replaces what k holds
        yₜ = Sₜ qₜ

    for each of num_heads heads of d = H / num_heads units, β one number for each. S is linear in itself, but through
    the matrices I − β k kᵀ, one for each step: step by step only here.
    Carry: S [*B, heads, d, d]. Output: yₜ [*B, H]. Packing: q, k, v, β. Parameters: (3H + heads)(I + 1).
    Init: W glorot uniform each, b zero.
    Differs from the papers: φ and its norm are those of Yang et al. (Schlag et al.: other features, scaled to a sum of
    1), without their short convolutions and normalised outputs; norms are kept above 1e-6.
    References: Schlag, Irie & Schmidhuber 2021, "Linear transformers are secretly fast weight programmers",
    arXiv:2102.11174, section 4.2; Yang, Wang, Zhang, Shen & Kim 2024, "Parallelizing linear transformers with the delta
    rule over sequence length", arXiv:2406.06484, sections 2.2 and 3.3.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads.
    """
    H, d = hidden_size, _head_size(hidden_size, num_heads)

    def init(key: Array, input_size: int) -> MemoryParams:
        key_W, key_beta = jax.random.split(key)
        W = per_gate(kernel_init, key_W, input_size, H, 3)
        W_beta = kernel_init(key_beta, (input_size, num_heads), jnp.float32)
        return MemoryParams(jnp.concatenate([W, W_beta], axis=-1), jnp.zeros(3 * H + num_heads, jnp.float32))

    def initial_carry(params: MemoryParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, num_heads, d, d)

    def unit(a: Array) -> Array:
        a = jax.nn.silu(a)
        return a * jax.lax.rsqrt(jnp.maximum(_inner(a, a), 1e-12))[..., None]

    def step(p: MemoryParams, S: Array, z: Array) -> tuple[Array, Array]:
        *qkv, z_beta = jnp.split(name(z, "preactivation"), [H, 2 * H, 3 * H], axis=-1)
        q, k, v = (_heads(part, num_heads) for part in qkv)
        q, k = unit(q), unit(k)
        beta = name(sigmoid(z_beta), "input_gate")[..., None]
        S = S + _outer(beta * (v - _read(S, k)), k)
        return S, _flat(_read(S, q))

    return Cell(H, init, initial_carry, affine, step)


@shown
def mlstm(
    hidden_size: int,
    *,
    num_heads: int = 1,
    exponential_forget: bool = False,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """mLSTM of xLSTM: a matrix memory with an exponential input gate and a forget gate.

        qₜ, vₜ = W_q xₜ + b_q,  W_v xₜ + b_v;   kₜ = (W_k xₜ + b_k) / √d
        iₜ = exp(ĩₜ),  ĩₜ = w_i xₜ + b_i                          i writes, as strongly as it likes
        fₜ = σ(f̃ₜ),  f̃ₜ = w_f xₜ + b_f                           f = 1 keeps; or exp(f̃ₜ), with exponential_forget
        oₜ = σ(W_o xₜ + b_o)                                      o = 1 shows
        mₜ = max(ln fₜ + mₜ₋₁, ĩₜ)                                the stabiliser
        i′ₜ = exp(ĩₜ − mₜ),  f′ₜ = exp(ln fₜ + mₜ₋₁ − mₜ)
        Cₜ = f′ₜ Cₜ₋₁ + i′ₜ vₜ kₜᵀ
        nₜ = f′ₜ nₜ₋₁ + i′ₜ kₜ
        hₜ = oₜ ⊙ Cₜ qₜ / max(|nₜ · qₜ|, exp(−mₜ))

    for each of num_heads heads of d = H / num_heads units; i and f are one number for each. C and n stand for exp(mₜ)
    times themselves; h does not depend on m.
    Linear in time: m where max adds and + multiplies, C and n given m: `unroll(method=Associative())`.
    Carry: MLSTMCarry(C [*B, heads, d, d], n [*B, heads, d], m [*B, heads]). Output: hₜ [*B, H]. Packing: q, k, v, o, i,
    f. Parameters: (4H + 2 heads)(I + 1).
    Init: W_q, W_k, W_v, W_o glorot uniform each; w_i and w_f zero, b_i normal with standard deviation 0.1, b_f from 3
    to 6 over the heads, other biases zero.
    Differs from the paper: b_k is scaled by √d too, as in the authors' code, whose initial gates these are; the
    normalisation of each head's output and the block around the cell are left out.
    Reference: Beck et al. 2024, "xLSTM: extended long short-term memory", arXiv:2405.04517, section 2.3, equations 19
    to 27, with the stabiliser of equations 15 to 17.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads.
    """
    H, d = hidden_size, _head_size(hidden_size, num_heads)

    def init(key: Array, input_size: int) -> MemoryParams:
        key_W, key_i = jax.random.split(key)
        W = per_gate(kernel_init, key_W, input_size, H, 4)
        b_i = 0.1 * jax.random.normal(key_i, (num_heads,), jnp.float32)
        b_f = jnp.linspace(3.0, 6.0, num_heads, dtype=jnp.float32)
        return MemoryParams(
            W=jnp.concatenate([W, jnp.zeros((input_size, 2 * num_heads), jnp.float32)], axis=-1),
            b=jnp.concatenate([jnp.zeros(4 * H, jnp.float32), b_i, b_f]),
        )

    def initial_carry(params: MemoryParams, batch_shape: tuple[int, ...] = ()) -> MLSTMCarry:
        shape = (*batch_shape, num_heads, d)
        return MLSTMCarry(zeros(params, *shape, d), zeros(params, *shape), zeros(params, *shape[:-1]))

    def step(p: MemoryParams, carry: MLSTMCarry, z: Array) -> tuple[MLSTMCarry, Array]:
        gates_at = 4 * H + num_heads
        q, k, v, z_o, z_i, z_f = jnp.split(name(z, "preactivation"), [H, 2 * H, 3 * H, 4 * H, gates_at], axis=-1)
        q, k, v = (_heads(part, num_heads) for part in (q, k / math.sqrt(d), v))
        log_f = z_f if exponential_forget else log_sigmoid(z_f)
        m = advance_max(carry.m, log_f, z_i)
        i = name(jnp.exp(z_i - m), "input_gate")[..., None]
        f = name(jnp.exp(log_f + delayed(carry.m, m) - m), "forget_gate")[..., None]
        C = advance(carry.C, f[..., None], _outer(i * v, k))
        n = advance(carry.n, f, i * k)
        scale = jnp.maximum(jnp.abs(_inner(n, q)), jnp.exp(-m))[..., None]
        h = name(sigmoid(z_o), "output_gate") * _flat(_read(C, q) / scale)
        return MLSTMCarry(C, n, m), h

    return Cell(H, init, initial_carry, affine, step, linear=True)
