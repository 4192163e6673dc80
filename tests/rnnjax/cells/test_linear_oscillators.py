"""LinOSS and D-LinOSS against their papers' equations, and what becomes of the energy in them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import d_linoss, linoss_im, linoss_imex
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters, random_like

N = 3
CELLS = [linoss_im, linoss_imex, d_linoss]
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def constants(p):
    """(A, G, Δ) as float64."""
    dt, A = sigmoid(np.asarray(p.step, float)), np.asarray(p.A, float)
    if not hasattr(p, "G"):
        return np.maximum(A, 0), np.zeros(len(A)), dt
    G = np.maximum(np.asarray(p.G, float), 0)
    root = np.sqrt(1 + dt * G)
    return np.minimum(np.maximum(A, (root - 1) ** 2 / dt**2), (root + 1) ** 2 / dt**2), G, dt


def reference(p, xs, h, implicit):
    """The step as the paper states it; the implicit one by solving for both states at once."""
    (A, G, dt), (z, y), outputs = constants(p), np.moveaxis(h, -1, 0), []
    for x in xs:
        force = x @ p.B
        if implicit:  # z' + Δ A y' = z + Δ B x,  y' - Δ z' = y
            y = (y + dt * (z + dt * force)) / (1 + dt**2 * A)
            z = z + dt * (force - A * y)
        else:  # z' (1 + Δ G) = z + Δ (B x - A y)
            z = (z + dt * (force - A * y)) / (1 + dt * G)
            y = y + dt * z
        outputs.append(y @ p.C + (x @ p.D if p.D.ndim == 2 else p.D * x))
    return np.stack([z, y], axis=-1), np.stack(outputs)


@pytest.mark.parametrize("input_size", [I, H])
@pytest.mark.parametrize("factory", CELLS)
def test_agrees_with_its_paper(factory, input_size):
    implicit = factory is linoss_im
    agree(factory(H, state_size=N), functools.partial(reference, implicit=implicit), input_size=input_size)


@pytest.mark.parametrize("factory", CELLS)
def test_number_of_parameters(factory):
    own = 3 if factory is d_linoss else 2
    assert num_parameters(factory(H, state_size=N)) == N * (own + I + H) + H * I
    assert num_parameters(factory(H), H) == H * (own + H + H) + H


def first(factory, size=2000, **options):
    """Initial parameters of many oscillators, and their matrices [N, 2, 2] as float64."""
    cell = factory(4, state_size=size, **options)
    params = cell.init(jax.random.key(0), I)
    return params, np.asarray(cell.prepare(params).M, float)


def spectrum(M):
    return np.linalg.eigvals(M)


def unforced(factory, num_steps=2000):
    """(A, Δ, states [T, N, 2]) of oscillators left to themselves, in double precision."""
    cell = factory(4, state_size=50)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), cell.init(jax.random.key(0), I))

        def run(params):
            p = cell.prepare(params)

            def step(h, x):
                h, _ = cell.step(p, h, cell.project(p, x))
                return h, h

            return jax.lax.scan(step, jnp.ones((50, 2)), jnp.zeros((num_steps, I)))[1]

        states = jax.device_get(jit(run)(params))
    A, _, dt = constants(params)
    return A, dt, states


def test_imex_keeps_its_energy_without_input():
    A, dt, states = unforced(linoss_imex)
    z, y = np.moveaxis(states, -1, 0)
    energy = z**2 + A * y**2 - dt * A * z * y
    np.testing.assert_allclose(energy, np.broadcast_to(energy[0], energy.shape), rtol=1e-11)
    assert np.all(np.ptp(y, axis=0) > 0.5)  # it moves


def test_im_loses_the_same_share_of_its_energy_at_every_step():
    A, dt, states = unforced(linoss_im, num_steps=30)
    z, y = np.moveaxis(states, -1, 0)
    energy = z**2 + A * y**2
    np.testing.assert_allclose(energy[1:] * (1 + dt**2 * A), energy[:-1], rtol=1e-11)


def test_spectra_are_those_of_the_papers():
    (p_im, im), (p_imex, imex) = first(linoss_im), first(linoss_imex)
    A, _, dt = constants(p_im)
    modulus = np.tile(1 / np.sqrt(1 + dt**2 * A)[:, None], 2)
    np.testing.assert_allclose(np.abs(spectrum(im)), modulus, atol=1e-3)  # near A = 0 it is the root of a small number
    np.testing.assert_allclose(np.linalg.det(im), modulus[:, 0] ** 2, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.det(imex), 1, rtol=1e-5)
    np.testing.assert_allclose(np.abs(spectrum(imex)), 1, atol=1e-3)
    A, _, dt = constants(p_imex)
    assert np.all(dt**2 * A < 0.54)
    assert np.all((dt >= 0.5) & (dt < 0.7311))


def test_im_is_stable_whatever_the_parameters():
    cell = linoss_im(H, state_size=500)
    params = jax.tree.map(lambda leaf: 30 * leaf, random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I))))
    assert np.all(np.abs(spectrum(np.asarray(cell.prepare(params).M, float))) <= 1 + 1e-3)


def test_imex_runs_backwards():
    """With the signs of Δ turned, the inverse of a step: z first from the new y, then y from the old z."""
    p, M = first(linoss_imex, size=50)
    A, _, dt = constants(p)
    old = np.random.default_rng(0).normal(size=(50, 2))
    z, y = np.einsum("nij,nj->in", M, old)
    y_before = y - dt * z
    np.testing.assert_allclose(np.stack([z + dt * A * y_before, y_before], -1), old, atol=1e-5)


@pytest.mark.parametrize(("radius", "max_phase"), [((0.9, 1.0), math.pi), ((0.3, 0.6), 1.0)])
def test_damped_oscillators_start_in_their_ring(radius, max_phase):
    _, M = first(d_linoss, radius=radius, max_phase=max_phase)
    eigenvalues = spectrum(M)[:, 0]
    assert np.all((np.abs(eigenvalues) > radius[0] - 1e-3) & (np.abs(eigenvalues) < radius[1] + 1e-3))
    phases = np.abs(np.angle(eigenvalues))
    assert np.all(phases < max_phase + 1e-2)
    assert phases.mean() == pytest.approx(max_phase / 2, rel=0.05)
    inner = np.linalg.det(M) < (radius[0] ** 2 + radius[1] ** 2) / 2  # |λ|², uniform over an area
    assert inner.mean() == pytest.approx(0.5, abs=0.04)


def test_damped_oscillators_stay_conjugate_pairs_within_the_circle_whatever_the_parameters():
    cell = d_linoss(H, state_size=2000)
    params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    M = np.asarray(cell.prepare(params._replace(A=30 * params.A, G=5 * params.G)).M, float)
    _, G, dt = constants(params._replace(G=5 * params.G))
    np.testing.assert_allclose(np.abs(spectrum(M)), np.tile((1 + dt * G)[:, None] ** -0.5, 2), atol=2e-3)


def test_without_damping_d_linoss_is_linoss_imex():
    cell, damped = linoss_imex(H, state_size=N), d_linoss(H, state_size=N)
    params = cell.init(jax.random.key(0), I)
    shapes = jax.eval_shape(lambda: damped.init(jax.random.key(0), I))
    same = shapes._replace(**params._asdict(), G=jnp.full(N, -1.0))
    np.testing.assert_allclose(damped.prepare(same).M, cell.prepare(params).M, rtol=1e-6)


ERRORS = [
    ({"radius": (0.9, 1.1)}, r"radius must lie within the unit circle, got \(0.9, 1.1\)"),
    ({"radius": (0.0, 1.0)}, "radius must be two positive numbers"),
    ({"max_phase": 4.0}, "max_phase must be above 0 and at most π, got 4.0"),
    ({"step_std": -1.0}, "step_std must be at least 0 and finite, got -1.0"),
    ({"state_size": 0}, "state_size must be a whole number of at least 1, got 0"),
]


@pytest.mark.parametrize(("options", "message"), ERRORS)
def test_refuses_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        d_linoss(H, **options)
