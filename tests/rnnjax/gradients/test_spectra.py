"""Jacobians and Lyapunov exponents against what is known of them."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import elman, gru, stack
from rnnjax.cell import Array, Cell
from rnnjax.gradients import (
    gradient_by_lag,
    growth_rate,
    jacobian_spectrum,
    lyapunov_spectrum,
    mean_by_lag,
    quantiles,
    state_size,
)
from rnnjax.gradients.products import graded, log_norm, log_singular_values, orthonormalised, times


def linear(U) -> Cell:
    """h' = h U + x."""
    U = np.asarray(U)
    size, dtype = len(U), U.dtype
    return Cell(
        output_size=size,
        init=lambda key, input_size: jnp.asarray(U),
        initial_carry=lambda params, batch_shape: jnp.zeros((*batch_shape, size), dtype),
        project=lambda p, x: x,
        step=lambda p, h, x: (h @ p + x, h @ p + x),
    )


def rotation(rng, size):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


# --- products of matrices --------------------------------------------------------------------------------------------


def product_of(matrices, dtype=jnp.float32):
    def one(product, A):
        return times(A @ product.Q, product), None

    start = graded(jnp.eye(matrices.shape[-1], dtype=dtype))
    product, _ = jax.lax.scan(one, start, jnp.asarray(matrices, dtype))
    return log_singular_values(product), log_norm(product)


def test_orthonormal_columns_and_a_triangle():
    A = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    A[:, 3] = A[:, 0] - 2 * A[:, 1]  # nothing is left of it
    Q, R = jax.jit(orthonormalised)(A)
    np.testing.assert_allclose(Q @ R, A, atol=1e-6)
    np.testing.assert_allclose(Q.T @ Q, np.diag([1.0, 1, 1, 0, 1]), atol=1e-6)
    assert R[3, 3] == 0
    np.testing.assert_array_equal(np.tril(R, -1), 0)


def test_singular_values_of_a_long_product_far_below_float32():
    """A hundred matrices with the singular values 1 .. e^-3, each in the basis the one before it leaves."""
    rng = np.random.default_rng(0)
    single = np.linspace(0, -3, 8)
    bases = [rotation(rng, 8) for _ in range(101)]
    matrices = np.stack([b @ np.diag(np.exp(single)) @ a.T for a, b in itertools.pairwise(bases)])
    values, norm = jax.jit(product_of)(matrices)
    np.testing.assert_allclose(values, 100 * single, atol=1e-3)
    np.testing.assert_allclose(norm, 0.0, atol=1e-4)  # the others are nothing beside the first


def test_singular_values_of_a_short_product_are_those_of_the_svd():
    matrices = np.random.default_rng(1).normal(size=(3, 12, 12)) / math.sqrt(12)
    expected = np.linalg.svd(matrices[2] @ matrices[1] @ matrices[0], compute_uv=False)
    values, norm = jax.jit(product_of)(matrices)
    np.testing.assert_allclose(values, np.log(expected), atol=1e-4)
    np.testing.assert_allclose(norm, np.log(np.linalg.norm(expected)), atol=1e-5)


def test_what_is_singular_stays_so():
    matrices = np.random.default_rng(2).normal(size=(4, 5, 5))
    matrices[1, :, 2] = 0
    values, _ = jax.jit(product_of)(matrices)
    assert np.isneginf(values[-1])
    expected = np.linalg.svd(np.linalg.multi_dot(matrices[::-1]), compute_uv=False)
    np.testing.assert_allclose(values[:4], np.log(expected[:4]), atol=1e-4)


# --- Jacobians -------------------------------------------------------------------------------------------------------


def test_the_jacobian_of_a_scalar_linear_cell_is_a_power():
    cell = linear(np.full((1, 1), 0.9, np.float32))
    found = jax.jit(lambda xs: jacobian_spectrum(cell, cell.init(None, 1), xs, [1, 7, 300]))(jnp.zeros((300, 1)))
    expected = np.array([1, 7, 300]) * math.log(0.9)
    np.testing.assert_allclose(found.log_singular_values[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(found.log_rms, expected, rtol=1e-5)


def test_the_jacobian_is_that_of_jax():
    """dcarry_T / dcarry_{T-k} by jax.jacobian through the steps, of a stack whose carry has two leaves."""
    cell = stack(gru(3), elman(2))
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (6, 2))

    def from_step(vector, k):
        carry = (vector[:3], vector[3:])
        for x in xs[len(xs) - k :]:
            carry, _ = cell.step(params, carry, cell.project(params, x))
        return jnp.concatenate(carry)

    def carry_before(k):
        carry = cell.initial_carry(params, ())
        for x in xs[: len(xs) - k]:
            carry, _ = cell.step(params, carry, cell.project(params, x))
        return jnp.concatenate(carry)

    found = jax.jit(lambda params: jacobian_spectrum(cell, params, xs, [1, 4]))(params)
    assert state_size(cell, params) == 5
    for place, k in enumerate((1, 4)):
        J = jax.jacobian(from_step)(carry_before(k), k)
        np.testing.assert_allclose(found.log_singular_values[place], np.log(np.linalg.svd(J)[1]), atol=1e-3)
        np.testing.assert_allclose(found.log_rms[place], np.log(np.linalg.norm(J) / math.sqrt(5)), atol=1e-5)


def test_examples_have_spectra_of_their_own():
    cell = elman(4)
    params = cell.init(jax.random.key(0), 2)
    xs = 2 * jax.random.normal(jax.random.key(1), (5, 2, 3, 2))
    spectrum = jax.jit(lambda xs: jacobian_spectrum(cell, params, xs, [2, 5]).log_singular_values)
    together = spectrum(xs)
    assert together.shape == (2, 2, 3, 4)
    np.testing.assert_allclose(together[:, 1, 2], spectrum(xs[:, 1:, 2:])[:, 0, 0], atol=1e-4)


def test_probes_estimate_the_mean_square_and_bound_the_largest():
    rng = np.random.default_rng(3)
    cell = linear((rng.normal(size=(40, 40)) / math.sqrt(40)).astype(np.float32))
    params, xs = cell.init(None, 40), jnp.zeros((12, 40))
    exact = jax.jit(lambda xs: jacobian_spectrum(cell, params, xs, [1, 6, 12]))(xs)
    mean_squares = []
    probe = jax.jit(lambda key: jacobian_spectrum(cell, params, xs, [1, 6, 12], num_probes=8, key=key))
    for seed in range(8):
        probes = probe(jax.random.key(seed))
        assert probes.log_singular_values.shape == (3, 8)
        assert (probes.log_singular_values <= exact.log_singular_values[:, :8] + 1e-4).all()
        mean_squares.append(np.exp(2 * probes.log_rms))
    mean_squares = np.array(mean_squares)
    error = mean_squares.std(axis=0, ddof=1) / math.sqrt(8)
    assert (abs(mean_squares.mean(axis=0) - np.exp(2 * exact.log_rms)) < 3 * error).all()


def test_quantiles_over_values_and_examples():
    cell = linear(np.diag(np.exp([0.0, -1, -2])).astype(np.float32))
    found = jax.jit(lambda xs: jacobian_spectrum(cell, cell.init(None, 3), xs, [1, 4]))(jnp.zeros((4, 5, 3)))
    np.testing.assert_allclose(quantiles(found, jnp.array([0.0, 0.5, 1.0])), [[-2, -8], [-1, -4], [0, 0]], atol=1e-5)


@pytest.mark.parametrize("lags", [[], [0], [2, 1], [3, 3], [9]])
def test_lags_that_are_not_there_are_refused(lags):
    cell = linear(np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match=r"lags must rise within 1 and T = 8"):
        jacobian_spectrum(cell, cell.init(None, 2), jnp.zeros((8, 2)), lags)


def test_sizes_that_do_not_fit_are_refused():
    cell = linear(np.eye(2, dtype=np.float32))
    params, xs = cell.init(None, 2), jnp.zeros((8, 2))
    with pytest.raises(ValueError, match="num_probes=3 must be a whole number from 1 to 2"):
        jacobian_spectrum(cell, params, xs, [1], num_probes=3)
    with pytest.raises(ValueError, match="num_exponents=0 must be a whole number from 1 to 2"):
        lyapunov_spectrum(cell, params, xs, num_exponents=0)
    with pytest.raises(ValueError, match="burn_in=8 must be at least 0 and below T = 8"):
        lyapunov_spectrum(cell, params, xs, burn_in=8)
    counter = cell._replace(initial_carry=lambda params, batch_shape: jnp.zeros(batch_shape, jnp.int32))
    with pytest.raises(ValueError, match="no real entry"):
        lyapunov_spectrum(counter, params, xs)


# --- Lyapunov exponents ----------------------------------------------------------------------------------------------


def test_of_a_linear_network_they_are_the_logarithms_of_its_eigenvalues():
    U = np.random.default_rng(4).normal(size=(5, 5))
    with jax.enable_x64(True):
        cell = linear(U)
        run = jax.jit(lambda p, xs: lyapunov_spectrum(cell, p, xs, burn_in=1000))
        found = run(cell.init(None, 5), np.zeros((9000, 5)))
        expected = np.sort(np.log(abs(np.linalg.eigvals(U))))[::-1]
        np.testing.assert_allclose(found.exponents, expected, atol=1e-3)


class Point(NamedTuple):
    x: Array
    y: Array


def henon(a=1.4, b=0.3) -> Cell:
    """The map of Hénon 1976: x' = 1 - a x² + y, y' = b x."""

    def step(p, carry, z):
        new = Point(1 - a * carry.x**2 + carry.y, b * carry.x)
        return new, new.x

    return Cell(
        output_size=1,
        init=lambda key, input_size: (),
        initial_carry=lambda params, batch_shape: Point(*(jnp.zeros((*batch_shape, 1)) for _ in range(2))),
        project=lambda p, x: x,
        step=step,
    )


def test_of_the_henon_map_they_are_the_published_ones():
    """0.419 and -1.623 (Wolf et al. 1985, Physica D 16, table 1, in bits 0.603 and -2.34); their sum is log b."""
    cell = henon()
    found = jax.jit(lambda xs: lyapunov_spectrum(cell, (), xs, burn_in=100))(jnp.zeros((40_000, 1)))
    np.testing.assert_allclose(found.exponents, [0.419, -1.623], rtol=0.01)
    np.testing.assert_allclose(found.exponents.sum(), math.log(0.3), rtol=1e-4)
    np.testing.assert_allclose(found.running[-1], found.exponents)
    assert abs(found.running[20_000, 0] - found.exponents[0]) < 0.005  # it has converged


def test_complex_leaves_have_two_exponents_and_integers_none():
    class Carry(NamedTuple):
        time: Array
        w: Array

    def step(p, carry, x):
        w = 0.5 * jnp.exp(0.3j) * carry.w + x
        return Carry(carry.time + 1, w), w.real

    cell = Cell(
        1,
        lambda key, input_size: (),
        lambda params, batch_shape: Carry(
            jnp.zeros(batch_shape, jnp.int32), jnp.zeros((*batch_shape, 1), jnp.complex64)
        ),
        lambda p, x: x,
        step,
    )
    measure = lambda xs: (lyapunov_spectrum(cell, (), xs), jacobian_spectrum(cell, (), xs, [20]))
    found, spectrum = jax.jit(measure)(jnp.zeros((20, 1)))
    np.testing.assert_allclose(found.exponents, [math.log(0.5)] * 2, rtol=1e-5)
    np.testing.assert_allclose(spectrum.log_singular_values, [[20 * math.log(0.5)] * 2], rtol=1e-5)


def test_the_largest_is_the_rate_at_which_jacobian_and_gradient_grow():
    cell = elman(12, recurrent_init=jax.nn.initializers.normal(0.4))
    params = cell.init(jax.random.key(0), 3)
    xs = jax.random.normal(jax.random.key(1), (400, 3))

    @jax.jit
    def measure(params, xs):
        v = jnp.arange(12.0)
        return (
            lyapunov_spectrum(cell, params, xs, burn_in=100).exponents[0],
            jacobian_spectrum(cell, params, xs, [100, 300]).log_singular_values[:, 0],
            gradient_by_lag(cell, params, xs[:, None], lambda ys: ys[-1] @ v),
        )

    exponent, largest, by_lag = map(np.asarray, measure(params, xs))
    assert exponent == pytest.approx((largest[1] - largest[0]) / 200, rel=0.02)
    assert exponent == pytest.approx(growth_rate(mean_by_lag(by_lag[:300])), rel=0.05)
