"""RWKV-7's time mixing: a matrix memory with a generalised delta rule, from inputs mixed with the last ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, zeros
from rnnjax.cells.heads import as_heads, as_units, head_size, inner, outer, read, unit
from rnnjax.initializers import Initializer, glorot_uniform, orthogonal, per_gate

sigmoid = jax.nn.sigmoid
DECAY = 0.6065306597126334  # exp(-1/2): no unit of the keys decays faster than by exp(-DECAY) = 0.545 a step
MIX_POWERS = (0.2, 0.7, 0.7, 0.9, 0.9, 0.2)  # of r, k, v, w, a and g


class RWKV7Params(NamedTuple):
    mix: Array  # [6, I] the part of the last input in r, k, v, w, a and g
    W: Array  # [I, 3H + 3R] to r, k, v [H] and w, a, g [R]
    W_decay: Array  # [R, H]
    b_decay: Array  # [H]
    W_rate: Array  # [R, H]
    b_rate: Array  # [H]
    W_gate: Array  # [R, H]
    removal: Array  # [H] ξ
    replacement: Array  # [H] η
    bonus: Array  # [H] ρ
    scale: Array  # [H] of the normalised outputs
    shift: Array  # [H]


class RWKV7Prepared(NamedTuple):
    W_now: Array  # [I, 3H + 3R] for the input
    W_past: Array  # [I, 3H + 3R] for the input before
    params: RWKV7Params


class RWKV7Carry(NamedTuple):
    S: Array  # [*B, heads, d, d], values by keys
    x: Array  # [*B, I], the last input


@shown
def rwkv7(
    hidden_size: int,
    *,
    num_heads: int = 1,
    rank: int | None = None,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """RWKV-7's time mixing: a delta rule with a decay and a learning rate of its own for each unit of the keys.

        xᵐₜ = xₜ + μᵐ ⊙ (xₜ₋₁ − xₜ)                               for m = r, k, v, w, a, g
        rₜ, kₜ, vₜ = W_r xʳ,  W_k xᵏ,  W_v xᵛ
        wₜ = exp(−e^(−½) σ(W_w₂ tanh(W_w₁ xʷ) + b_w))             decay, from 0.545 to 1: w = 1 keeps
        aₜ = σ(W_a₂ W_a₁ xᵃ + b_a)                                learning rate
        gₜ = W_g₂ σ(W_g₁ xᵍ)
        κₜ = kₜ ⊙ ξ / ‖kₜ ⊙ ξ‖                                     the key taken out
        k′ₜ = kₜ ⊙ (1 + (aₜ − 1) ⊙ η)                              the key written
        Sₜ = Sₜ₋₁ (Diag(wₜ) − κₜ (aₜ ⊙ κₜ)ᵀ) + vₜ k′ₜᵀ
        yₜ = gₜ ⊙ (norm(Sₜ rₜ) + (rₜ · (ρ ⊙ k′ₜ)) vₜ)

    for each of num_heads heads of d = H / num_heads units; norm takes the mean from a head and divides by its standard
    deviation, then scales and shifts each unit. S is linear in itself, but through a matrix of its own for each step:
    step by step only here.
    Carry: RWKV7Carry(S [*B, heads, d, d], x [*B, I], zero before the first input). Output: yₜ [*B, H]. Packing: r, k,
    v, w₁, a₁, g₁. Parameters: I(3H + 3R + 6) + 3RH + 7H, R = rank, by default 2.5 √H to the nearest multiple of 32, at
    least 32 and at most H.
    Init: W_r, W_k, W_v glorot uniform each; W_w₁, W_a₁, W_g₁ zero, W_w₂, W_a₂ a tenth of orthogonal, W_g₂ orthogonal;
    μ, ξ, η, ρ, b_w, b_a as in the authors' first layer; scale one, shift zero.
    Differs from the paper: one rank for w, a and g; the values are not mixed with those of the first layer, which
    itself has none to mix with; the projection after y is left out, and with it the small initial values of W_r, W_k,
    W_v and W_g₂, as no normalised input comes in here and no residual stream goes round; ε of norm is 1e-5 d, the
    authors' at their d = 64; norms of keys are kept above 1e-6.
    Reference: Peng et al. 2025, "RWKV-7 'Goose' with expressive dynamic state evolution", arXiv:2503.14456, section 4;
    initial values from the authors' code.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads.
    """
    H, d = hidden_size, head_size(hidden_size, num_heads)
    R = min(H, max(32, 32 * round(2.5 * H**0.5 / 32))) if rank is None else rank
    check_size(rank=R)
    widths = np.array([H, H, H, R, R, R])

    def init(key: Array, input_size: int) -> RWKV7Params:
        key_W, key_decay, key_rate, key_gate = jax.random.split(key, 4)
        place = jnp.arange(input_size, dtype=jnp.float32) / input_size
        line = jnp.linspace(-0.5, 0.5, H, dtype=jnp.float32)
        across_head = jnp.linspace(-1.0, 1.0, d, dtype=jnp.float32)
        bend = jnp.tile(across_head * jnp.abs(across_head), num_heads)
        W = per_gate(kernel_init, key_W, input_size, H, 3)
        return RWKV7Params(
            mix=1 - place ** np.array(MIX_POWERS, np.float32)[:, None],
            W=jnp.concatenate([W, jnp.zeros((input_size, 3 * R), jnp.float32)], axis=-1),
            W_decay=0.1 * orthogonal(key_decay, (R, H), jnp.float32),
            b_decay=6 * line - 2.5 + 2.5 * bend,
            W_rate=0.1 * orthogonal(key_rate, (R, H), jnp.float32),
            b_rate=-0.19 + 0.4 * line + 0.3 * bend,
            W_gate=orthogonal(key_gate, (R, H), jnp.float32),
            removal=0.71 - 0.1 * line,
            replacement=jnp.full(H, 1.02, jnp.float32),
            bonus=jnp.full(H, -0.04, jnp.float32),
            scale=jnp.ones(H, jnp.float32),
            shift=jnp.zeros(H, jnp.float32),
        )

    def initial_carry(params: RWKV7Params, batch_shape: tuple[int, ...] = ()) -> RWKV7Carry:
        return RWKV7Carry(zeros(params, *batch_shape, num_heads, d, d), zeros(params, *batch_shape, params.W.shape[0]))

    def prepare(params: RWKV7Params, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> RWKV7Prepared:
        """(x + μ (x' − x)) W = x (1 − μ) W + x' μ W: one product for all six mixtures of an input."""
        W_past = jnp.repeat(params.mix.T, widths, axis=1) * params.W
        return RWKV7Prepared(params.W - W_past, W_past, params)

    def project(p: RWKV7Prepared, x: Array) -> tuple[Array, Array]:
        return x, dense(x, p.W_now)

    def step(prepared: RWKV7Prepared, carry: RWKV7Carry, inputs: tuple[Array, Array]) -> tuple[RWKV7Carry, Array]:
        p, (x, z) = prepared.params, inputs
        z = name(z + recur(carry.x, prepared.W_past), "preactivation")
        r, k, v, z_w, z_a, z_g = jnp.split(z, [H, 2 * H, 3 * H, 3 * H + R, 3 * H + 2 * R], axis=-1)
        decay = name(dense(jnp.tanh(z_w), p.W_decay) + p.b_decay, "preactivation")
        w = name(jnp.exp(-DECAY * sigmoid(decay)), "forget_gate")
        a = name(sigmoid(name(dense(z_a, p.W_rate) + p.b_rate, "preactivation")), "input_gate")
        g = name(dense(sigmoid(z_g), p.W_gate), "preactivation")
        removed, bonus = k * p.removal, p.bonus * r
        k = k * (1 + (a - 1) * p.replacement)
        r, w, k, v, a, removed, bonus = (as_heads(part, num_heads) for part in (r, w, k, v, a, removed, bonus))
        kappa = unit(removed)
        S = carry.S * w[..., None, :] - outer(read(carry.S, kappa), a * kappa) + outer(v, k)
        y = as_units(_normalised(read(S, r))) * p.scale + p.shift
        return RWKV7Carry(S, x), g * (y + as_units(inner(bonus, k)[..., None] * v))

    def _normalised(y: Array) -> Array:
        y = y - jnp.mean(y, axis=-1, keepdims=True)
        return y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1e-5 * d)

    return Cell(H, init, initial_carry, project, step, prepare)
