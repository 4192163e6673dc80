"""Matrices that keep lengths, made of free numbers: by Cayley transform, exponential or rotations of two axes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.cell import Array, check_size

# --- skew-symmetric matrices ------------------------------------------------------------------------------------------


def skew_size(size: int) -> int:
    """Free numbers of a skew-symmetric matrix [size, size]."""
    return size * (size - 1) // 2


def skew(upper: Array, size: int) -> Array:
    """A = -A' [size, size] from its entries above the diagonal, row by row."""
    A = jnp.zeros((size, size), upper.dtype).at[_above(size)].set(upper)
    return A - A.T


def skew_blocks(angles: Array, size: int) -> Array:
    """The entries above the diagonal of a skew-symmetric matrix with blocks [[0, s], [-s, 0]] on its diagonal.

    Its exponential turns the plane of each block by the angle s. An odd size leaves the last axis alone.
    """
    first = 2 * np.arange(size // 2, dtype=np.int32)
    A = jnp.zeros((size, size), angles.dtype).at[first, first + 1].set(angles)
    return A[_above(size)]


def _above(size: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.triu_indices(size, 1)
    return rows.astype(np.int32), columns.astype(np.int32)


def henaff_angles(key: Array, count: int) -> Array:
    """s ~ U[-π, π] (Henaff, Szlam & LeCun 2016, arXiv:1602.06662)."""
    return jax.random.uniform(key, (count,), jnp.float32, -jnp.pi, jnp.pi)


def cayley_angles(key: Array, count: int) -> Array:
    """s = -√((1 - cos φ) / (1 + cos φ)) = -tan(φ/2), φ ~ U[0, π/2]: the Cayley transform then turns by φ.

    Source: Helfrich, Willmott & Ye 2018, arXiv:1707.09520.
    """
    return -jnp.tan(jax.random.uniform(key, (count,), jnp.float32, 0.0, jnp.pi / 2) / 2)


# --- from skew-symmetric to orthogonal --------------------------------------------------------------------------------


def cayley(A: Array) -> Array:
    """(I + A)⁻¹ (I - A): every rotation without an eigenvalue -1, from A = -A'."""
    eye = jnp.eye(A.shape[0], dtype=A.dtype)
    return jnp.linalg.solve(eye + A, eye - A)


def exponential(A: Array) -> Array:
    """exp(A) for a skew-symmetric or skew-Hermitian A: every rotation, or every unitary matrix.

    The diagonal Padé approximant of order 7 of exp(A/4), squared twice. It is exp(A) to float32 precision where no
    eigenvalue is above 16 in absolute value (to 1e-10 up to 8); π is enough for every rotation. Beyond, it is another
    matrix but still a unitary one, as a diagonal approximant of such an A is: to 1e-6 in float32 up to 40. Without the
    branches and the loop of a general `expm` it takes less than half the time to compile and to run.
    """
    A = A / 4
    eye = jnp.eye(A.shape[0], dtype=A.dtype)
    A2 = A @ A
    A4 = A2 @ A2
    A6 = A4 @ A2
    odd = A @ (A6 + 1512 * A4 + 277200 * A2 + 8648640 * eye)
    even = 56 * A6 + 25200 * A4 + 1995840 * A2 + 17297280 * eye
    quarter = jnp.linalg.solve(even - odd, even + odd)
    half = quarter @ quarter
    return half @ half


# --- products of rotations of two axes --------------------------------------------------------------------------------


class Layers(NamedTuple):
    """Layers of rotations, in each of which an axis is turned with one other or left alone; all [num_layers, size]."""

    partner: np.ndarray  # the other axis, or itself
    first: np.ndarray  # whether the axis is the lower one of its pair
    angle: np.ndarray  # position of the pair among all angles
    num_angles: int


def rotation_layers(size: int, capacity: int | None) -> Layers:
    """`capacity` layers of neighbours, pairs (0, 1), (2, 3), ... and (1, 2), (3, 4), ... in turn; or, with None, the
    log₂(size) layers of a fast Fourier transform, pairs (i, i + 2ᵏ). A partner beyond the last axis is left out.
    """
    axis = np.arange(size)
    if capacity is None:
        partners = [axis ^ (1 << k) for k in range((size - 1).bit_length())]
    else:
        check_size(capacity=capacity)
        partners = [axis ^ 1 if layer % 2 == 0 else ((axis + 1) ^ 1) - 1 for layer in range(capacity)]
    partner = np.array(partners, int).reshape(len(partners), size)
    partner = np.where((partner < 0) | (partner >= size), axis, partner)
    first = partner > axis
    count = (np.cumsum(first) - 1).reshape(first.shape)
    angle = np.where(first, count, np.take_along_axis(count, partner, axis=1))
    angle = np.where(partner == axis, 0, angle)
    return Layers(partner.astype(np.int32), first, angle.astype(np.int32), int(first.sum()))


def rotations(layers: Layers, theta: Array, phi: Array | None = None) -> Array:
    """The product of all layers as a matrix U [size, size] for h @ U, from one angle (or two) for each pair.

    hᵢ, hⱼ ← e^{iφ} (cos θ hᵢ - sin θ hⱼ), sin θ hᵢ + cos θ hⱼ          for each pair i < j, layer by layer
    """
    size = layers.partner.shape[1]
    if layers.num_angles == 0:
        return jnp.eye(size, dtype=theta.dtype)
    alone = layers.partner == np.arange(size)
    theta = theta[layers.angle]
    diagonal = jnp.where(alone, 1, jnp.cos(theta))
    other = jnp.where(alone, 0, jnp.where(layers.first, -jnp.sin(theta), jnp.sin(theta)))
    if phi is not None:
        phase = jnp.exp(1j * jnp.where(layers.first, phi[layers.angle], 0))
        diagonal, other = phase * diagonal, phase * other

    def layer(h: Array, one: Any) -> tuple[Array, None]:
        partner, diagonal, other = one
        return h * diagonal + h[:, partner] * other, None

    return jax.lax.scan(layer, jnp.eye(size, dtype=diagonal.dtype), (layers.partner, diagonal, other))[0]


# --- complex numbers as pairs of real ones ----------------------------------------------------------------------------


def real_form(U: Array) -> Array:
    """[[Re U, Im U], [-Im U, Re U]]: [Re h, Im h] @ real_form(U) is [Re, Im] of h @ U."""
    return jnp.block([[U.real, U.imag], [-U.imag, U.real]])


def mod_relu(z: Array, b: Array) -> Array:
    """max(0, |z| + b) z/|z| for real z, 0 at 0 (Arjovsky, Shah & Bengio 2016, arXiv:1511.06464)."""
    return jnp.sign(z) * jax.nn.relu(jnp.abs(z) + b)


def mod_relu_pairs(z: Array, b: Array) -> Array:
    """`mod_relu` of complex z given as [Re z, Im z] [..., 2H], b [H]."""
    real, imaginary = jnp.split(z, 2, axis=-1)
    square = real**2 + imaginary**2
    size = jnp.sqrt(jnp.where(square > 0, square, 1))
    scale = jnp.where(square > 0, jax.nn.relu(size + b) / size, 0)
    return z * jnp.concatenate([scale, scale], axis=-1)
