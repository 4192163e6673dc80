"""Matrix memories: keys and values written as outer products, read by a query. Fast weights, in an older word."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, name, shown, zeros
from rnnjax.cells.heads import as_heads, as_units, head_size, inner, outer, read
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
    H, d = hidden_size, head_size(hidden_size, num_heads)

    def init(key: Array, input_size: int) -> MemoryParams:
        W = per_gate(kernel_init, key, input_size, H, 3)
        return MemoryParams(W, jnp.zeros(3 * H, jnp.float32))

    def initial_carry(params: MemoryParams, batch_shape: tuple[int, ...] = ()) -> MemoryCarry:
        shape = (*batch_shape, num_heads, d)
        return MemoryCarry(zeros(params, *shape, d), zeros(params, *shape))

    def step(p: MemoryParams, carry: MemoryCarry, z: Array) -> tuple[MemoryCarry, Array]:
        q, k, v = (as_heads(part, num_heads) for part in jnp.split(name(z, "preactivation"), 3, axis=-1))
        q, k = jax.nn.elu(q) + 1, jax.nn.elu(k) + 1
        one = jnp.ones((), z.dtype)
        S = advance(carry.S, one, outer(v, k))
        n = advance(carry.n, one, k)
        y = read(S, q) / inner(n, q)[..., None]
        return MemoryCarry(S, n), as_units(y)

    return Cell(H, init, initial_carry, affine, step, linear=True)


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
    H, d = hidden_size, head_size(hidden_size, num_heads)

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
        q, k, v = (as_heads(part, num_heads) for part in (q, k / math.sqrt(d), v))
        log_f = z_f if exponential_forget else log_sigmoid(z_f)
        m = advance_max(carry.m, log_f, z_i)
        i = name(jnp.exp(z_i - m), "input_gate")[..., None]
        f = name(jnp.exp(log_f + delayed(carry.m, m) - m), "forget_gate")[..., None]
        C = advance(carry.C, f[..., None], outer(i * v, k))
        n = advance(carry.n, f, i * k)
        scale = jnp.maximum(jnp.abs(inner(n, q)), jnp.exp(-m))[..., None]
        h = name(sigmoid(z_o), "output_gate") * as_units(read(C, q) / scale)
        return MLSTMCarry(C, n, m), h

    return Cell(H, init, initial_carry, affine, step, linear=True)
