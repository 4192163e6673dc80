"""Networks of oscillators, and of units with a time scale of their own: differential equations with bounded states."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_positive, check_size, name, recur, shown, split, zero_carry
from rnnjax.initializers import Bias, Uniform, bias as init_bias, check_bias, symmetric_uniform

sigmoid = jax.nn.sigmoid
UNIT = Uniform(0.0, 1.0)


class OscillatorCarry(NamedTuple):
    y: Array  # [*B, H] where an oscillator is
    z: Array  # [*B, H] how fast it moves


class CoRNNParams(NamedTuple):
    W: Array  # [I, H]
    U_y: Array  # [H, H]
    U_z: Array  # [H, H]
    b: Array  # [H]


class UnICORNNParams(NamedTuple):
    W: Array  # [I, H]
    w: Array  # [H]
    b: Array  # [H]
    c: Array  # [H] of the time steps


class LEMCarry(NamedTuple):
    y: Array  # [*B, H]
    z: Array  # [*B, H]


class LEMParams(NamedTuple):
    W: Array  # [I, 4H]
    U_y: Array  # [H, 3H]
    U_z: Array  # [H, H]
    b: Array  # [4H]


@shown
def cornn(
    hidden_size: int,
    *,
    dt: float = 0.042,
    gamma: float = 2.7,
    epsilon: float = 4.7,
    implicit_damping: bool = False,
) -> Cell:
    """Coupled oscillatory network: driven and damped oscillators that feel each other.

        zₜ = zₜ₋₁ + Δt (tanh(W xₜ + U_y yₜ₋₁ + U_z zₜ₋₁ + b) - γ yₜ₋₁ - ε z̄)
        yₜ = yₜ₋₁ + Δt zₜ

    with z̄ = zₜ₋₁, or z̄ = zₜ where `implicit_damping`.
    Carry: OscillatorCarry(y [*B, H], z [*B, H]). Output: yₜ [*B, H]. Parameters: H(I + 2H + 1).
    Init: W, U_y, U_z and b ~ U[-1/√(I + 2H), 1/√(I + 2H)].
    Differs from the paper: nothing; it tunes Δt, γ and ε for each task, the defaults are those of MNIST by pixels.
    With the damping explicit, as in the authors' code, states stay bounded where the linear part is stable:
    Δt ε < 2 and Δt² γ < 4 - 2 Δt ε.
    Reference: Rusch & Mishra 2021, arXiv:2010.00951; defaults and initial values as in the authors' code.

    Raises:
      ValueError: Δt, γ or ε not above 0.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_positive(dt=dt, gamma=gamma, epsilon=epsilon)

    def init(key: Array, input_size: int) -> CoRNNParams:
        key_W, key_y, key_z, key_b = jax.random.split(key, 4)
        limit = (input_size + 2 * H) ** -0.5
        draw = symmetric_uniform(limit)
        return CoRNNParams(
            W=draw(key_W, (input_size, H)),
            U_y=draw(key_y, (H, H)),
            U_z=draw(key_z, (H, H)),
            b=draw(key_b, (H,)),
        )

    def step(p: CoRNNParams, carry: OscillatorCarry, x: Array) -> tuple[OscillatorCarry, Array]:
        y, z = carry
        force = jnp.tanh(name(x + recur(y, p.U_y) + recur(z, p.U_z), "preactivation")) - gamma * y
        z = (z + dt * force) / (1 + dt * epsilon) if implicit_damping else z + dt * (force - epsilon * z)
        y = y + dt * z
        return OscillatorCarry(y, z), y

    return Cell(H, init, zero_carry(OscillatorCarry, H, H), affine, step)


@shown
def unicornn(
    hidden_size: int, *, dt: float = 0.19, alpha: float = 30.65, recurrent: Bias = UNIT, bias: Bias = 0.0
) -> Cell:
    """Undamped independent controlled oscillatory network: oscillators on their own, each at its own pace.

        zₜ = zₜ₋₁ - Δt σ(c) ⊙ (tanh(w ⊙ yₜ₋₁ + W xₜ + b) + α yₜ₋₁)
        yₜ = yₜ₋₁ + Δt σ(c) ⊙ zₜ

    A symplectic step of a Hamiltonian system: it keeps volume and can be run backwards. Layers meet in W (`stack`).
    Carry: OscillatorCarry(y [*B, H], z [*B, H]). Output: yₜ [*B, H]. Parameters: H(I + 3).
    Init: W uniform with the variance 2 / (65 I), w ~ U[0, 1], c ~ U[-0.1, 0.1], b zero.
    Differs from the paper: nothing; it tunes Δt and α for each task, the defaults are those of permuted MNIST by
    pixels. It computes gradients by running back, to save memory; `Scan(save="chunks")` is for that here.
    Reference: Rusch & Mishra 2021, arXiv:2103.05487; defaults and initial values as in the authors' code.

    Raises:
      ValueError: Δt not above 0, or α below 0.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(recurrent=recurrent, bias=bias)
    check_positive(dt=dt)
    if not alpha >= 0:
        raise ValueError(f"alpha must be at least 0, got {alpha}")

    def init(key: Array, input_size: int) -> UnICORNNParams:
        key_W, key_w, key_b, key_c = jax.random.split(key, 4)
        kernel_init = jax.nn.initializers.variance_scaling(2 / 65, "fan_in", "uniform")
        return UnICORNNParams(
            W=kernel_init(key_W, (input_size, H), jnp.float32),
            w=init_bias(recurrent, key_w, H),
            b=init_bias(bias, key_b, H),
            c=Uniform(-0.1, 0.1)(key_c, H),
        )

    def prepare(params: UnICORNNParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> UnICORNNParams:
        return params._replace(c=dt * sigmoid(params.c))

    def step(p: UnICORNNParams, carry: OscillatorCarry, x: Array) -> tuple[OscillatorCarry, Array]:
        y, z = carry
        z = z - p.c * (jnp.tanh(name(p.w * y + x, "preactivation")) + alpha * y)
        y = y + p.c * z
        return OscillatorCarry(y, z), y

    return Cell(H, init, zero_carry(OscillatorCarry, H, H), affine, step, prepare)


@shown
def lem(hidden_size: int, *, dt: float = 1.0) -> Cell:
    """Long expressive memory: two states, each with time steps that it learns.

        Δₜ = Δt σ(W_1 xₜ + U_1 yₜ₋₁ + b_1)                       Δt writes z
        Δ̄ₜ = Δt σ(W_2 xₜ + U_2 yₜ₋₁ + b_2)                       Δt writes y
        zₜ = (1 - Δₜ) ⊙ zₜ₋₁ + Δₜ ⊙ tanh(W_z xₜ + U_z yₜ₋₁ + b_z)
        yₜ = (1 - Δ̄ₜ) ⊙ yₜ₋₁ + Δ̄ₜ ⊙ tanh(W_y xₜ + U_y zₜ + b_y)

    Neither state can leave [-1, 1].
    Carry: LEMCarry(y [*B, H], z [*B, H]). Output: yₜ [*B, H]. Packing: 1, 2, z, y in W and b; 1, 2, z in the matrix
    `U_y` that meets y; `U_z` meets z. Parameters: 4H(I + H + 1).
    Init: everything ~ U[-1/√H, 1/√H].
    Differs from the paper: nothing; it tunes Δt, between 0 and 1, for each task. The authors' code has two biases
    where one is enough.
    Reference: Rusch et al. 2022, arXiv:2110.04744, equation 3; initial values as in the authors' code.

    Raises:
      ValueError: Δt outside (0, 1], where the states would not stay bounded.
    """
    H = hidden_size
    check_size(hidden_size=H)
    if not 0 < dt <= 1:
        raise ValueError(f"dt must be above 0 and at most 1, got {dt}")

    def init(key: Array, input_size: int) -> LEMParams:
        key_W, key_y, key_z, key_b = jax.random.split(key, 4)
        draw = symmetric_uniform(H**-0.5)
        return LEMParams(
            W=draw(key_W, (input_size, 4 * H)),
            U_y=draw(key_y, (H, 3 * H)),
            U_z=draw(key_z, (H, H)),
            b=draw(key_b, (4 * H,)),
        )

    def step(p: LEMParams, carry: LEMCarry, x: Array) -> tuple[LEMCarry, Array]:
        y, z = carry
        x_1, x_2, x_z, x_y = split(x, 4)
        y_1, y_2, y_z = split(recur(y, p.U_y), 3)
        step_z = name(dt * sigmoid(name(x_1 + y_1, "preactivation")), "time_step_z")
        step_y = name(dt * sigmoid(name(x_2 + y_2, "preactivation")), "time_step_y")
        z = (1 - step_z) * z + step_z * jnp.tanh(name(x_z + y_z, "preactivation"))
        y = (1 - step_y) * y + step_y * jnp.tanh(name(x_y + recur(z, p.U_z), "preactivation"))
        return LEMCarry(y, z), y

    return Cell(H, init, zero_carry(LEMCarry, H, H), affine, step)
