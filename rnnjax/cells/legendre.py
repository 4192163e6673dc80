"""Legendre memory units: the last θ steps of a signal as coefficients of Legendre polynomials."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, zero_carry, zeros
from rnnjax.initializers import glorot_uniform
from rnnjax.linear import advance_matrix

glorot_normal = jax.nn.initializers.glorot_normal()
lecun_uniform = jax.nn.initializers.lecun_uniform()


def legendre_system(order: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """(Ā [d, d], B̄ [d]) such that m <- Ā m + B̄ u keeps the last θ steps of u as d Legendre coefficients.

        θ m′(t) = A m(t) + B u(t)
        A_ij = (2i + 1) · (−1 for i < j, (−1)^(i−j+1) for i ≥ j),   B_i = (2i + 1) (−1)^i

    sampled with u held constant over a step of 1. u(t − r) is about Σᵢ P̃ᵢ(r / θ) mᵢ(t), P̃ᵢ the shifted Legendre
    polynomial of degree i.
    Source: Voelker, Kajić & Eliasmith 2019, equations 1 to 4.
    """
    from scipy.linalg import expm

    i = np.arange(order)
    row, column = np.meshgrid(i, i, indexing="ij")
    A = (2 * row + 1) * np.where(row < column, -1.0, (-1.0) ** (row - column + 1))
    B = (2 * i + 1) * (-1.0) ** i
    both = expm(np.block([[A, B[:, None]], [np.zeros((1, order + 1))]]) / theta)
    return both[:order, :order], both[:order, order]


def _check_memory(hidden_size: int, order: int, theta: float) -> None:
    check_size(hidden_size=hidden_size, order=order)
    if not 1 <= theta < float("inf"):
        raise ValueError(f"theta is a number of steps of at least 1, got {theta}")


class LMUParams(NamedTuple):
    e_x: Array  # [I, 1]
    e_h: Array  # [H, 1]
    e_m: Array  # [d, 1]
    W_x: Array  # [I, H]
    W_h: Array  # [H, H]
    W_m: Array  # [d, H]


class LMUCarry(NamedTuple):
    h: Array  # [*B, H]
    m: Array  # [*B, d]


class LMUSystem(NamedTuple):
    """What is prepared: parameters and the fixed system of the memory."""

    p: LMUParams
    A: Array  # [d, d], transposed
    B: Array  # [d]


@shown
def lmu(hidden_size: int, *, order: int = 16, theta: float = 100.0) -> Cell:
    """Legendre memory unit: a tanh network around a linear memory of the last θ steps.

        uₜ = e_xᵀ xₜ + e_hᵀ hₜ₋₁ + e_mᵀ mₜ₋₁
        mₜ = Ā mₜ₋₁ + B̄ uₜ                                       Ā, B̄ fixed: `legendre_system`
        hₜ = tanh(W_x xₜ + W_h hₜ₋₁ + W_m mₜ)

    theta: the length of the window in steps, for the memory to reach as far as the task asks; order: d, how finely.
    The state feeds back into the memory: not linear in time (`linear_lmu` is).
    Carry: LMUCarry(h [*B, H], m [*B, d]). Output: hₜ [*B, H]. Parameters: (I + H + d)(H + 1), no biases.
    Init: e_x and e_h LeCun uniform, e_m zero, W glorot normal.
    Differs from the paper: nothing.
    Reference: Voelker, Kajić & Eliasmith 2019, "Legendre memory units: continuous-time representation in recurrent
    neural networks", NeurIPS 32, equations 1 to 7.

    Raises:
      ValueError: sizes below 1, theta below 1.
    """
    H = hidden_size
    _check_memory(H, order, theta)
    A, B = legendre_system(order, theta)

    def init(key: Array, input_size: int) -> LMUParams:
        keys = jax.random.split(key, 5)
        return LMUParams(
            e_x=lecun_uniform(keys[0], (input_size, 1), jnp.float32),
            e_h=lecun_uniform(keys[1], (H, 1), jnp.float32),
            e_m=jnp.zeros((order, 1), jnp.float32),
            W_x=glorot_normal(keys[2], (input_size, H), jnp.float32),
            W_h=glorot_normal(keys[3], (H, H), jnp.float32),
            W_m=glorot_normal(keys[4], (order, H), jnp.float32),
        )

    def prepare(params: LMUParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> LMUSystem:
        del key, input_shape
        return LMUSystem(params, jnp.asarray(A.T, params.W_m.dtype), jnp.asarray(B, params.W_m.dtype))

    def project(system: LMUSystem, x: Array) -> tuple[Array, Array]:
        return dense(x, system.p.e_x), dense(x, system.p.W_x)

    def step(system: LMUSystem, carry: LMUCarry, z: Any) -> tuple[LMUCarry, Array]:
        p, A, B = system
        h, m = carry
        u_x, z = z
        u = name(u_x + recur(h, p.e_h) + recur(m, p.e_m), "preactivation")
        m = recur(m, A) + u * B
        h = jnp.tanh(name(z + recur(h, p.W_h) + recur(m, p.W_m), "preactivation"))
        return LMUCarry(h, m), h

    return Cell(H, init, zero_carry(LMUCarry, h=H, m=order), project, step, prepare)


class LinearLMUParams(NamedTuple):
    U_x: Array  # [I, K]
    b_u: Array  # [K]
    W_m: Array  # [K*d, H]
    W_x: Array  # [I, H]
    b_o: Array  # [H]


class LinearLMUSystem(NamedTuple):
    """What is prepared: parameters and the fixed system of the memory."""

    p: LinearLMUParams
    A: Array  # [d, d], transposed
    B: Array  # [d]


@shown
def linear_lmu(
    hidden_size: int,
    *,
    num_signals: int = 1,
    order: int = 16,
    theta: float = 100.0,
    input_activation: Callable[[Array], Array] = jax.nn.relu,
    output_activation: Callable[[Array], Array] = jax.nn.relu,
) -> Cell:
    """Legendre memory unit without feedback: a linear memory of K signals between two layers.

        uₜ = f₁(U_x xₜ + b_u)                                    K = num_signals
        mₜ = Ā mₜ₋₁ + B̄ uₜ                                       for each signal; Ā, B̄ fixed: `legendre_system`
        oₜ = f₂(W_m mₜ + W_x xₜ + b_o)

    theta, order: as in `lmu`.
    Linear in time: `unroll(method=Associative())`.
    Carry: m [*B, K, d]. Output: oₜ [*B, H]. Parameters: K(I + 1) + H(Kd + I + 1).
    Init: matrices glorot uniform, biases zero.
    Differs from the paper: nothing; it leaves f₁ and f₂ open.
    Reference: Chilkuri & Eliasmith 2021, "Parallelizing Legendre memory unit training", arXiv:2102.11417, section 3.

    Raises:
      ValueError: sizes below 1, theta below 1.
    """
    H = hidden_size
    _check_memory(H, order, theta)
    check_size(num_signals=num_signals)
    A, B = legendre_system(order, theta)

    def init(key: Array, input_size: int) -> LinearLMUParams:
        key_U, key_m, key_x = jax.random.split(key, 3)
        return LinearLMUParams(
            U_x=glorot_uniform(key_U, (input_size, num_signals), jnp.float32),
            b_u=jnp.zeros(num_signals, jnp.float32),
            W_m=glorot_uniform(key_m, (num_signals * order, H), jnp.float32),
            W_x=glorot_uniform(key_x, (input_size, H), jnp.float32),
            b_o=jnp.zeros(H, jnp.float32),
        )

    def initial_carry(params: LinearLMUParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, num_signals, order)

    def prepare(params: LinearLMUParams, key: Array | None = None, input_shape: tuple[int, ...] = ()):
        del key, input_shape
        return LinearLMUSystem(params, jnp.asarray(A.T, params.W_m.dtype), jnp.asarray(B, params.W_m.dtype))

    def project(system: LinearLMUSystem, x: Array) -> tuple[Array, Array]:
        p = system.p
        return dense(x, p.U_x) + p.b_u, dense(x, p.W_x) + p.b_o

    def step(system: LinearLMUSystem, m: Array, z: Any) -> tuple[Array, Array]:
        p, A, B = system
        z_u, z_o = z
        u = input_activation(name(z_u, "preactivation"))
        m = advance_matrix(m, A, u[..., None] * B)
        flat = m.reshape(*m.shape[:-2], num_signals * order)
        o = output_activation(name(z_o + recur(flat, p.W_m), "preactivation"))
        return m, o

    return Cell(H, init, initial_carry, project, step, prepare, linear=True)
