"""Linear recurrent units: a diagonal recurrence parametrised to stay within the unit circle, plain or gated."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell, check_size, dense, name, shown, split, zero_carry
from rnnjax.cells.state_space import as_complex, as_pair, check_range, complex_zeros, driven, linear_readout
from rnnjax.initializers import Initializer, glorot_uniform
from rnnjax.linear import advance

sigmoid = jax.nn.sigmoid
lecun_normal: Initializer = jax.nn.initializers.lecun_normal()


class LRUParams(NamedTuple):
    log_nu: Array  # [N]
    log_theta: Array  # [N]
    log_gamma: Array  # [N]
    B: Array  # [I, 2N] real before imaginary parts
    C: Array  # [2N, H] for real and imaginary parts of the state, with the sign of Re(C h)
    D: Array  # [H], or [I, H] where I is not H


class LRUSystem(NamedTuple):
    """What is prepared."""

    A: Array  # [N] complex, the eigenvalues
    B: Array  # [I, 2N], normalised
    C: Array
    D: Array


@shown
def lru(
    hidden_size: int,
    *,
    state_size: int | None = None,
    radius: tuple[float, float] = (0.0, 1.0),
    max_phase: float = 2 * math.pi,
) -> Cell:
    """Linear recurrent unit: complex eigenvalues in a ring, no continuous time behind them.

        λ = exp(−exp(ν) + i exp(θ))                              |λ| < 1 whatever ν
        hₜ = λ ⊙ hₜ₋₁ + γ ⊙ B xₜ
        yₜ = Re(C hₜ) + D xₜ

    Linear in time: `unroll(method=Associative())`.
    Carry: h [*B, N], complex, N = state_size, by default H. Output: yₜ [*B, H]. Parameters: N(3 + 2I + 2H) + H, and HI
    in place of the last H where I is not H; ν, θ and γ by their logarithms.
    Init: |λ|² uniform between the squares of `radius`, phases uniform in [0, max_phase]: uniform over the area of a
    ring; γ = √(1 − |λ|²), which keeps the state's variance at the input's; real and imaginary parts of B of variance
    1 / 2I, of C of variance 1 / N; D normal with variance 1 where it is a vector, else glorot uniform.
    Differs from the paper: the layer's activation is left to what stands around the cell; D is a matrix where input and
    output are of unequal size.
    Reference: Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De 2023, "Resurrecting recurrent neural networks for
    long sequences", arXiv:2303.06349, section 3 and appendix A.

    Raises:
      ValueError: sizes below 1, a radius that is none within the unit circle, a max_phase that is not positive.
    """
    H = hidden_size
    N = H if state_size is None else state_size
    check_size(hidden_size=H, state_size=N)
    low, high = radius
    if not 0 <= low < high <= 1:
        raise ValueError(f"radius must be two numbers with 0 <= low < high <= 1, got {low}, {high}")
    if not 0 < max_phase < math.inf:
        raise ValueError(f"max_phase must be positive, got {max_phase}")

    def init(key: Array, input_size: int) -> LRUParams:
        key_nu, key_theta, key_B, key_C, key_D = jax.random.split(key, 5)
        tiny = 1e-6  # neither on the circle nor at 0, whose logarithms are none
        square = jax.random.uniform(key_nu, (N,), jnp.float32, low**2 + tiny, high**2 - tiny)
        phase = jax.random.uniform(key_theta, (N,), jnp.float32, tiny, max_phase)
        matrix = input_size != H
        return LRUParams(
            log_nu=jnp.log(-0.5 * jnp.log(square)),
            log_theta=jnp.log(phase),
            log_gamma=0.5 * jnp.log1p(-square),
            B=jax.random.normal(key_B, (input_size, 2 * N), jnp.float32) / math.sqrt(2 * input_size),
            C=jax.random.normal(key_C, (2 * N, H), jnp.float32) / math.sqrt(N),
            D=glorot_uniform(key_D, (input_size, H), jnp.float32)
            if matrix
            else jax.random.normal(key_D, (H,), jnp.float32),
        )

    def initial_carry(params: LRUParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return complex_zeros(params, *batch_shape, N)

    def prepare(params: LRUParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> LRUSystem:
        del key, input_shape
        eigenvalues = jnp.exp(lax.complex(-jnp.exp(params.log_nu), jnp.exp(params.log_theta)))
        B = as_pair(jnp.exp(params.log_gamma) * as_complex(params.B))
        return LRUSystem(eigenvalues, B, params.C, params.D)

    return Cell(H, init, initial_carry, driven, linear_readout, prepare, linear=True)


class RGLRUParams(NamedTuple):
    W: Array  # [H, 2H]
    b: Array  # [2H]
    decay: Array  # [H], Λ
    P: Array | None = None  # [I, H], where I is not H


@shown
def rg_lru(
    hidden_size: int,
    *,
    power: float = 8.0,
    decay_range: tuple[float, float] = (0.9, 0.999),
    kernel_init: Initializer = lecun_normal,
) -> Cell:
    """Real-gated linear recurrent unit, of Griffin: a gate on the decay and one on the input.

        rₜ = σ(W_a xₜ + b_a)                                     r = 0 keeps, r = 1 decays by a
        iₜ = σ(W_x xₜ + b_x)                                     i = 1 writes
        aₜ = a^(c rₜ),  a = σ(Λ),  c = power
        hₜ = aₜ ⊙ hₜ₋₁ + √(1 − aₜ²) ⊙ (iₜ ⊙ xₜ)

    The bare x has to be of size H. Where I is not H, P xₜ stands for xₜ throughout, P [I, H] learnt.
    Linear in time: `unroll(method=Associative())`.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: a, x. Parameters: H(2H + 3), and HI for P where I is not H.
    Init: W and P LeCun normal, b zero, Λ such that a^c is uniform in decay_range.
    Differs from the paper: full matrices W_a and W_x, where its large models have block-diagonal ones; 1 − a² is kept
    above 1e-12, where its root has a derivative.
    Reference: De et al. 2024, "Griffin: mixing gated linear recurrences with local attention for efficient language
    models", arXiv:2402.19427, section 2.4, equations 1 to 4, and appendix A.

    Raises:
      ValueError: hidden_size below 1, a power that is not positive, a decay_range that is none below 1.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_range("decay_range", *decay_range)
    if not 0 < power < math.inf:
        raise ValueError(f"power must be positive, got {power}")
    if decay_range[1] >= 1:
        raise ValueError(f"decay_range must lie below 1, got {decay_range}")

    def init(key: Array, input_size: int) -> RGLRUParams:
        key_a, key_x, key_decay, key_P = jax.random.split(key, 4)
        a = jax.random.uniform(key_decay, (H,), jnp.float32, *decay_range) ** (1 / power)
        return RGLRUParams(
            W=jnp.concatenate([kernel_init(k, (H, H), jnp.float32) for k in (key_a, key_x)], axis=-1),
            b=jnp.zeros(2 * H, jnp.float32),
            decay=jnp.log(a) - jnp.log1p(-a),
            P=None if input_size == H else kernel_init(key_P, (input_size, H), jnp.float32),
        )

    def project(p: RGLRUParams, x: Array) -> tuple[Array, Array]:
        x = x if p.P is None else name(dense(x, p.P), "preactivation")
        return x, dense(x, p.W) + p.b

    def step(p: RGLRUParams, h: Array, z: Any) -> tuple[Array, Array]:
        x, z = z
        z_r, z_i = split(name(z, "preactivation"), 2)
        r = name(sigmoid(z_r), "recurrence_gate")
        i = name(sigmoid(z_i), "input_gate")
        log_a = power * r * jax.nn.log_sigmoid(p.decay)
        scale = jnp.sqrt(jnp.maximum(-jnp.expm1(2 * log_a), 1e-12))
        h = advance(h, jnp.exp(log_a), scale * (i * x))
        return h, h

    return Cell(H, init, zero_carry(H), project, step, linear=True)
