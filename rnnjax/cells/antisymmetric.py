"""Networks as differential equations, stepped by Euler's method, whose matrices are (nearly) antisymmetric."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_positive, check_size, name, recur, shown, split, zero_carry
from rnnjax.cells.isometries import skew, skew_size
from rnnjax.initializers import Bias, GateParams, bias as init_bias, check_bias, per_gate

normal_by_inputs = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class AntisymmetricParams(NamedTuple):
    W: Array  # [I, H], or [I, 2H] with a gate
    A: Array  # [H(H-1)/2] above the diagonal of an antisymmetric matrix
    b: Array  # [H], or [2H] with a gate


class LipschitzParams(NamedTuple):
    W: Array  # [I, H]
    M_A: Array  # [H, H] of the linear part
    M_U: Array  # [H, H] of the nonlinear part
    b: Array  # [H]


@shown
def antisymmetric(
    hidden_size: int, *, epsilon: float = 0.01, gamma: float = 0.01, sigma: float = 1.0, bias: Bias = 0.0
) -> Cell:
    """Antisymmetric network: a differential equation that neither grows nor fades.

        hₜ = hₜ₋₁ + ε tanh(W xₜ + (A - γI) hₜ₋₁ + b)             A = -A'

    The eigenvalues of A - γI have the real part -γ: the diffusion γ makes up for what Euler's step ε adds.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + 1) + H(H - 1)/2.
    Init: W ~ N(0, 1/I), A above its diagonal ~ N(0, σ²/H), b zero.
    Differs from the paper: nothing in the equation; the paper tunes ε, γ and σ for each task.
    Reference: Chang et al. 2019, arXiv:1902.09689, equation 12.

    Raises:
      ValueError: a step ε or a σ that is not above 0.
    """
    check_bias(bias=bias)
    return _antisymmetric(hidden_size, epsilon, gamma, sigma, (bias,))


@shown
def antisymmetric_gated(
    hidden_size: int,
    *,
    epsilon: float = 0.01,
    gamma: float = 0.01,
    sigma: float = 1.0,
    update_bias: Bias = 0.0,
    bias: Bias = 0.0,
) -> Cell:
    """Antisymmetric network with a gate.

        zₜ = σ(W_z xₜ + (A - γI) hₜ₋₁ + b_z)                     z = 1 writes
        hₜ = hₜ₋₁ + ε zₜ ⊙ tanh(W_h xₜ + (A - γI) hₜ₋₁ + b_h)    A = -A'

    The gate shares the matrix, and with it the shape of the Jacobian: a diagonal times an antisymmetric matrix.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: z, h. Parameters: 2H(I + 1) + H(H - 1)/2.
    Init: as `antisymmetric`, b_z zero.
    Differs from the paper: nothing in the equations; the paper tunes ε, γ and σ for each task.
    Reference: Chang et al. 2019, arXiv:1902.09689.

    Raises:
      ValueError: a step ε or a σ that is not above 0.
    """
    check_bias(update_bias=update_bias, bias=bias)
    return _antisymmetric(hidden_size, epsilon, gamma, sigma, (update_bias, bias))


@shown
def lipschitz(
    hidden_size: int,
    *,
    epsilon: float = 0.03,
    beta: float = 0.75,
    gamma: float = 0.001,
    sigma: float = 0.1**0.5,
    bias: Bias = 0.0,
) -> Cell:
    """Lipschitz network: a linear part beside the nonlinear one, each between symmetric and antisymmetric.

        hₜ = hₜ₋₁ + ε (A hₜ₋₁ + tanh(W xₜ + U hₜ₋₁ + b))
        A = (1 - β)(M_A + M_A') + β(M_A - M_A') - γI,   U likewise of M_U

    The symmetric part of A is (1 - β)(M_A + M_A') - γI: at β = 1 all eigenvalues have the real part -γ.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + 1) + 2H².
    Init: W glorot normal, M_A and M_U ~ N(0, σ²/H), b zero.
    Differs from the paper: β and γ are the same for A and U, as in the authors' code; all constants are tuned there for
    each task.
    Reference: Erichson et al. 2021, arXiv:2006.12070.

    Raises:
      ValueError: β outside [1/2, 1], the range of the paper; a step ε or a σ that is not above 0.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)
    check_positive(epsilon=epsilon, sigma=sigma)
    if not 0.5 <= beta <= 1:
        raise ValueError(f"beta, the antisymmetric share, must lie between 0.5 and 1, got {beta}")

    def init(key: Array, input_size: int) -> LipschitzParams:
        key_W, key_A, key_U, key_b = jax.random.split(key, 4)
        normal = jax.nn.initializers.normal(sigma / H**0.5)
        return LipschitzParams(
            W=jax.nn.initializers.glorot_normal()(key_W, (input_size, H), jnp.float32),
            M_A=normal(key_A, (H, H), jnp.float32),
            M_U=normal(key_U, (H, H), jnp.float32),
            b=init_bias(bias, key_b, H),
        )

    def damped(M: Array) -> Array:
        return (1 - beta) * (M + M.T) + beta * (M - M.T) - gamma * jnp.eye(H, dtype=M.dtype)

    def prepare(params: LipschitzParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> GateParams:
        return GateParams(params.W, jnp.concatenate([damped(params.M_A), damped(params.M_U)], axis=1), params.b)

    def step(p: GateParams, h: Array, z: Array) -> tuple[Array, Array]:
        Ah, Uh = split(recur(h, p.U), 2)
        h = h + epsilon * (name(Ah, "preactivation") + jnp.tanh(name(z + Uh, "preactivation")))
        return h, h

    return Cell(H, init, zero_carry(H), affine, step, prepare)


def _antisymmetric(hidden_size: int, epsilon: float, gamma: float, sigma: float, biases: tuple[Bias, ...]) -> Cell:
    H = hidden_size
    check_size(hidden_size=H)
    check_positive(epsilon=epsilon, sigma=sigma)
    gated = len(biases) == 2

    def init(key: Array, input_size: int) -> AntisymmetricParams:
        key_W, key_A, *keys_b = jax.random.split(key, 2 + len(biases))
        return AntisymmetricParams(
            W=per_gate(normal_by_inputs, key_W, input_size, H, len(biases)),
            A=sigma / H**0.5 * jax.random.normal(key_A, (skew_size(H),), jnp.float32),
            b=jnp.concatenate([init_bias(value, k, H) for value, k in zip(biases, keys_b, strict=True)]),
        )

    def prepare(params: AntisymmetricParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> GateParams:
        U = skew(params.A, H) - gamma * jnp.eye(H, dtype=params.A.dtype)
        return GateParams(params.W, U, params.b)

    def step(p: GateParams, h: Array, z: Array) -> tuple[Array, Array]:
        h = h + epsilon * jnp.tanh(name(z + recur(h, p.U), "preactivation"))
        return h, h

    def gated_step(p: GateParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_z, z_h = split(z, 2)
        u = recur(h, p.U)
        z = name(jax.nn.sigmoid(name(z_z + u, "preactivation")), "update_gate")
        h = h + epsilon * z * jnp.tanh(name(z_h + u, "preactivation"))
        return h, h

    return Cell(H, init, zero_carry(H), affine, gated_step if gated else step, prepare)
