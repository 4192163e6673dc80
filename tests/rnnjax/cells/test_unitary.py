"""Unitary networks against their papers' equations; the length of a state over 1000 steps."""

import functools
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from rnnjax import eunn, exprnn, full_capacity_urnn, nnrnn, scornn, unroll, urnn
from rnnjax.cell import dense, matmul_dtype, recur
from tests.rnnjax.cells.agree import B, H, I, agree, random_like

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def mod_relu(z, b):
    return np.maximum(np.abs(z) + b, 0) * z / np.abs(z)


def complex_network(p, U, xs, h):
    """h = modReLU(V x + U h) with columns as vectors."""
    V = (p.W[:, :H] + 1j * p.W[:, H:]).T
    h = h[:, :H] + 1j * h[:, H:]
    ys = []
    for x in xs:
        h = np.stack([mod_relu(V @ one_x + U @ one_h, p.b) for one_x, one_h in zip(x, h, strict=True)])
        ys.append(np.concatenate([h.real, h.imag], axis=1))
    return ys[-1], np.stack(ys)


def test_urnn():
    permutation = np.eye(H)[np.random.default_rng(3).permutation(H)]
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(H), np.arange(H)) / H) / np.sqrt(H)

    def reflection(v):
        v = v[0] + 1j * v[1]
        return np.eye(H) - 2 * np.outer(v, v.conj()) / np.sum(np.abs(v) ** 2)

    def reference(p, xs, h):
        D1, D2, D3 = (np.diag(np.exp(1j * d)) for d in p.d)
        R1, R2 = (reflection(v) for v in p.v)
        U = D3 @ R2 @ fourier.conj().T @ D2 @ permutation @ R1 @ fourier @ D1
        return complex_network(p, U, xs, h)

    agree(urnn(H, permutation_seed=3), reference)


def test_full_capacity_urnn():
    def reference(p, xs, h):
        K = (p.A - p.A.T) / 2 + 1j * (p.A + p.A.T) / 2
        assert np.allclose(K, -K.conj().T)
        return complex_network(p, scipy.linalg.expm(K).T, xs, h)

    agree(full_capacity_urnn(H), reference)


PAIRS = {
    1: [[(0, 1), (2, 3)]],
    2: [[(0, 1), (2, 3)], [(1, 2), (3, 4)]],
    3: [[(0, 1), (2, 3)], [(1, 2), (3, 4)], [(0, 1), (2, 3)]],
    None: [[(0, 1), (2, 3)], [(0, 2), (1, 3)], [(0, 4)]],
}


@pytest.mark.parametrize("capacity", PAIRS)
def test_eunn(capacity):
    def reference(p, xs, h):
        U, angles = np.eye(H), iter(zip(p.theta, p.phi, strict=True))
        for pairs in PAIRS[capacity]:
            F = np.eye(H, dtype=complex)
            for i, j in pairs:
                theta, phi = next(angles)
                F[i, i], F[i, j] = np.exp(1j * phi) * np.cos(theta), -np.exp(1j * phi) * np.sin(theta)
                F[j, i], F[j, j] = np.sin(theta), np.cos(theta)
            U = F @ U
        assert next(angles, None) is None
        return complex_network(p, np.diag(np.exp(1j * p.d)) @ U, xs, h)

    agree(eunn(H, capacity=capacity), reference)


ISOMETRIES = {
    "urnn": urnn(16),
    "full_capacity_urnn": full_capacity_urnn(16),
    "eunn": eunn(16, capacity=None),
    "exprnn": exprnn(16),
    "scornn": scornn(16),
    "nnrnn": nnrnn(16),
}


@pytest.mark.parametrize("name", ISOMETRIES)
def test_length_of_a_state_stays_over_1000_steps_without_input_and_bias(name):
    cell = ISOMETRIES[name]

    def lengths(params, h):
        p, x = cell.prepare(params), jnp.zeros(I, h.dtype)
        _, hs = jax.lax.scan(lambda h, _: cell.step(p, h, cell.project(p, x)), h, length=1000)
        return hs

    with jax.enable_x64(True):
        params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
        params = params._replace(b=np.zeros_like(params.b))
        if name == "nnrnn":
            params = params._replace(T=np.zeros_like(params.T))
        wide = (params, np.random.default_rng(1).normal(size=cell.output_size))
        narrow = jax.tree.map(lambda leaf: leaf.astype(np.float32), wide)
        found = jit(lambda narrow, wide: (lengths(*narrow), lengths(*wide)))(narrow, wide)
        for hs, dtype, tolerance in zip(found, (np.float32, np.float64), (1e-3, 1e-9), strict=True):
            assert hs.dtype == dtype
            length = np.linalg.norm(np.asarray(hs, np.float64), axis=1)
            np.testing.assert_allclose(length, np.linalg.norm(wide[1]), rtol=tolerance)


def test_gradient_of_a_state_that_is_zero_is_finite():
    cell = urnn(H)
    params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    params = jax.tree.map(np.float32, params._replace(W=0 * params.W, h0=0 * params.h0, b=np.full(H, 0.1)))
    gradient = jit(jax.grad(lambda p: jnp.sum(unroll(cell, p, jnp.ones((3, I)))[1])))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        (urnn(H), 2 * H * I + 10 * H),
        (full_capacity_urnn(H), 2 * H * I + H**2 + 3 * H),
        (eunn(H), 2 * H * I + 2 * H + 2 * (H - 1)),
        (eunn(8, capacity=6), 2 * 8 * I + 2 * 8 + 2 * 7 * 3),
        (eunn(8, capacity=None), 2 * 8 * I + 2 * 8 + 2 * 4 * 3),
    ],
)
def test_parameter_count(cell, count):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_urnn_starts_linear_and_of_length_one():
    cell = urnn(400)
    params = jit(lambda: cell.init(jax.random.key(0), I))()
    assert np.all(params.b == 0)
    assert np.sum(params.h0**2) == pytest.approx(1, rel=0.1)
    np.testing.assert_array_equal(cell.initial_carry(params, (2,)), np.stack([params.h0, params.h0]))


def test_full_capacity_urnn_starts_with_eigenvalues_all_over_the_circle():
    cell = full_capacity_urnn(48)
    U = jit(lambda: cell.prepare(cell.init(jax.random.key(0), I)).U)()
    eigenvalues = np.linalg.eigvals(U[:48, :48] + 1j * U[:48, 48:])
    np.testing.assert_allclose(np.abs(eigenvalues), 1, atol=1e-5)
    angles = np.sort(np.angle(eigenvalues))
    assert max(b - a for a, b in pairwise([*angles, angles[0] + 2 * np.pi])) < 1.0


def test_eunn_refuses_a_capacity():
    with pytest.raises(ValueError, match="capacity must be a whole number of at least 1, got 0"):
        eunn(H, capacity=0)


def test_products_of_complex_operands_in_bfloat16():
    rng = np.random.default_rng(0)
    x, W = rng.normal(size=(2, B, 64)), rng.normal(size=(2, 64, 3)) / 8
    x, W = (np.complex64(a[0] + 1j * a[1]) for a in (x, W))
    with matmul_dtype(jnp.bfloat16):
        found = jit(lambda x, W: (recur(x, W), dense(x, W.real), dense(x.real, W)))(x, W)
    for rounded, exact in zip(found, (x @ W, x @ W.real, x.real @ W), strict=True):
        assert rounded.dtype == jnp.complex64
        np.testing.assert_allclose(rounded, exact, atol=3e-2)
        assert np.any(rounded != exact)
