"""The delta rule: matrix memories that take out what they hold under a key, then write. Gated, or with several keys."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, shown, split, zeros
from rnnjax.cells.heads import as_heads, as_units, head_size, outer, read, unit
from rnnjax.cells.matrix_memory import MemoryParams
from rnnjax.cells.state_space import step_biases
from rnnjax.initializers import Initializer, glorot_uniform, per_gate

sigmoid, silu, softplus = jax.nn.sigmoid, jax.nn.silu, jax.nn.softplus


class GatedDeltaParams(NamedTuple):
    W: Array  # [I, N]
    b: Array  # [N]
    log_decay: Array  # [heads]


@shown
def delta_net(
    hidden_size: int,
    *,
    num_heads: int = 1,
    negative_eigenvalues: bool = False,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """DeltaNet: a matrix memory that first takes out what it holds under a key, then writes.

        q̃ₜ, k̃ₜ, vₜ = W_q xₜ + b_q,  W_k xₜ + b_k,  W_v xₜ + b_v;   βₜ = σ(w_β xₜ + b_β)
        qₜ = φ(q̃ₜ) / ‖φ(q̃ₜ)‖,  kₜ = φ(k̃ₜ) / ‖φ(k̃ₜ)‖            φ(a) = a σ(a)
        Sₜ = Sₜ₋₁ + βₜ (vₜ − Sₜ₋₁ kₜ) kₜᵀ                         β = 1 replaces what k holds
        yₜ = Sₜ qₜ

    for each of num_heads heads of d = H / num_heads units, β one number for each. S is linear in itself, but through
    the matrices I − β k kᵀ, one for each step: step by step only here.
    With negative_eigenvalues, β = 2 σ(·): at 2 such a matrix reflects, and the memory can count modulo 2 (Grazzi et
    al.).
    Carry: S [*B, heads, d, d]. Output: yₜ [*B, H]. Packing: q, k, v, β. Parameters: (3H + heads)(I + 1).
    Init: W glorot uniform each, b zero.
    Differs from the papers: φ and its norm are those of Yang et al. (Schlag et al.: other features, scaled to a sum of
    1), without their short convolutions and normalised outputs; norms are kept above 1e-6.
    References: Schlag, Irie & Schmidhuber 2021, "Linear transformers are secretly fast weight programmers",
    arXiv:2102.11174, section 4.2; Yang, Wang, Zhang, Shen & Kim 2024, "Parallelizing linear transformers with the delta
    rule over sequence length", arXiv:2406.06484, sections 2.2 and 3.3; Grazzi et al. 2025, "Unlocking state-tracking in
    linear RNNs through negative eigenvalues", arXiv:2411.12537.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads.
    """
    return _delta_rule(hidden_size, num_heads, 1, False, negative_eigenvalues, kernel_init)


@shown
def gated_delta_net(
    hidden_size: int,
    *,
    num_heads: int = 1,
    negative_eigenvalues: bool = False,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """Gated DeltaNet: DeltaNet whose memory fades as a whole before it is corrected under one key.

        q̃ₜ, k̃ₜ, vₜ = W_q xₜ + b_q,  W_k xₜ + b_k,  W_v xₜ + b_v;   βₜ = σ(w_β xₜ + b_β)
        qₜ = φ(q̃ₜ) / ‖φ(q̃ₜ)‖,  kₜ = φ(k̃ₜ) / ‖φ(k̃ₜ)‖            φ(a) = a σ(a)
        αₜ = exp(−exp(log_decay) softplus(w_α xₜ + b_α))          α = 1 keeps
        Sₜ = αₜ Sₜ₋₁ (I − βₜ kₜ kₜᵀ) + βₜ vₜ kₜᵀ
        yₜ = Sₜ qₜ

    for each of num_heads heads of d = H / num_heads units, α and β one number for each. Step by step only here, as
    DeltaNet. With negative_eigenvalues, β = 2 σ(·), from 0 to 2 (Grazzi et al. 2025, arXiv:2411.12537).
    Carry: S [*B, heads, d, d]. Output: yₜ [*B, H]. Packing: q, k, v, β, α. Parameters: (3H + 2 heads)(I + 1) + heads.
    Init: W glorot uniform each; exp(log_decay) uniform from 0 to 16, b_α such that softplus(b_α) is log uniform from
    0.001 to 0.1, other biases zero.
    Differs from the paper: the short convolutions of its block, with the SiLU of v, and the normalisation, gate and
    projection of the outputs are left out; biases on q, k and v; norms are kept above 1e-6.
    Reference: Yang, Kautz & Hatamizadeh 2025, "Gated delta networks: improving Mamba2 with delta rule",
    arXiv:2412.06464, section 3; α as in Mamba-2 and in the authors' code.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads.
    """
    return _delta_rule(hidden_size, num_heads, 1, True, negative_eigenvalues, kernel_init)


@shown
def delta_product(
    hidden_size: int,
    *,
    num_heads: int = 1,
    num_householder: int = 2,
    forget_gate: bool = False,
    negative_eigenvalues: bool = True,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """DeltaProduct: DeltaNet that takes several steps of the delta rule at each step of time.

        q̃ₜ = W_q xₜ + b_q;   k̃ⱼ, vⱼ = W_kⱼ xₜ + b_kⱼ,  W_vⱼ xₜ + b_vⱼ;   βⱼ = 2 σ(w_βⱼ xₜ + b_βⱼ)
        qₜ = φ(q̃ₜ) / ‖φ(q̃ₜ)‖,  kⱼ = φ(k̃ⱼ) / ‖φ(k̃ⱼ)‖            φ(a) = a σ(a)
        S ← αₜ Sₜ₋₁                                               αₜ = 1, or a gate
        S ← S + βⱼ (vⱼ − S kⱼ) kⱼᵀ,  j = 1..n                     n = num_householder; Sₜ is the last S
        yₜ = Sₜ qₜ

    for each of num_heads heads of d = H / num_heads units, βⱼ one number for each. The memory passes through a product
    of n generalised Householder matrices I − βⱼ kⱼ kⱼᵀ: at β = 2, n reflections, and so any permutation of n + 1 keys.
    Step by step only here, as DeltaNet. Without negative_eigenvalues, β = σ(·). With forget_gate, α as in
    `gated_delta_net` (Gated DeltaProduct).
    Carry: S [*B, heads, d, d]. Output: yₜ [*B, H]. Packing: q, k₁..kₙ, v₁..vₙ, β₁..βₙ, then α where it is.
    Parameters: ((2n + 1)H + n heads)(I + 1), and heads (I + 2) for α.
    Init: W glorot uniform each, those of β as one; α as in `gated_delta_net`, other biases zero.
    Differs from the paper: the short convolutions of its block, with the SiLU of v, and the normalisation, gate and
    projection of the outputs are left out; biases on q, k, v and β; norms are kept above 1e-6.
    Reference: Siems, Carstensen, Zela, Hutter, Pontil & Grazzi 2025, "DeltaProduct: improving state-tracking in linear
    RNNs via Householder products", arXiv:2502.10297, section 3.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads.
    """
    return _delta_rule(hidden_size, num_heads, num_householder, forget_gate, negative_eigenvalues, kernel_init)


def _delta_rule(
    hidden_size: int,
    num_heads: int,
    num_householder: int,
    forget_gate: bool,
    negative_eigenvalues: bool,
    kernel_init: Initializer,
) -> Cell:
    H, n, d = hidden_size, num_householder, head_size(hidden_size, num_heads)
    check_size(num_householder=n)
    num_vectors = 2 * n + 1
    num_scalars = (n + forget_gate) * num_heads

    def init(key: Array, input_size: int) -> MemoryParams | GatedDeltaParams:
        key_W, key_beta, key_alpha, key_bias, key_decay = jax.random.split(key, 5)
        Ws = [per_gate(kernel_init, key_W, input_size, H, num_vectors)]
        Ws.append(kernel_init(key_beta, (input_size, n * num_heads), jnp.float32))
        b = jnp.zeros(num_vectors * H + num_scalars, jnp.float32)
        if not forget_gate:
            return MemoryParams(jnp.concatenate(Ws, axis=-1), b)
        Ws.append(kernel_init(key_alpha, (input_size, num_heads), jnp.float32))
        # From above 0: the logarithm of a drawn 0 is infinite.
        decay = jax.random.uniform(key_decay, (num_heads,), jnp.float32, 1e-4, 16.0)
        return GatedDeltaParams(
            W=jnp.concatenate(Ws, axis=-1),
            b=b.at[-num_heads:].set(step_biases(key_bias, num_heads, 0.001, 0.1)),
            log_decay=jnp.log(decay),
        )

    def initial_carry(params: MemoryParams | GatedDeltaParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, num_heads, d, d)

    def step(p: Any, S: Array, z: Array) -> tuple[Array, Array]:
        scalars_at = num_vectors * H
        z, z_beta, z_alpha = jnp.split(name(z, "preactivation"), [scalars_at, scalars_at + n * num_heads], axis=-1)
        q, *vectors = (as_heads(part, num_heads) for part in split(z, num_vectors))
        betas = name(sigmoid(z_beta), "input_gate")
        betas = 2 * betas if negative_eigenvalues else betas
        if forget_gate:
            alpha = name(jnp.exp(-jnp.exp(p.log_decay) * softplus(z_alpha)), "forget_gate")
            S = alpha[..., None, None] * S
        for k, v, beta in zip(vectors[:n], vectors[n:], split(betas, n), strict=True):
            k = unit(silu(k))
            S = S + outer(beta[..., None] * (v - read(S, k)), k)
        return S, as_units(read(S, unit(silu(q))))

    return Cell(H, init, initial_carry, affine, step)
