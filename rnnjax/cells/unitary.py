"""Networks whose recurrent matrix is unitary: complex states that turn and keep their length.

A complex state of H units is carried as 2H real numbers, [Re h, Im h], which is also what the papers read out.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, zero_carry
from rnnjax.cells.isometries import exponential, mod_relu_pairs, real_form, rotation_layers, rotations
from rnnjax.initializers import Bias, GateParams, Uniform, bias as init_bias, check_bias, glorot_uniform, per_gate

SMALL = Uniform(-0.01, 0.01)


class URNNParams(NamedTuple):
    W: Array  # [I, 2H] to [Re, Im]
    d: Array  # [3, H] angles of the diagonals D1, D2, D3
    v: Array  # [2, 2, H] reflection vectors of R1 and R2, [Re, Im] each
    b: Array  # [H] of modReLU
    h0: Array  # [2H]


class UnitaryParams(NamedTuple):
    W: Array  # [I, 2H] to [Re, Im]
    A: Array  # [H, H], any numbers
    b: Array  # [H] of modReLU
    h0: Array  # [2H]


class EUNNParams(NamedTuple):
    W: Array  # [I, 2H] to [Re, Im]
    theta: Array  # [P] one for each pair of axes
    phi: Array  # [P]
    d: Array  # [H] angles of the last diagonal
    b: Array  # [H] of modReLU


@shown
def urnn(hidden_size: int, *, bias: Bias = 0.0, permutation_seed: int = 0) -> Cell:
    """Unitary evolution network: a unitary matrix as a product of eight simple ones.

        hₜ = modReLU(V xₜ + U hₜ₋₁; b)           U = D₃ R₂ F⁻¹ D₂ Π R₁ F D₁,   h complex
        D = diag(e^{id}),  R = I - 2 v v*/‖v‖²,  F the unitary Fourier transform,  Π a fixed permutation
        modReLU(z; b) = max(0, |z| + b) z/|z|

    A step costs O(H log H), as the eight act one after the other and no matrix is ever formed.
    Carry: [Re h, Im h] [*B, 2H], which starts as the learned h0. Output: [Re hₜ, Im hₜ] [*B, 2H].
    Parameters: 2HI + 10H.
    Init: W glorot uniform, d ~ U[-π, π], v ~ U[-1, 1], b zero, h0 ~ U[-√(3/2H), √(3/2H)], of expected norm 1. The
    authors' code draws b from U(-0.01, 0.01) (`bias`).
    Differs from the paper: Π is drawn from `permutation_seed`, the same for every initialisation.
    Reference: Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, section 4.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)
    permutation = np.random.default_rng(permutation_seed).permutation(H).astype(np.int32)

    def init(key: Array, input_size: int) -> URNNParams:
        key_W, key_d, key_v, key_b, key_h = jax.random.split(key, 5)
        return URNNParams(
            W=per_gate(glorot_uniform, key_W, input_size, H, 2),
            d=jax.random.uniform(key_d, (3, H), jnp.float32, -jnp.pi, jnp.pi),
            v=jax.random.uniform(key_v, (2, 2, H), jnp.float32, -1.0, 1.0),
            b=init_bias(bias, key_b, H),
            h0=_initial(key_h, H, (1.5 / H) ** 0.5),
        )

    def prepare(params: URNNParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> URNNParams:
        v = jax.lax.complex(params.v[:, 0], params.v[:, 1])
        v = v / jnp.sqrt(jnp.sum(params.v**2, axis=(1, 2)))[:, None]
        return params._replace(d=jnp.exp(1j * params.d), v=v)

    def step(p: URNNParams, h: Array, z: Array) -> tuple[Array, Array]:
        h = jax.lax.complex(h[..., :H], h[..., H:])
        h = _reflected(jnp.fft.fft(p.d[0] * h, norm="ortho"), p.v[0])
        h = _reflected(jnp.fft.ifft(p.d[1] * h[..., permutation], norm="ortho"), p.v[1])
        h = p.d[2] * h
        h = mod_relu_pairs(name(z + jnp.concatenate([h.real, h.imag], axis=-1), "preactivation"), p.b)
        return h, h

    return Cell(2 * H, init, _learned, _project, step, prepare)


@shown
def full_capacity_urnn(hidden_size: int, *, bias: Bias = SMALL) -> Cell:
    """Unitary network of full capacity: any unitary matrix.

        hₜ = modReLU(V xₜ + U hₜ₋₁; b)           U = exp(K),  K = (A - A')/2 + i (A + A')/2,   h complex

    Carry: [Re h, Im h] [*B, 2H], which starts as the learned h0. Output: [Re hₜ, Im hₜ] [*B, 2H].
    Parameters: 2HI + H² + 3H, H² being the dimension of the unitary group.
    Init: W glorot uniform, U with random eigenvectors and eigenvalues uniform on the circle, b and h0 ~ U(-0.01, 0.01).
    Differs from the paper: it takes U itself as the parameter and moves it along the group by a Cayley transform of the
    gradient, with a learning rate of its own; here gradients are those of A, for any optimizer, and U is made of A once
    per sequence. The paper's first U is a random matrix with its singular values set to 1, whose eigenvalues keep more
    even distances on the circle.
    Reference: Wisdom et al. 2016, arXiv:1611.00035, equations 8 and 9 (the update); initial values as in the authors'
    code.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)

    def init(key: Array, input_size: int) -> UnitaryParams:
        key_W, key_A, key_b, key_h = jax.random.split(key, 4)
        key_vectors, key_angles = jax.random.split(key_A)
        vectors = jnp.linalg.qr(jax.random.normal(key_vectors, (H, H), jnp.complex64))[0]
        angles = jax.random.uniform(key_angles, (H,), jnp.float32, -jnp.pi, jnp.pi)
        K = (vectors * (1j * angles)) @ vectors.conj().T
        return UnitaryParams(
            W=per_gate(glorot_uniform, key_W, input_size, H, 2),
            A=K.real + K.imag,
            b=init_bias(bias, key_b, H),
            h0=_initial(key_h, H, 0.01),
        )

    def prepare(params: UnitaryParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> GateParams:
        K = jax.lax.complex(params.A - params.A.T, params.A + params.A.T) / 2
        return GateParams(params.W, real_form(exponential(K)), params.b)

    return Cell(2 * H, init, _learned, _project, _step, prepare)


@shown
def eunn(hidden_size: int, *, capacity: int | None = 2, bias: Bias = -0.01) -> Cell:
    """Efficient unitary network: a unitary matrix as layers of rotations of two axes.

        hₜ = modReLU(V xₜ + U hₜ₋₁; b)           U = diag(e^{id}) F_L ... F₂ F₁,   h complex

    where a layer F turns the axes pair by pair, by [[e^{iφ} cos θ, -e^{iφ} sin θ], [sin θ, cos θ]]: in turn the pairs
    (0, 1), (2, 3), ... and (1, 2), (3, 4), ..., `capacity` layers in all (H of them reach every unitary matrix); or,
    with capacity None, the log₂ H layers of a fast Fourier transform.
    Carry: [Re h, Im h] [*B, 2H]. Output: [Re hₜ, Im hₜ] [*B, 2H].
    Parameters: 2HI + 2H + 2P, P pairs: (H - 1) L/2 for an even L; H/2 log₂ H with capacity None and H a power of 2.
    Init: W ~ U(-0.01, 0.01), all angles ~ U[-π, π], b = -0.01.
    Differs from the paper: U is multiplied out once per sequence, so that a step costs O(H²) whatever the capacity
    and not O(H L). Axes without a partner stay, so that any size will do; the authors' code asks for even ones, and
    draws its angles from U(-0.01, 0.01).
    Reference: Jing et al. 2017, arXiv:1612.05231, section 4; initial values as in the authors' code.

    Raises:
      ValueError: a capacity below 1.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)
    layers = rotation_layers(H, capacity)
    P = layers.num_angles

    def init(key: Array, input_size: int) -> EUNNParams:
        key_W, key_angles, key_b = jax.random.split(key, 3)
        angles = jax.random.uniform(key_angles, (2 * P + H,), jnp.float32, -jnp.pi, jnp.pi)
        theta, phi, d = jnp.split(angles, [P, 2 * P])
        W = jax.random.uniform(key_W, (input_size, 2 * H), jnp.float32, -0.01, 0.01)
        return EUNNParams(W, theta, phi, d, init_bias(bias, key_b, H))

    def prepare(params: EUNNParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> GateParams:
        U = rotations(layers, params.theta, params.phi) * jnp.exp(1j * params.d)
        return GateParams(params.W, real_form(U), params.b)

    return Cell(2 * H, init, zero_carry(2 * H), _project, _step, prepare)


def _initial(key: Array, size: int, bound: float) -> Array:
    return jax.random.uniform(key, (2 * size,), jnp.float32, -bound, bound)


def _learned(params: URNNParams | UnitaryParams, batch_shape: tuple[int, ...] = ()) -> Array:
    """The initial_carry of a cell that learns its first state."""
    return jnp.broadcast_to(params.h0, (*batch_shape, *params.h0.shape))


def _project(p: URNNParams | GateParams, x: Array) -> Array:
    return dense(x, p.W)


def _step(p: GateParams, h: Array, z: Array) -> tuple[Array, Array]:
    h = mod_relu_pairs(name(z + recur(h, p.U), "preactivation"), p.b)
    return h, h


def _reflected(h: Array, v: Array) -> Array:
    """h - 2 (v* h) v for complex h [..., H] and v [H] of length 1."""
    return h - 2 * jnp.sum(v.conj() * h, axis=-1, keepdims=True) * v
