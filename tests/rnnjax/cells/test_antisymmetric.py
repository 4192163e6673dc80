"""Antisymmetric and Lipschitz networks against their papers' equations, and the eigenvalues they promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import antisymmetric, antisymmetric_gated, lipschitz
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, random_like

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def damped(upper, gamma):
    W = np.zeros((H, H))
    W[np.triu_indices(H, 1)] = upper
    return W - W.T - gamma * np.eye(H)


def antisymmetric_reference(p, xs, h, epsilon=0.01, gamma=0.01):
    hs = []
    for x in xs:
        h = h + epsilon * np.tanh(h @ damped(p.A, gamma) + x @ p.W + p.b)
        hs.append(h)
    return h, np.stack(hs)


def gated_reference(p, xs, h, epsilon=0.01, gamma=0.01):
    (V_z, V_h), (b_z, b_h), hs = np.split(p.W, 2, 1), np.split(p.b, 2), []
    for x in xs:
        z = sigmoid(h @ damped(p.A, gamma) + x @ V_z + b_z)
        h = h + epsilon * z * np.tanh(h @ damped(p.A, gamma) + x @ V_h + b_h)
        hs.append(h)
    return h, np.stack(hs)


def lipschitz_reference(p, xs, h, epsilon=0.03, beta=0.75, gamma=0.001):
    A, W = (beta * (M - M.T) + (1 - beta) * (M + M.T) - gamma * np.eye(H) for M in (p.M_A, p.M_U))
    hs = []
    for x in xs:
        h = h + epsilon * h @ A + epsilon * np.tanh(h @ W + x @ p.W + p.b)
        hs.append(h)
    return h, np.stack(hs)


@pytest.mark.parametrize("options", [{}, {"epsilon": 0.5, "gamma": 0.3}])
@pytest.mark.parametrize(
    ("cell", "reference"), [(antisymmetric, antisymmetric_reference), (antisymmetric_gated, gated_reference)]
)
def test_antisymmetric(cell, reference, options):
    agree(cell(H, **options), functools.partial(reference, **options))


@pytest.mark.parametrize("options", [{}, {"epsilon": 0.5, "beta": 0.6, "gamma": 0.3}])
def test_lipschitz(options):
    agree(lipschitz(H, **options), functools.partial(lipschitz_reference, **options))


def prepared(cell):
    params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    return params, jax.device_get(jit(cell.prepare)(params))


@pytest.mark.parametrize("cell", [antisymmetric(H, gamma=0.3), antisymmetric_gated(H, gamma=0.3)])
def test_eigenvalues_of_the_antisymmetric_matrix_have_real_part_minus_gamma(cell):
    with jax.enable_x64(True):
        eigenvalues = np.linalg.eigvals(prepared(cell)[1].U)
    np.testing.assert_allclose(eigenvalues.real, -0.3, atol=1e-12)
    assert np.abs(eigenvalues.imag).max() > 0.5


def test_jacobian_of_the_equation_has_imaginary_eigenvalues_without_diffusion():
    cell = antisymmetric(H, epsilon=0.1, gamma=0.0)
    with jax.enable_x64(True):
        _, p = prepared(cell)
        h, z = random_like((jax.ShapeDtypeStruct((H,), jnp.float64),) * 2)
        jacobian = np.asarray(jit(jax.jacobian(lambda h: cell.step(p, h, z)[0]))(h))
    eigenvalues = np.linalg.eigvals((jacobian - np.eye(H)) / 0.1)
    np.testing.assert_allclose(eigenvalues.real, 0, atol=1e-12)
    assert np.abs(eigenvalues.imag).max() > 0.1


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0])
def test_symmetric_parts_of_the_lipschitz_matrices(beta):
    with jax.enable_x64(True):
        params, p = prepared(lipschitz(H, beta=beta, gamma=0.2))
        matrices = np.split(np.asarray(p.U), 2, axis=1)
    for matrix, M in zip(matrices, (params.M_A, params.M_U), strict=True):
        symmetric = np.linalg.eigvalsh((matrix + matrix.T) / 2)
        np.testing.assert_allclose(symmetric, (1 - beta) * np.linalg.eigvalsh(M + M.T) - 0.2, atol=1e-12)
        real = np.linalg.eigvals(matrix).real
        assert symmetric.min() - 1e-12 <= real.min() <= real.max() <= symmetric.max() + 1e-12
        if beta == 1:
            np.testing.assert_allclose(real, -0.2, atol=1e-12)


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        (antisymmetric(H), H * (I + 1) + H * (H - 1) // 2),
        (antisymmetric_gated(H), 2 * H * (I + 1) + H * (H - 1) // 2),
        (lipschitz(H), H * (I + 1) + 2 * H**2),
    ],
)
def test_parameter_count(cell, count):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in params) == count


def test_first_matrices():
    cells = antisymmetric(60, sigma=2.0), lipschitz(60)
    plain, both = jax.device_get(jit(lambda: tuple(cell.init(jax.random.key(0), 50) for cell in cells))())
    assert np.std(plain.A) == pytest.approx(2 / 60**0.5, rel=0.1)
    assert np.std(plain.W) == pytest.approx(1 / 50**0.5, rel=0.1)
    assert np.var(both.M_A) == pytest.approx(0.1 / 60, rel=0.1)


def test_options_are_checked():
    with pytest.raises(ValueError, match="epsilon must be above 0, got 0"):
        antisymmetric(H, epsilon=0)
    with pytest.raises(ValueError, match="sigma must be above 0, got -1"):
        antisymmetric_gated(H, sigma=-1)
    with pytest.raises(ValueError, match=r"beta, .* must lie between 0.5 and 1, got 0.4"):
        lipschitz(H, beta=0.4)
