"""Networks of linear oscillators: state space models of the second order, stepped implicitly or symplectically."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, recur, shown, zeros
from rnnjax.cells.state_space import check_range, driven
from rnnjax.initializers import glorot_uniform, symmetric_uniform
from rnnjax.linear import advance_blocks

sigmoid = jax.nn.sigmoid


class LinOSSParams(NamedTuple):
    A: Array  # [N] before what keeps it from being negative
    step: Array  # [N], Δ = σ(step)
    B: Array  # [I, N]
    C: Array  # [N, H]
    D: Array  # [H], or [I, H] where I is not H


class DLinOSSParams(NamedTuple):
    A: Array  # [N] before it is kept in range
    G: Array  # [N] before what keeps it from being negative
    step: Array  # [N], Δ = σ(step)
    B: Array  # [I, N]
    C: Array  # [N, H]
    D: Array  # [H], or [I, H] where I is not H


class OscillatorSystem(NamedTuple):
    """What is prepared: the sampled system."""

    M: Array  # [N, 2, 2], from (z, y) to (z, y)
    drive: Array  # [N, 2], what B x adds to (z, y)
    B: Array
    C: Array
    D: Array


@shown
def linoss_im(hidden_size: int, *, state_size: int | None = None) -> Cell:
    """Linear oscillatory state space model, implicit: forced oscillators whose steps take energy away.

        y″(t) = −A y(t) + B x(t)                                 A diagonal, not negative

        zₜ = zₜ₋₁ + Δ (−A yₜ + B xₜ)
        yₜ = yₜ₋₁ + Δ zₜ
        oₜ = C yₜ + D xₜ

    solved for the new state: (zₜ, yₜ) = M (zₜ₋₁, yₜ₋₁) + Δ M (B xₜ, 0), M = [1, −Δ A; Δ, 1] / (1 + Δ² A) for each
    oscillator. Its eigenvalues have the modulus 1 / √(1 + Δ² A): stable for any A >= 0 and any step.
    A = max(0, A′) and Δ = σ(step), A′ and step learnt, one of each for an oscillator.
    Linear in time: `unroll(..., method=Associative())`.
    Carry: [*B, N, 2], z and y of each oscillator, N = state_size, by default H. Output: oₜ [*B, H].
    Parameters: N(2 + I + H) + H, and HI in place of the last H where I is not H.
    Init: A′ ~ U[0, 1], step ~ U[0, 1], so that Δ lies in [0.5, 0.73]; B ~ U[-1/√I, 1/√I], C ~ U[-1/√N, 1/√N]; D normal
    with variance 1 where it is a vector, else glorot uniform.
    Differs from the paper: the layer's activation is left to what stands around the cell; D is a matrix where input and
    output are of unequal size. The authors' code has B and C complex, two oscillators for every A and Δ; here they are
    real, as in the equations.
    Reference: Rusch & Rus 2025, "Oscillatory state-space models", arXiv:2410.03943, sections 2 and 3; initial values as
    in the authors' code.

    Raises:
      ValueError: sizes below 1.
    """

    def sampled(params: LinOSSParams) -> Array:
        A, dt = jax.nn.relu(params.A), sigmoid(params.step)
        return _blocks(1, -dt * A, dt, 1) / (1 + dt**2 * A)[:, None, None]

    return _linoss(hidden_size, state_size, sampled)


@shown
def linoss_imex(hidden_size: int, *, state_size: int | None = None) -> Cell:
    """Linear oscillatory state space model, implicit-explicit: forced oscillators that keep their energy.

        zₜ = zₜ₋₁ + Δ (−A yₜ₋₁ + B xₜ)
        yₜ = yₜ₋₁ + Δ zₜ
        oₜ = C yₜ + D xₜ

    so M = [1, −Δ A; Δ, 1 − Δ² A] for (z, y) of each oscillator, whose determinant is 1: a symplectic step, which can be
    run backwards and, without input, keeps z² + A y² − Δ A z y. Both eigenvalues lie on the unit circle while
    Δ² A < 4; A and Δ are as in `linoss_im`, and start with Δ² A below 0.54.
    Carry, output, parameters and initial values as in `linoss_im`, and what differs from the paper.
    Linear in time: `unroll(..., method=Associative())`.
    Reference: Rusch & Rus 2025, "Oscillatory state-space models", arXiv:2410.03943, sections 2 and 3.

    Raises:
      ValueError: sizes below 1.
    """

    def sampled(params: LinOSSParams) -> Array:
        A, dt = jax.nn.relu(params.A), sigmoid(params.step)
        return _blocks(1, -dt * A, dt, 1 - dt**2 * A)

    return _linoss(hidden_size, state_size, sampled)


@shown
def d_linoss(
    hidden_size: int,
    *,
    state_size: int | None = None,
    radius: tuple[float, float] = (0.9, 1.0),
    max_phase: float = math.pi,
    step_std: float = 0.5,
) -> Cell:
    """Damped linear oscillatory state space model: oscillators that learn how fast to lose their energy.

        y″(t) = −A y(t) − G y′(t) + B x(t)                       A, G diagonal, not negative

        zₜ = zₜ₋₁ + Δ (−A yₜ₋₁ − G zₜ + B xₜ)
        yₜ = yₜ₋₁ + Δ zₜ
        oₜ = C yₜ + D xₜ

    so with S = 1 + Δ G, M = [1, −Δ A; Δ, S − Δ² A] / S for (z, y) of each oscillator. Its determinant is 1 / S, and the
    two eigenvalues are a conjugate pair of the modulus 1 / √S while (√S − 1)² < Δ² A < (√S + 1)². So
    Δ = σ(step), G = max(0, G′), and A is A′ cut to this range. Without damping this is `linoss_imex`.
    Linear in time: `unroll(..., method=Associative())`.
    Carry: [*B, N, 2], z and y of each oscillator, N = state_size, by default H. Output: oₜ [*B, H].
    Parameters: N(3 + I + H) + H, and HI in place of the last H where I is not H.
    Init: eigenvalues uniform over the area of half a ring, their moduli in `radius` and their phases in
    [0, max_phase]; A and G from them; step normal with standard deviation step_std; B, C and D as in `linoss_im`.
    Differs from the paper: as `linoss_im`.
    Reference: Boyer, Rusch & Rus 2025, "Learning to dissipate energy in oscillatory state-space models",
    arXiv:2505.12171, section 3; defaults as in the authors' code.

    Raises:
      ValueError: sizes below 1, a radius that is none within the unit circle, a max_phase outside (0, π], a step_std
        below 0.
    """
    check_size(hidden_size=hidden_size)
    check_range("radius", *radius)
    if radius[1] > 1:
        raise ValueError(f"radius must lie within the unit circle, got {radius}")
    if not 0 < max_phase <= math.pi:
        raise ValueError(f"max_phase must be above 0 and at most π, got {max_phase}")
    if not 0 <= step_std < math.inf:
        raise ValueError(f"step_std must be at least 0 and finite, got {step_std}")

    def draw(key: Array, N: int) -> dict[str, Array]:
        key_radius, key_phase, key_step = jax.random.split(key, 3)
        square = jax.random.uniform(key_radius, (N,), jnp.float32, radius[0] ** 2, radius[1] ** 2)
        phase = jax.random.uniform(key_phase, (N,), jnp.float32, 0.0, max_phase)
        step = step_std * jax.random.normal(key_step, (N,), jnp.float32)
        dt = sigmoid(step)
        return {
            "A": (1 - 2 * jnp.sqrt(square) * jnp.cos(phase) + square) / (dt**2 * square),
            "G": (1 / square - 1) / dt,
            "step": step,
        }

    def sampled(params: DLinOSSParams) -> Array:
        dt = sigmoid(params.step)
        S = 1 + dt * jax.nn.relu(params.G)
        A = jnp.clip(params.A, ((jnp.sqrt(S) - 1) / dt) ** 2, ((jnp.sqrt(S) + 1) / dt) ** 2)
        return _blocks(1, -dt * A, dt, S - dt**2 * A) / S[:, None, None]

    return _oscillators(hidden_size, state_size, DLinOSSParams, draw, sampled)


def _blocks(zz, zy, yz, yy) -> Array:
    """[zz, zy; yz, yy] for each oscillator, [N, 2, 2], of numbers or arrays [N]."""
    return jnp.moveaxis(jnp.stack(jnp.broadcast_arrays(zz, zy, yz, yy)), 0, -1).reshape(-1, 2, 2)


def _linoss(hidden_size: int, state_size: int | None, sampled: Callable[[LinOSSParams], Array]) -> Cell:
    def draw(key: Array, N: int) -> dict[str, Array]:
        key_A, key_step = jax.random.split(key)
        uniform = jax.random.uniform
        return {"A": uniform(key_A, (N,), jnp.float32), "step": uniform(key_step, (N,), jnp.float32)}

    return _oscillators(hidden_size, state_size, LinOSSParams, draw, sampled)


def _oscillators(
    hidden_size: int, state_size: int | None, params_type: type, draw: Callable[..., dict], sampled: Callable
) -> Cell:
    """The cell of oscillators whose own parameters come from `draw` and whose matrices M [N, 2, 2] from `sampled`."""
    H = hidden_size
    N = H if state_size is None else state_size
    check_size(hidden_size=H, state_size=N)

    def init(key: Array, input_size: int):
        key_own, key_B, key_C, key_D = jax.random.split(key, 4)
        matrix = input_size != H
        return params_type(
            **draw(key_own, N),
            B=symmetric_uniform(input_size**-0.5)(key_B, (input_size, N)),
            C=symmetric_uniform(N**-0.5)(key_C, (N, H)),
            D=glorot_uniform(key_D, (input_size, H), jnp.float32)
            if matrix
            else jax.random.normal(key_D, (H,), jnp.float32),
        )

    def initial_carry(params, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, N, 2)

    def prepare(params, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> OscillatorSystem:
        del key, input_shape
        M = sampled(params)
        drive = sigmoid(params.step)[:, None] * M[:, :, 0]  # Δ M (1, 0)
        return OscillatorSystem(M, drive, params.B, params.C, params.D)

    def step(p: OscillatorSystem, h: Array, z: tuple[Array, Array]) -> tuple[Array, Array]:
        Bx, Dx = z
        h = advance_blocks(h, p.M, p.drive * Bx[..., None])
        return h, recur(h[..., 1], p.C) + Dx

    return Cell(H, init, initial_carry, driven, step, prepare, linear=True)
