"""Networks whose recurrent matrix is orthogonal, or in one of them a step away from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.cells.isometries import (
    cayley,
    cayley_angles,
    exponential,
    henaff_angles,
    mod_relu,
    rotation_layers,
    rotations,
    skew,
    skew_blocks,
)
from rnnjax.errors import unknown
from rnnjax.initializers import Bias, GateParams, Uniform, bias as init_bias, check_bias, symmetric_uniform

sigmoid = jax.nn.sigmoid
SMALL = Uniform(-0.01, 0.01)
ANGLES = {"henaff": henaff_angles, "cayley": cayley_angles}


class OrthogonalParams(NamedTuple):
    W: Array  # [I, H]
    A: Array  # [H(H-1)/2] above the diagonal of a skew-symmetric matrix
    b: Array  # [H] of modReLU


class NNRNNParams(NamedTuple):
    W: Array  # [I, H]
    A: Array  # [H(H-1)/2] above the diagonal of a skew-symmetric matrix, P = exp(A)
    theta: Array  # [H//2] angles of the 2 x 2 blocks
    T: Array  # what stands above the blocks
    b: Array  # [H] of modReLU
    gamma: Array | None = None  # [H//2] lengths of the blocks, where they are learned


class GORUParams(NamedTuple):
    W: Array  # [I, 3H]
    U: Array  # [H, 2H] of the gates
    theta: Array  # [P] angles of the orthogonal matrix
    b: Array  # [3H], the last third of modReLU


@shown
def exprnn(hidden_size: int, *, angles: str = "henaff", bias: Bias = SMALL) -> Cell:
    """Orthogonal network by the exponential of a skew-symmetric matrix.

        hₜ = modReLU(W xₜ + U hₜ₋₁; b)           U = exp(A),  A = -A'

    where modReLU(z; b) = sign(z) max(0, |z| + b). U is any rotation.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + 1) + H(H - 1)/2.
    Init: W he normal, b ~ U(-0.01, 0.01), A block-diagonal with blocks [[0, s], [-s, 0]]: s ~ U[-π, π] with
    `angles="henaff"`, s = -√((1 - cos φ) / (1 + cos φ)), φ ~ U[0, π/2], with "cayley".
    Differs from the paper: the gradient comes from differentiating an approximation that is itself orthogonal
    (`isometries.exponential`); the authors differentiate the exponential by its Fréchet derivative. One learning rate
    for all parameters, where theirs is smaller for A.
    Reference: Lezcano-Casado & Martínez-Rubio 2019, arXiv:1901.08428; initial values as in the authors' code.

    Raises:
      ValueError: unknown angles.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)
    init = _init(H, angles, bias, jax.nn.initializers.he_normal())
    return _orthogonal(H, init, lambda params: exponential(skew(params.A, H)))


@shown
def scornn(hidden_size: int, *, negative: int | None = None, angles: str = "cayley", bias: Bias = 0.0) -> Cell:
    """Orthogonal network by the scaled Cayley transform.

        hₜ = modReLU(W xₜ + U hₜ₋₁; b)           U = (I + A)⁻¹ (I - A) D,  A = -A',  D = diag(1, ..., 1, -1, ..., -1)

    D, fixed, has `negative` entries -1: with the right number U is any orthogonal matrix, with A of moderate size.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + 1) + H(H - 1)/2.
    Init: W ~ U(-0.01, 0.01), b zero, A block-diagonal with blocks [[0, s], [-s, 0]], s = -√((1 - cos φ)/(1 + cos φ)),
    φ ~ U[0, π/2] (`angles="cayley"`; "henaff" takes s ~ U[-π, π]), so that before D acts each block turns by φ.
    Differs from the paper: the number of negative entries is H/2 unless given, which the authors chose for the copying
    task, and H/10 for MNIST by pixels. One learning rate for all parameters, where theirs is smaller for A.
    Reference: Helfrich, Willmott & Ye 2018, arXiv:1707.09520; initial values as in the authors' code.

    Raises:
      ValueError: unknown angles; a number of negative entries below 0 or above H.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)
    count = H // 2 if negative is None else negative
    if not isinstance(count, int) or not 0 <= count <= H:
        raise ValueError(f"negative, the number of entries -1, must be a whole number from 0 to {H}, got {negative!r}")
    signs = np.where(np.arange(H) < H - count, 1, -1)
    return _orthogonal(
        H, _init(H, angles, bias, symmetric_uniform(0.01)), lambda params: cayley(skew(params.A, H)) * signs
    )


@shown
def nnrnn(hidden_size: int, *, learn_gamma: bool = False, angles: str = "henaff", bias: Bias = SMALL) -> Cell:
    """Non-normal network: eigenvalues on the circle, eigenvectors free.

        hₜ = modReLU(W xₜ + U hₜ₋₁; b)           U = P (Λ + T) P',  P = exp(A),  A = -A'

    the real Schur form of U: Λ has 2 x 2 blocks γ [[cos θ, -sin θ], [sin θ, cos θ]] on its diagonal (and a last 1 where
    H is odd), T stands above the blocks. U has the eigenvalues γ e^{±iθ}, and is orthogonal where γ = 1 and T = 0.
    Carry: h [*B, H]. Output: hₜ [*B, H].
    Parameters: H(I + 1) + H(H - 1)/2 for P, H//2 for θ, H(H - 1)/2 - H//2 for T; H//2 more with `learn_gamma`.
    Init: W glorot normal, b ~ U(-0.01, 0.01), A as in `exprnn`, θ ~ U[0, 2π], γ = 1, T zero.
    Differs from the paper: γ stays 1 unless `learn_gamma`; the paper learns it under a penalty δ‖γ - 1‖², which is for
    the loss to add. Gradients of A as in `exprnn`.
    Reference: Kerg et al. 2019, arXiv:1905.12080; initial values as in the authors' code.

    Raises:
      ValueError: unknown angles.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)
    plain = _init(H, angles, bias, jax.nn.initializers.glorot_normal())
    first = 2 * np.arange(H // 2, dtype=np.int32)
    rows, columns = np.triu_indices(H, 1)
    outside = (rows % 2 == 1) | (columns != rows + 1)
    above = rows[outside].astype(np.int32), columns[outside].astype(np.int32)

    def init(key: Array, input_size: int) -> NNRNNParams:
        key_plain, key_theta = jax.random.split(key)
        W, A, b = plain(key_plain, input_size)
        theta = jax.random.uniform(key_theta, (H // 2,), jnp.float32, 0.0, 2 * jnp.pi)
        gamma = jnp.ones(H // 2, jnp.float32) if learn_gamma else None
        return NNRNNParams(W, A, theta, jnp.zeros(len(above[0]), jnp.float32), b, gamma)

    def matrix(params: NNRNNParams) -> Array:
        gamma = 1 if params.gamma is None else params.gamma
        cos, sin = gamma * jnp.cos(params.theta), gamma * jnp.sin(params.theta)
        schur = jnp.zeros((H, H), params.theta.dtype).at[above].set(params.T)
        schur = schur.at[first, first].set(cos).at[first, first + 1].set(-sin)
        schur = schur.at[first + 1, first].set(sin).at[first + 1, first + 1].set(cos)
        if H % 2:
            schur = schur.at[H - 1, H - 1].set(1)
        P = exponential(skew(params.A, H))
        return P @ schur @ P.T

    return _orthogonal(H, init, matrix)


@shown
def goru(hidden_size: int, *, capacity: int | None = None, reset_bias: Bias = 2.0, update_bias: Bias = 0.0) -> Cell:
    """Gated orthogonal recurrent unit: a GRU whose candidate turns the state by an orthogonal matrix.

        rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)                          r = 1 lets the past into the candidate
        zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)                          z = 1 keeps
        nₜ = modReLU(W_n xₜ + rₜ ⊙ (U_n hₜ₋₁); b_n)              U_n orthogonal
        hₜ = (1 - zₜ) ⊙ nₜ + zₜ ⊙ hₜ₋₁

    U_n is a product of layers of rotations of two axes: those of a fast Fourier transform, or with `capacity` that many
    layers of neighbours, as in `eunn` with φ = 0.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: r, z, n.
    Parameters: 3H(I + 1) + 2H² + P, P pairs: H/2 log₂ H for an H that is a power of 2; (H - 1) L/2 for an even
    capacity L.
    Init: W, U_r and U_z ~ U(-0.01, 0.01), angles ~ U[-π, π], b_r = 2, b_z = 0, b_n = 0.01.
    Differs from the paper: U_n is multiplied out once per sequence, as in `eunn`, and H need not be a power of 2.
    Reference: Jing et al. 2017, arXiv:1706.02761; initial values as in the authors' code.

    Raises:
      ValueError: a capacity below 1.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(reset_bias=reset_bias, update_bias=update_bias)
    layers = rotation_layers(H, capacity)
    small = symmetric_uniform(0.01)

    def init(key: Array, input_size: int) -> GORUParams:
        key_W, key_U, key_theta, *keys_b = jax.random.split(key, 6)
        biases = [init_bias(value, k, H) for value, k in zip((reset_bias, update_bias, 0.01), keys_b, strict=True)]
        theta = jax.random.uniform(key_theta, (layers.num_angles,), jnp.float32, -jnp.pi, jnp.pi)
        return GORUParams(small(key_W, (input_size, 3 * H)), small(key_U, (H, 2 * H)), theta, jnp.concatenate(biases))

    def prepare(params: GORUParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> GateParams:
        U_n = rotations(layers, params.theta)
        return GateParams(params.W, jnp.concatenate([params.U, U_n], axis=1), params.b)

    def step(p: GateParams, h: Array, z: Array) -> tuple[Array, Array]:
        b_r, b_z, b_n = split(p.b, 3)
        z_r, z_z, z_n = split(z, 3)
        u_r, u_z, u_n = split(recur(h, p.U), 3)
        r = name(sigmoid(name(z_r + u_r + b_r, "preactivation")), "reset_gate")
        z = name(sigmoid(name(z_z + u_z + b_z, "preactivation")), "update_gate")
        n = mod_relu(z_n + r * name(u_n, "preactivation"), b_n)
        h = (1 - z) * n + z * h
        return h, h

    return Cell(H, init, zero_carry(H), _project, step, prepare)


def _init(H: int, angles: str, bias: Bias, kernel_init: Callable) -> Callable[..., OrthogonalParams]:
    if angles not in ANGLES:
        raise ValueError(unknown("angles", angles, ANGLES))

    def init(key: Array, input_size: int) -> OrthogonalParams:
        key_W, key_A, key_b = jax.random.split(key, 3)
        A = skew_blocks(ANGLES[angles](key_A, H // 2), H)
        return OrthogonalParams(kernel_init(key_W, (input_size, H), jnp.float32), A, init_bias(bias, key_b, H))

    return init


def _orthogonal(H: int, init: Callable, matrix: Callable[[Any], Array]) -> Cell:
    """hₜ = modReLU(W xₜ + U hₜ₋₁; b) with U = matrix(params), made once per sequence."""

    def prepare(params: Any, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> GateParams:
        return GateParams(params.W, matrix(params), params.b)

    def step(p: GateParams, h: Array, z: Array) -> tuple[Array, Array]:
        h = mod_relu(name(z + recur(h, p.U), "preactivation"), p.b)
        return h, h

    return Cell(H, init, zero_carry(H), _project, step, prepare)


def _project(p: GateParams, x: Array) -> Array:
    return dense(x, p.W)
