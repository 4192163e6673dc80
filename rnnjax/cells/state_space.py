"""State space models with a diagonal state: linear systems of continuous time, sampled, for one input or for all."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, zeros
from rnnjax.errors import unknown
from rnnjax.initializers import glorot_uniform
from rnnjax.linear import advance

SPECTRA = ("lin", "inv")
lecun_normal = jax.nn.initializers.lecun_normal()


def as_complex(pair: Array) -> Array:
    """[..., 2N] real, real parts before imaginary ones, as [..., N] complex."""
    return lax.complex(*jnp.split(pair, 2, axis=-1))


def as_pair(h: Array) -> Array:
    """[..., N] complex as [..., 2N] real, real parts before imaginary ones."""
    return jnp.concatenate([h.real, h.imag], axis=-1)


def complex_zeros(params, *shape: int) -> Array:
    """Complex zeros in the precision of the parameters."""
    return lax.complex(zeros(params, *shape), zeros(params, *shape))


def log_steps(key: Array, size: int, low: float, high: float) -> Array:
    """Logarithms of step sizes, log uniform between low and high."""
    return jax.random.uniform(key, (size,), jnp.float32, math.log(low), math.log(high))


def step_biases(key: Array, size: int, low: float, high: float) -> Array:
    """b such that softplus(b) is a step size, log uniform between low and high."""
    steps = jnp.exp(log_steps(key, size, low, high))
    return steps + jnp.log(-jnp.expm1(-steps))


def check_range(label: str, low: float, high: float) -> None:
    if not 0 < low <= high:
        raise ValueError(f"{label} must be two positive numbers, the smaller one first, got {low}, {high}")


class S4DParams(NamedTuple):
    log_step: Array  # [H] log Δ
    log_decay: Array  # [H, N] log of -Re A
    frequency: Array  # [H, N] Im A
    C: Array  # [H, N, 2] real and imaginary parts
    D: Array  # [H]
    P: Array | None = None  # [I, H], where I is not H


class S4DSystem(NamedTuple):
    """What is prepared: the sampled system."""

    A: Array  # [H, N] complex
    B: Array  # [H, N] complex
    C: Array  # [H, N] complex
    D: Array
    P: Array | None


@shown
def s4d(
    hidden_size: int,
    *,
    state_size: int = 64,
    spectrum: str = "lin",
    step_range: tuple[float, float] = (0.001, 0.1),
) -> Cell:
    """S4D: for every one of H inputs a linear system of its own, with a diagonal state matrix.

        h′(t) = A h(t) + B x(t),  y(t) = 2 Re(C h(t)) + D x(t),  A = −exp(log_decay) + i frequency,  B = 1

        Ā = exp(Δ A),  B̄ = (Ā − 1) / A                          x held constant over a step Δ
        hₜ = Ā ⊙ hₜ₋₁ + B̄ xₜ
        yₜ = 2 Re Σₙ Cₙ hₜₙ + D xₜ

    N = state_size / 2 complex numbers for each input stand for themselves and their conjugates. x has to be of size H;
    where I is not H, P xₜ stands in its place, P [I, H] learnt.
    Linear in time: `unroll(method=Associative())`.
    Carry: h [*B, H, N], complex. Output: yₜ [*B, H]. Parameters: H(4N + 2), and HI for P where I is not H.
    Init: decay ½; frequency πn ("lin") or (S / π)(S / (2n + 1) − 1), S = state_size ("inv"), n = 0..N−1; log Δ uniform
    between the logarithms of step_range; C complex normal with variance 1; D normal with variance 1; P glorot uniform.
    Differs from the paper: the layer's activation and mixing of outputs are left to what stands around the cell; B = 1
    stays, as in the authors' short version of their code.
    Reference: Gu, Gupta, Goel & Ré 2022, "On the parameterization and initialization of diagonal state space models",
    arXiv:2206.11893, section 3 and equations 8 and 9.

    Raises:
      ValueError: sizes below 1, an odd state_size, an unknown spectrum, a step_range that is none.
    """
    H = hidden_size
    check_size(hidden_size=H, state_size=state_size)
    check_range("step_range", *step_range)
    if state_size % 2:
        raise ValueError(f"state_size must be even, for numbers and their conjugates, got {state_size}")
    if spectrum not in SPECTRA:
        raise ValueError(unknown("spectrum", spectrum, SPECTRA))
    N = state_size // 2

    def init(key: Array, input_size: int) -> S4DParams:
        key_step, key_C, key_D, key_P = jax.random.split(key, 4)
        n = np.arange(N)
        frequency = np.pi * n if spectrum == "lin" else state_size / np.pi * (state_size / (2 * n + 1) - 1)
        return S4DParams(
            log_step=log_steps(key_step, H, *step_range),
            log_decay=jnp.full((H, N), math.log(0.5), jnp.float32),
            frequency=jnp.tile(jnp.asarray(frequency, jnp.float32), (H, 1)),
            C=math.sqrt(0.5) * jax.random.normal(key_C, (H, N, 2), jnp.float32),
            D=jax.random.normal(key_D, (H,), jnp.float32),
            P=None if input_size == H else glorot_uniform(key_P, (input_size, H), jnp.float32),
        )

    def initial_carry(params: S4DParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return complex_zeros(params, *batch_shape, H, N)

    def prepare(params: S4DParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> S4DSystem:
        del key, input_shape
        A = lax.complex(-jnp.exp(params.log_decay), params.frequency)
        sampled = jnp.exp(jnp.exp(params.log_step)[:, None] * A)
        C = lax.complex(params.C[..., 0], params.C[..., 1])
        return S4DSystem(sampled, (sampled - 1) / A, C, params.D, params.P)

    def project(p: S4DSystem, x: Array) -> Array:
        if p.P is not None:
            return name(dense(x, p.P), "preactivation")
        _check_width(x, H)
        return x

    def step(p: S4DSystem, h: Array, x: Array) -> tuple[Array, Array]:
        h = advance(h, p.A, p.B * x[..., None])
        y = 2 * jnp.sum(p.C * h, axis=-1).real + p.D * x
        return h, y

    return Cell(H, init, initial_carry, project, step, prepare, linear=True)


class S5Params(NamedTuple):
    A: Array  # [N, 2] real and imaginary parts
    log_step: Array  # [N] log Δ
    B: Array  # [I, 2N] real before imaginary parts
    C: Array  # [2N, H] for real and imaginary parts of the state, times 2 and with the sign of Re(C h)
    D: Array  # [H], or [I, H] where I is not H


class S5System(NamedTuple):
    """What is prepared: the sampled system."""

    A: Array  # [N] complex
    B: Array  # [I, 2N]
    C: Array  # [2N, H]
    D: Array


@shown
def s5(
    hidden_size: int,
    *,
    state_size: int | None = None,
    blocks: int = 1,
    step_range: tuple[float, float] = (0.001, 0.1),
) -> Cell:
    """S5: one linear system for all inputs and outputs, with a diagonal state matrix.

        h′(t) = A h(t) + B x(t),  y(t) = 2 Re(C h(t)) + D x(t)

        Ā = exp(Δ A),  B̄ = (Ā − 1) / A · B                      x held constant over a step Δ, one for each state
        hₜ = Ā ⊙ hₜ₋₁ + B̄ xₜ
        yₜ = 2 Re(C hₜ) + D xₜ

    N = state_size / 2 complex numbers stand for themselves and their conjugates.
    Linear in time: `unroll(method=Associative())`.
    Carry: h [*B, N], complex. Output: yₜ [*B, H]. Parameters: N(3 + 2I + 2H) + H, and HI in place of the last H where
    I is not H.
    Init: A the eigenvalues with positive imaginary part of `blocks` equal blocks, each the normal part of the
    HiPPO-LegS matrix (`hippo_normal`), V its eigenvectors; B = V* B₀ with B₀ LeCun normal, of variance 1 / I; C = C₀ V
    with real and imaginary parts of C₀ of variance 1 / state_size; log Δ uniform between the logarithms of step_range;
    D normal with variance 1 where it is a vector, else glorot uniform. state_size is by default the first multiple of
    2 · blocks from H on.
    Differs from the paper: the layer's activation is left to what stands around the cell; D is a matrix where input and
    output are of unequal size.
    Reference: Smith, Warrington & Linderman 2023, "Simplified state space layers for sequence modeling",
    arXiv:2208.04933, sections 3 and 4.3 and appendix B.

    Raises:
      ValueError: sizes below 1, a state_size that is no multiple of 2 · blocks, a step_range that is none.
    """
    H = hidden_size
    check_size(hidden_size=H, blocks=blocks)
    size = -(-H // (2 * blocks)) * 2 * blocks if state_size is None else state_size
    check_size(state_size=size)
    check_range("step_range", *step_range)
    if size % (2 * blocks):
        raise ValueError(f"state_size must be a multiple of 2 * blocks = {2 * blocks}, got {size}")
    N, eigen = size // 2, hippo_normal(size // blocks)
    upper = eigen.values.imag > 0
    values = np.tile(eigen.values[upper], blocks)
    vectors = np.kron(np.eye(blocks), eigen.vectors[:, upper])  # [2N, N]

    def init(key: Array, input_size: int) -> S5Params:
        key_step, key_B, key_C, key_D = jax.random.split(key, 4)
        V_re, V_im = jnp.asarray(vectors.real, jnp.float32), jnp.asarray(vectors.imag, jnp.float32)
        B = lecun_normal(key_B, (input_size, 2 * N), jnp.float32)
        C_re, C_im = jax.random.normal(key_C, (2, H, 2 * N), jnp.float32) / math.sqrt(2 * N)
        C = C_re @ V_re - C_im @ V_im, -(C_re @ V_im + C_im @ V_re)
        matrix = input_size != H
        return S5Params(
            A=jnp.asarray(np.stack([values.real, values.imag], axis=-1), jnp.float32),
            log_step=log_steps(key_step, N, *step_range),
            B=jnp.concatenate([B @ V_re, -B @ V_im], axis=-1),
            C=2 * jnp.concatenate(C, axis=-1).T,
            D=glorot_uniform(key_D, (input_size, H), jnp.float32)
            if matrix
            else jax.random.normal(key_D, (H,), jnp.float32),
        )

    def initial_carry(params: S5Params, batch_shape: tuple[int, ...] = ()) -> Array:
        return complex_zeros(params, *batch_shape, N)

    def prepare(params: S5Params, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> S5System:
        del key, input_shape
        A = lax.complex(params.A[:, 0], params.A[:, 1])
        sampled = jnp.exp(jnp.exp(params.log_step) * A)
        return S5System(sampled, as_pair((sampled - 1) / A * as_complex(params.B)), params.C, params.D)

    return Cell(H, init, initial_carry, driven, linear_readout, prepare, linear=True)


def driven(p, x: Array) -> tuple[Array, Array]:
    """B x and D x of a system with all inputs at once."""
    skip = dense(x, p.D) if p.D.ndim == 2 else _check_width(x, p.D.shape[0]) * p.D
    return name(dense(x, p.B), "preactivation"), skip


def linear_readout(p, h: Array, z: Any) -> tuple[Array, Array]:
    """The step of a system with all inputs at once: h <- A h + B x, and C h + D x."""
    Bx, Dx = z
    h = advance(h, p.A, as_complex(Bx))
    y = recur(as_pair(h), p.C) + Dx
    return h, y


def _check_width(x: Array, size: int) -> Array:
    if x.shape[-1] != size:
        raise ValueError(
            f"the input has {x.shape[-1]} features, but these parameters were initialised for input_size {size}"
        )
    return x


class Eigen(NamedTuple):
    values: np.ndarray  # [N] complex
    vectors: np.ndarray  # [N, N], columns, orthonormal


def hippo_legs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """(A [N, N], B [N]) of HiPPO-LegS: h' = A h + B x keeps the Legendre coefficients of all of the past, scaled.

        A_nk = −√(2n + 1) √(2k + 1) for n > k, −(n + 1) for n = k, 0 for n < k;   B_n = √(2n + 1)

    Source: Gu, Dao, Ermon, Rudra & Ré 2020, arXiv:2008.07669, theorem 2 (its A and B with the signs of h' = A h + B x).
    """
    root = np.sqrt(2 * np.arange(size) + 1.0)
    return -np.tril(np.outer(root, root), -1) - np.diag(np.arange(size) + 1.0), root


def hippo_normal(size: int) -> Eigen:
    """Eigenvalues and eigenvectors of the normal part of HiPPO-LegS, A + p pᵀ with p_n = √(n + ½).

    It is −½ I plus a skew-symmetric matrix, so that the real parts are −½ and the eigenvectors orthonormal.
    Source: Gu, Goel & Ré 2022, arXiv:2111.00396, theorem 1 and appendix C.
    """
    p = np.sqrt(np.arange(size) + 0.5)
    skew = hippo_legs(size)[0] + np.outer(p, p) + 0.5 * np.eye(size)
    frequencies, vectors = np.linalg.eigh(-1j * skew)
    return Eigen(-0.5 + 1j * frequencies, vectors)
