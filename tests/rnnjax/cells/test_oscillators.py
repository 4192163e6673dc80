"""Oscillators and LEM against their papers' equations, and the bounds of their states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import LEMCarry, OscillatorCarry, cornn, lem, unicornn
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, random_like

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def cornn_reference(p, xs, carry, dt=0.042, gamma=2.7, epsilon=4.7, implicit_damping=False):
    y, z, ys = carry.y, carry.z, []
    for u in xs:
        free = z + dt * np.tanh(y @ p.U_y + z @ p.U_z + u @ p.W + p.b) - dt * gamma * y
        z = free / (1 + dt * epsilon) if implicit_damping else free - dt * epsilon * z
        y = y + dt * z
        ys.append(y)
    return OscillatorCarry(y, z), np.stack(ys)


def unicornn_reference(p, xs, carry, dt=0.19, alpha=30.65):
    y, z, ys = carry.y, carry.z, []
    pace = dt * (0.5 + 0.5 * np.tanh(p.c / 2))
    for u in xs:
        z = z - pace * (np.tanh(p.w * y + u @ p.W + p.b) + alpha * y)
        y = y + pace * z
        ys.append(y)
    return OscillatorCarry(y, z), np.stack(ys)


def lem_reference(p, xs, carry, dt=1.0):
    (V_1, V_2, V_z, V_y), (b_1, b_2, b_z, b_y) = np.split(p.W, 4, 1), np.split(p.b, 4)
    W_1, W_2, W_z = np.split(p.U_y, 3, 1)
    y, z, ys = carry.y, carry.z, []
    for u in xs:
        step = dt * sigmoid(y @ W_1 + u @ V_1 + b_1)
        step_bar = dt * sigmoid(y @ W_2 + u @ V_2 + b_2)
        z = (1 - step) * z + step * np.tanh(y @ W_z + u @ V_z + b_z)
        y = (1 - step_bar) * y + step_bar * np.tanh(z @ p.U_z + u @ V_y + b_y)
        ys.append(y)
    return LEMCarry(y, z), np.stack(ys)


@pytest.mark.parametrize("options", [{}, {"dt": 0.3, "gamma": 1.5, "epsilon": 2.0, "implicit_damping": True}])
def test_cornn(options):
    agree(cornn(H, **options), functools.partial(cornn_reference, **options))


@pytest.mark.parametrize("options", [{}, {"dt": 0.5, "alpha": 0.0}])
def test_unicornn(options):
    agree(unicornn(H, **options), functools.partial(unicornn_reference, **options))


@pytest.mark.parametrize("options", [{}, {"dt": 0.3}])
def test_lem(options):
    agree(lem(H, **options), functools.partial(lem_reference, **options))


def driven(cell, num_steps, scale):
    """States of a cell with large random parameters, from zero, under large random inputs."""
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), 1))
    params = jax.tree.map(lambda leaf: np.float32(scale * leaf), random_like(shapes))
    xs = np.sign(np.random.default_rng(3).normal(size=(num_steps, 1))).astype(np.float32)

    def run(params, xs):
        p = cell.prepare(params)

        def step(carry, x):
            carry, _ = cell.step(p, carry, cell.project(p, x))
            return carry, carry

        return jax.lax.scan(step, cell.initial_carry(params), xs)[1]

    return jax.device_get(jit(run)(params, xs))


@pytest.mark.parametrize("options", [(0.042, 2.7, 4.7), (0.06, 66.0, 15.0)])
def test_cornn_stays_within_the_bound_of_its_linear_part_under_any_force(options):
    dt, gamma, epsilon = options
    states = driven(cornn(8, dt=dt, gamma=gamma, epsilon=epsilon), 3000, scale=10)
    # The force is a tanh, so a state is at most the sum over all steps of what a force of 1 leaves behind.
    z_row = np.array([-dt * gamma, 1 - dt * epsilon])
    M = np.array([np.array([1.0, 0.0]) + dt * z_row, z_row])
    bound, left = np.zeros(2), np.array([dt**2, dt])
    for _ in range(5000):
        bound, left = bound + np.abs(left), M @ left
    reached = np.abs(states.y).max(), np.abs(states.z).max()
    assert np.all(reached <= bound * (1 + 1e-4))
    assert np.all(reached > 0.2 * bound)


def test_energy_of_cornn_with_implicit_damping_grows_at_most_linearly():
    dt, gamma, epsilon = 0.05, 1.0, 0.6
    states = driven(cornn(8, dt=dt, gamma=gamma, epsilon=epsilon, implicit_damping=True), 500, scale=10)
    energy = np.sum(gamma * states.y**2 + states.z**2, axis=1)
    # 2 tanh z <= 1 + z², and the rest of the z² is damped while 2ε - γ Δt >= 1.
    assert 2 * epsilon - gamma * dt >= 1
    assert np.all(energy <= 8 * dt * np.arange(1, 501))
    assert energy.max() > 1


@pytest.mark.parametrize("dt", [1.0, 0.3])
def test_lem_stays_between_minus_one_and_one(dt):
    states = driven(lem(8, dt=dt), 300, scale=10)
    for leaf in states:
        assert 0.9 < np.abs(leaf).max() <= 1 + 1e-6


def test_unicornn_keeps_volume_and_runs_backwards():
    cell = unicornn(3, dt=0.5, alpha=2.0)
    with jax.enable_x64(True):
        params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
        state = np.random.default_rng(0).normal(size=6)

        def step(state):
            p = cell.prepare(params)
            x = cell.project(p, np.ones(I))
            after = jnp.concatenate(cell.step(p, OscillatorCarry(state[:3], state[3:]), x)[0])
            return after, (after, p, x)

        jacobian, (after, p, x) = jax.device_get(jit(jax.jacobian(step, has_aux=True))(state))
    y, z = np.split(after, 2)
    assert np.linalg.det(jacobian) == pytest.approx(1, abs=1e-12)
    before_y = y - p.c * z
    before_z = z + p.c * (np.tanh(p.w * before_y + x) + 2.0 * before_y)
    np.testing.assert_allclose(np.concatenate([before_y, before_z]), state, atol=1e-12)


@pytest.mark.parametrize(
    ("cell", "count"),
    [(cornn(H), H * (I + 2 * H + 1)), (unicornn(H), H * (I + 3)), (lem(H), 4 * H * (I + H + 1))],
)
def test_parameter_count(cell, count):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in params) == count


def test_first_parameters():
    cells = cornn(40), lem(40), unicornn(200)
    *uniform, independent = jit(lambda: tuple(cell.init(jax.random.key(0), 2) for cell in cells))()
    for params, limit in zip(uniform, ((2 + 80) ** -0.5, 40**-0.5), strict=True):
        assert all(0.8 * limit < np.abs(leaf).max() <= limit for leaf in params)
    assert 0 <= np.min(independent.w) < 0.05
    assert 0.95 < np.max(independent.w) <= 1
    assert 0.08 < np.abs(independent.c).max() <= 0.1


def test_options_are_checked():
    with pytest.raises(ValueError, match="dt must be above 0, got 0"):
        cornn(H, dt=0)
    with pytest.raises(ValueError, match="alpha must be at least 0, got -1"):
        unicornn(H, alpha=-1)
    for dt in (0, 1.5):
        with pytest.raises(ValueError, match=f"dt must be above 0 and at most 1, got {dt}"):
            lem(H, dt=dt)
