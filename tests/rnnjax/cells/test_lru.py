"""LRU and RG-LRU against their papers' equations and initial values."""

import jax
import numpy as np
import pytest

from rnnjax import lru, rg_lru
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, random_like

N = 3


def lru_reference(p, xs, h):
    eigenvalues = np.exp(-np.exp(p.log_nu) + 1j * np.exp(p.log_theta))
    matrix = (p.B[:, :N] + 1j * p.B[:, N:]) * np.exp(p.log_gamma)
    ys = []
    for x in xs:
        h = eigenvalues * h + x @ matrix
        y = (h @ (p.C[:N] - 1j * p.C[N:])).real
        ys.append(y + (x @ p.D if p.D.ndim == 2 else p.D * x))
    return h, np.stack(ys)


def rg_lru_reference(p, xs, h, c=8.0):
    (W_a, W_x), (b_a, b_x) = np.split(p.W, 2, 1), np.split(p.b, 2)
    hs = []
    for x in xs if p.P is None else xs @ p.P:
        r, i = sigmoid(x @ W_a + b_a), sigmoid(x @ W_x + b_x)
        a = sigmoid(p.decay) ** (c * r)
        h = a * h + np.sqrt(1 - a**2) * (i * x)
        hs.append(h)
    return h, np.stack(hs)


@pytest.mark.parametrize("input_size", [I, H])
def test_lru_agrees_with_its_paper(input_size):
    agree(lru(H, state_size=N), lru_reference, input_size=input_size)


@pytest.mark.parametrize("input_size", [I, H])
def test_rg_lru_agrees_with_its_paper(input_size):
    agree(rg_lru(H), rg_lru_reference, input_size=input_size)


def test_rg_lru_of_another_power():
    agree(rg_lru(H, power=2.0), lambda p, xs, h: rg_lru_reference(p, xs, h, 2.0))


@pytest.mark.parametrize("input_size", [I, H])
def test_number_of_parameters(input_size):
    matrix = H * input_size if input_size != H else 0
    count = lambda cell: sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size)))
    )
    assert count(lru(H, state_size=N)) == N * (3 + 2 * input_size + 2 * H) + (matrix or H)
    assert count(rg_lru(H)) == H * (2 * H + 3) + matrix


def eigenvalues(params):
    cell = lru(H)
    return np.asarray(cell.prepare(params).A)


def test_eigenvalues_start_in_the_ring_evenly_over_its_area():
    size = 4000
    params = lru(4, state_size=size, radius=(0.5, 0.9), max_phase=1.0).init(jax.random.key(0), I)
    found = eigenvalues(params)
    radius, phase = np.abs(found), np.angle(found)
    assert np.all((radius >= 0.5) & (radius <= 0.9) & (phase >= 0) & (phase <= 1.0))
    inner = (radius**2 < (0.5**2 + 0.9**2) / 2).mean()
    assert inner == pytest.approx(0.5, abs=0.03)
    assert phase.mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(np.exp(params.log_gamma), np.sqrt(1 - radius**2), rtol=1e-4)


@pytest.mark.parametrize("radius", [(0.0, 1.0), (0.999, 1.0)])
def test_the_whole_disc_and_its_edge_start_finite_and_inside(radius):
    params = lru(4, state_size=4000, radius=radius).init(jax.random.key(0), I)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    assert np.all(np.abs(eigenvalues(params)) < 1)


def test_eigenvalues_stay_inside_the_circle_whatever_the_parameters():
    shapes = jax.eval_shape(lambda: lru(H, state_size=50).init(jax.random.key(0), I))
    params = jax.tree.map(lambda leaf: np.float32(3 * leaf), random_like(shapes))
    assert np.all(np.abs(eigenvalues(params)) < 1)


def test_white_noise_keeps_its_variance_in_the_state():
    """E|h|² = γ² E|B x|² / (1 - |λ|²) = E|B x|² = 1 for B of variance 1 / 2I each part and x of variance 1."""
    cell = lru(4, state_size=200, radius=(0.0, 0.9))
    params = cell.init(jax.random.key(0), 16)
    system = cell.prepare(params)
    B = np.asarray(system.B[:, :200]) + 1j * np.asarray(system.B[:, 200:])
    variance = (np.abs(B) ** 2).sum(0) / (1 - np.abs(np.asarray(system.A)) ** 2)
    assert variance.mean() == pytest.approx(1.0, rel=0.05)


def test_rg_lru_starts_in_its_range_of_decays():
    params = rg_lru(500).init(jax.random.key(0), I)
    slowest = np.exp(8.0 * np.log(sigmoid(np.asarray(params.decay, float))))  # a^(c r) at r = 1
    assert np.all((slowest > 0.8999) & (slowest < 0.9991))
    assert slowest.mean() == pytest.approx((0.9 + 0.999) / 2, abs=0.005)


ERRORS = [
    (lru, {"radius": (0.9, 0.5)}, "radius must be two numbers with 0 <= low < high <= 1, got 0.9, 0.5"),
    (lru, {"radius": (0.5, 1.1)}, "radius must be two numbers with 0 <= low < high <= 1, got 0.5, 1.1"),
    (lru, {"max_phase": 0.0}, "max_phase must be positive, got 0.0"),
    (rg_lru, {"power": -1.0}, "power must be positive, got -1.0"),
    (rg_lru, {"decay_range": (0.5, 1.0)}, r"decay_range must lie below 1, got \(0.5, 1.0\)"),
]


@pytest.mark.parametrize(("factory", "options", "message"), ERRORS)
def test_refuses_options_that_do_not_fit(factory, options, message):
    with pytest.raises(ValueError, match=message):
        factory(H, **options)
