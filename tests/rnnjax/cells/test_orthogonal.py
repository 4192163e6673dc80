"""Orthogonal networks against their papers' equations, and the matrices they are made of."""

import functools

import jax
import numpy as np
import pytest
import scipy.linalg

from rnnjax import exprnn, goru, nnrnn, scornn
from rnnjax.cells.isometries import cayley, exponential, rotation_layers, rotations, skew
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def mod_relu(z, b):
    return np.sign(z) * np.maximum(np.abs(z) + b, 0)


def skew_symmetric(upper):
    A = np.zeros((H, H))
    A[np.triu_indices(H, 1)] = upper
    return A - A.T


def network(p, U, xs, h):
    hs = []
    for x in xs:
        h = mod_relu(x @ p.W + h @ U, p.b)
        hs.append(h)
    return h, np.stack(hs)


def test_exprnn():
    agree(exprnn(H), lambda p, xs, h: network(p, scipy.linalg.expm(skew_symmetric(p.A)), xs, h))


@pytest.mark.parametrize(("options", "signs"), [({}, [1, 1, 1, -1, -1]), ({"negative": 1}, [1, 1, 1, 1, -1])])
def test_scornn(options, signs):
    def reference(p, xs, h):
        A = skew_symmetric(p.A)
        return network(p, np.linalg.inv(np.eye(H) + A) @ (np.eye(H) - A) @ np.diag(signs), xs, h)

    agree(scornn(H, **options), reference)


def schur_form(p, gamma):
    form, entries = np.zeros((H, H)), iter(p.T)
    for i in range(H):
        for j in range(i + 1, H):
            if not (i % 2 == 0 and j == i + 1):
                form[i, j] = next(entries)
    for block, (theta, length) in enumerate(zip(p.theta, gamma, strict=True)):
        rotation = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
        form[2 * block : 2 * block + 2, 2 * block : 2 * block + 2] = length * rotation
    form[H - 1, H - 1] = 1
    return form


@pytest.mark.parametrize("learn_gamma", [False, True])
def test_nnrnn(learn_gamma):
    def reference(p, xs, h):
        gamma = p.gamma if learn_gamma else np.ones(H // 2)
        P = scipy.linalg.expm(skew_symmetric(p.A))
        U = P @ schur_form(p, gamma) @ P.T
        expected = np.concatenate([np.repeat(np.abs(gamma), 2), [1.0]])
        np.testing.assert_allclose(np.sort(np.abs(np.linalg.eigvals(U))), np.sort(expected), atol=1e-10)
        return network(p, U, xs, h)

    agree(nnrnn(H, learn_gamma=learn_gamma), reference)


PAIRS = {2: [[(0, 1), (2, 3)], [(1, 2), (3, 4)]], None: [[(0, 1), (2, 3)], [(0, 2), (1, 3)], [(0, 4)]]}


@pytest.mark.parametrize("capacity", PAIRS)
def test_goru(capacity):
    def reference(p, xs, h):
        U, angles = np.eye(H), iter(p.theta)
        for pairs in PAIRS[capacity]:
            F = np.eye(H)
            for i, j in pairs:
                theta = next(angles)
                F[[i, i, j, j], [i, j, i, j]] = np.cos(theta), -np.sin(theta), np.sin(theta), np.cos(theta)
            U = F @ U
        W_r, W_z, W_n = np.split(p.W, 3, 1)
        U_r, U_z = np.split(p.U, 2, 1)
        b_r, b_z, b_n = np.split(p.b, 3)
        hs = []
        for x in xs:
            r = sigmoid(x @ W_r + h @ U_r + b_r)
            z = sigmoid(x @ W_z + h @ U_z + b_z)
            h = z * h + (1 - z) * mod_relu(x @ W_n + r * (h @ U.T), b_n)
            hs.append(h)
        return h, np.stack(hs)

    agree(goru(H, capacity=capacity), reference)


def test_any_numbers_make_an_orthogonal_or_unitary_matrix():
    layers = rotation_layers(6, 6)

    @jit
    def matrices(upper, both, angles):
        A = skew(upper, 6)
        K = (both[0] - both[0].T) + 1j * (both[1] + both[1].T)
        return cayley(A), exponential(A), exponential(K), rotations(layers, angles[0]), rotations(layers, *angles)

    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for scale in (0.1, 1.0, 10.0):
            shapes = ((15,), (2, 6, 6), (2, layers.num_angles))
            for U in jax.device_get(matrices(*(scale * rng.normal(size=shape) for shape in shapes))):
                np.testing.assert_allclose(U @ U.conj().T, np.eye(6), atol=1e-12)


def test_exponential_has_the_precision_it_states():
    blocks = [scipy.linalg.block_diag(*([[0, s], [-s, 0]] for s in size * np.linspace(0.1, 1, 8))) for size in (8, 16)]
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    small, large = (turn @ A @ turn.T for A in blocks)
    with jax.enable_x64(True):
        found = jit(lambda small, large: (exponential(small), exponential(large)))(small, large.astype(np.float32))
    np.testing.assert_allclose(found[0], scipy.linalg.expm(small), atol=1e-10)
    np.testing.assert_allclose(found[1], scipy.linalg.expm(large), atol=2e-5)


@pytest.mark.parametrize(
    ("cell", "low", "high"),
    [
        (exprnn(64), -np.pi, np.pi),
        (scornn(64, negative=0), 0.0, np.pi / 2),
        (exprnn(64, angles="cayley"), -1.0, 0.0),
    ],
)
def test_first_matrix_turns_each_plane_by_an_angle_of_its_own(cell, low, high):
    U = jax.device_get(jit(lambda: cell.prepare(cell.init(jax.random.key(0), I)).U)())
    blocks = [U[i : i + 2, i : i + 2] for i in range(0, 64, 2)]
    np.testing.assert_allclose(U, scipy.linalg.block_diag(*blocks), atol=1e-5)
    angles = np.array([np.arctan2(block[0, 1], block[0, 0]) for block in blocks])
    assert low - 1e-5 <= angles.min() < low + 0.15 * (high - low)
    assert high - 0.15 * (high - low) < angles.max() <= high + 1e-5


def test_nnrnn_starts_orthogonal_on_the_circle():
    cell = nnrnn(9)
    U = jit(lambda: cell.prepare(cell.init(jax.random.key(0), I)).U)()
    np.testing.assert_allclose(U @ U.T, np.eye(9), atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        (exprnn(H), H * (I + 1) + H * (H - 1) // 2),
        (scornn(H), H * (I + 1) + H * (H - 1) // 2),
        (nnrnn(H), H * (I + 1) + H * (H - 1)),
        (nnrnn(H, learn_gamma=True), H * (I + 1) + H * (H - 1) + H // 2),
        (goru(8), 3 * 8 * (I + 1) + 2 * 64 + 4 * 3),
        (goru(8, capacity=4), 3 * 8 * (I + 1) + 2 * 64 + 7 * 2),
    ],
)
def test_parameter_count(cell, count):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_goru_starts_as_the_authors_code():
    b = jit(lambda: goru(H).init(jax.random.key(0), I).b)()
    np.testing.assert_array_equal(b, np.repeat(np.float32([2.0, 0.0, 0.01]), H))


def test_options_are_checked():
    with pytest.raises(ValueError, match="unknown angles 'henaf'; did you mean 'henaff'"):
        exprnn(H, angles="henaf")
    for negative in (-1, H + 1, 0.5):
        with pytest.raises(ValueError, match=f"negative, .* must be a whole number from 0 to {H}, got {negative}"):
            scornn(H, negative=negative)
    with pytest.raises(ValueError, match="capacity must be a whole number of at least 1, got 0"):
        goru(H, capacity=0)


def test_one_unit_turns_nothing():
    for cell in (exprnn(1), scornn(1), nnrnn(1), goru(1)):
        U = jit(lambda cell=cell: cell.prepare(cell.init(jax.random.key(0), I)).U)()
        np.testing.assert_allclose(U[:, -1:], [[1.0]], atol=1e-6)
