"""S4D and S5 against their papers' equations, and the HiPPO matrices they start from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import s4d, s5, unroll
from rnnjax.cells.state_space import hippo_legs, hippo_normal
from tests.rnnjax.cells.agree import B, H, I, agree, random_like

N = 2


def s4d_reference(p, xs, h):
    """Channel by channel, with every state and its conjugate written out."""
    xs_in = xs if p.P is None else xs @ p.P
    h, ys = h.copy(), np.zeros((*xs.shape[:-1], H))
    for channel in range(H):
        A = -np.exp(p.log_decay[channel]) + 1j * p.frequency[channel]
        A_bar = np.exp(np.exp(p.log_step[channel]) * A)
        B_bar = (A_bar - 1) / A
        C = p.C[channel, :, 0] + 1j * p.C[channel, :, 1]
        for t, x in enumerate(xs_in[..., channel]):
            h[:, channel] = A_bar * h[:, channel] + B_bar * x[:, None]
            both = h[:, channel] @ C + h[:, channel].conj() @ C.conj()
            ys[t, :, channel] = both.real + p.D[channel] * x
    return h, ys


def s5_reference(p, xs, h):
    """The whole system, conjugates and all; real by itself."""
    A = p.A[:, 0] + 1j * p.A[:, 1]
    A_bar = np.exp(np.exp(p.log_step) * A)
    half = len(A)
    B_bar = ((A_bar - 1) / A)[:, None] * (p.B[:, :half] + 1j * p.B[:, half:]).T
    C = (p.C[:half] - 1j * p.C[half:]).T / 2
    h, ys = np.concatenate([h, h.conj()], -1), []
    A_bar, B_bar, C = (
        np.concatenate([A_bar, A_bar.conj()]),
        np.concatenate([B_bar, B_bar.conj()]),
        np.hstack([C, C.conj()]),
    )
    for x in xs:
        h = h * A_bar + x @ B_bar.T
        y = h @ C.T
        assert np.abs(y.imag).max() < 1e-12
        ys.append(y.real + (x @ p.D if p.D.ndim == 2 else x * p.D))
    return h[:, :half], np.stack(ys)


def stable(shapes):
    """Random parameters of S5 whose eigenvalues lie in the left half of the plane."""
    params = random_like(shapes)
    return params._replace(A=params.A * np.sign(params.A) * np.array([-1.0, 1.0]))


@pytest.mark.parametrize("input_size", [I, H])
def test_s4d_agrees_with_its_paper(input_size):
    agree(s4d(H, state_size=2 * N), s4d_reference, input_size=input_size)


@pytest.mark.parametrize("input_size", [I, H])
def test_s5_agrees_with_its_paper(input_size):
    agree(s5(H, state_size=2 * N), s5_reference, params=stable, input_size=input_size)


@pytest.mark.parametrize("input_size", [I, H])
def test_number_of_parameters(input_size):
    matrix = H * input_size if input_size != H else 0
    count = lambda cell: sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size)))
    )
    assert count(s4d(H, state_size=2 * N)) == H * (4 * N + 2) + matrix
    assert count(s5(H, state_size=2 * N)) == N * (3 + 2 * input_size + 2 * H) + (matrix or H)
    assert count(s5(H)) == count(s5(H, state_size=H + 1))


def test_s4d_is_the_convolution_with_its_kernel():
    """K_l = 2 Re sum_n C_n A_n^l B_n; y = K * x + D x."""
    cell = s4d(H, state_size=6)
    params = cell.init(jax.random.key(0), H)
    xs = np.random.default_rng(0).normal(size=(40, H)).astype(np.float32)
    _, ys = jax.jit(lambda params: unroll(cell, params, xs))(params)
    A = -np.exp(np.asarray(params.log_decay, float)) + 1j * np.asarray(params.frequency, float)
    step = np.exp(np.asarray(params.log_step, float))[:, None]
    C = np.asarray(params.C, float) @ [1, 1j]
    powers = np.exp(np.arange(40)[:, None, None] * step * A)
    kernel = 2 * np.sum(powers * C * (np.exp(step * A) - 1) / A, -1).real
    for channel in range(H):
        expected = np.convolve(kernel[:, channel], xs[:, channel])[:40] + params.D[channel] * xs[:, channel]
        np.testing.assert_allclose(ys[:, channel], expected, atol=2e-5)


def test_hippo_legs_is_the_matrix_of_its_paper():
    A, vector = hippo_legs(3)
    root = np.sqrt
    np.testing.assert_allclose(A, [[-1, 0, 0], [-root(3), -2, 0], [-root(5), -root(15), -3]])
    np.testing.assert_allclose(vector, [1, root(3), root(5)])


def test_hippo_legs_keeps_the_legendre_series_of_all_of_the_past():
    """dc/dt = (A c + B x) / t, and the coefficients of x(s) = s over [0, t] grow in proportion to t."""
    A, vector = hippo_legs(4)
    coefficients = np.array([0.5, 0.5 / np.sqrt(3), 0.0, 0.0])  # of x(s) = s on [0, 1]
    np.testing.assert_allclose(A @ coefficients + vector * 1.0, coefficients, atol=1e-12)  # at t = 1, dc/dt = c


@pytest.mark.parametrize("size", [4, 16])
def test_hippo_normal_diagonalises_its_normal_part(size):
    values, vectors = hippo_normal(size)
    p = np.sqrt(np.arange(size) + 0.5)
    normal = hippo_legs(size)[0] + np.outer(p, p)
    np.testing.assert_allclose(normal @ normal.T, normal.T @ normal, atol=1e-9)
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.conj().T, normal, atol=1e-9)
    np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(values.real, np.full(size, -0.5))
    assert (values.imag > 0).sum() == size // 2


def test_s5_starts_from_blocks_of_hippo_eigenvalues():
    cell = s5(6, state_size=8, blocks=2)
    params = jax.jit(lambda key: cell.init(key, I))(jax.random.key(0))
    one = hippo_normal(4).values
    np.testing.assert_allclose(params.A[:, 1], np.tile(one.imag[one.imag > 0], 2), rtol=1e-6)
    np.testing.assert_allclose(params.A[:, 0], np.full(4, -0.5))
    steps = np.exp(params.log_step)
    assert np.all((steps >= 0.001) & (steps <= 0.1))


@pytest.mark.parametrize("spectrum", ["lin", "inv"])
def test_s4d_starts_from_the_spectrum_of_its_paper(spectrum):
    params = s4d(H, state_size=6, spectrum=spectrum).init(jax.random.key(0), I)
    frequencies = {"lin": [0, np.pi, 2 * np.pi], "inv": [6 / np.pi * 5, 6 / np.pi * 1, 6 / np.pi * 0.2]}[spectrum]
    np.testing.assert_allclose(params.frequency, np.tile(frequencies, (H, 1)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.exp(params.log_decay), 0.5 * np.ones((H, 3)), rtol=1e-6)


def test_inputs_of_another_size_are_refused_where_there_is_no_map():
    for cell in (s4d(H, state_size=2), s5(H)):
        shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), H))
        params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
        with pytest.raises(ValueError, match=f"the input has {I} features.* initialised for input_size {H}"):
            jax.eval_shape(lambda params: unroll(cell, params, jnp.zeros((3, B, I))), params)


ERRORS = [
    (s4d, {"state_size": 3}, "state_size must be even, for numbers and their conjugates, got 3"),
    (s4d, {"spectrum": "legs"}, "unknown spectrum 'legs'.* known: lin, inv"),
    (s4d, {"step_range": (0.1, 0.01)}, "step_range must be two positive numbers, the smaller one first, got 0.1, 0.01"),
    (s5, {"state_size": 6, "blocks": 2}, r"state_size must be a multiple of 2 \* blocks = 4, got 6"),
    (s5, {"blocks": 0}, "blocks must be a whole number of at least 1, got 0"),
]


@pytest.mark.parametrize(("factory", "options", "message"), ERRORS)
def test_refuses_options_that_do_not_fit(factory, options, message):
    with pytest.raises(ValueError, match=message):
        factory(H, **options)
