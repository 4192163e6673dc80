"""Size and coherence of the derivative of the last output, and the reach that follows from them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import CELLS, gru, lstm
from rnnjax.cell import Cell
from rnnjax.gradients import Derivatives, gradient_reach, output_derivatives
from rnnjax.gradients.reach import AT_ONCE


def gated(factor=0.0) -> Cell:
    """h' = (factor + x) h, one unit: a gate that the inputs alone move."""
    return Cell(
        output_size=1,
        init=lambda key, input_size: jnp.float32(factor),
        initial_carry=lambda params, batch_shape: jnp.ones((*batch_shape, 1)),
        project=lambda p, x: p + x,
        step=lambda p, h, a: (a * h, a * h),
    )


def measure(cell, params, xs, lengths=None):
    found = jax.jit(lambda params, xs: output_derivatives(cell, params, xs, lengths=lengths))(params, xs)
    return Derivatives(*(np.asarray(values, np.float64) for values in found))


# --- theory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.9, -0.5, 0.01, 100.0])
def test_a_constant_linear_cell_is_wholly_coherent(factor):
    """Far outside the range of float32 as well."""
    found = measure(gated(factor), jnp.float32(factor), jnp.zeros((60, 5, 1)))
    np.testing.assert_allclose(found.log_rms, np.arange(1, 61) * math.log(abs(factor)), rtol=1e-5)
    np.testing.assert_allclose(found.coherence, 1, atol=1e-5)


@pytest.mark.parametrize(("mean", "variance"), [(1.0, 0.1), (-2.0, 0.4), (0.1, 0.001)])
def test_behind_a_noisy_gate_coherence_falls_as_a_power(mean, variance):
    """κ_k = (1 + s²/a²)^-k, and mean |J_k|² = (a² + s²)^k."""
    xs = math.sqrt(variance) * jax.random.normal(jax.random.key(0), (10, 40_000, 1))
    found = measure(gated(mean), jnp.float32(mean), xs)
    lags = np.arange(1, 11)
    np.testing.assert_allclose(found.coherence, (1 + variance / mean**2) ** -lags, atol=0.02)
    np.testing.assert_allclose(2 * found.log_rms, lags * math.log(mean**2 + variance), atol=0.1)


def test_what_sequences_do_not_share_has_no_coherence_whatever_their_number():
    """Signs by chance: J_k = ±1. The plain share of the square of the mean would be 1 / N."""
    for seed in range(3):
        xs = jax.random.rademacher(jax.random.key(seed), (5, 400, 1), jnp.float32)
        found = measure(gated(), jnp.float32(0), xs)
        np.testing.assert_allclose(found.log_rms, 0, atol=1e-6)
        assert np.abs(found.coherence).max() < 0.02
    two = measure(gated(), jnp.float32(0), jnp.array([1.0, -1.0]).reshape(1, 2, 1))
    np.testing.assert_allclose(two.coherence, -1, rtol=1e-6)  # the least there is, -1 / (N - 1)


# --- against whole Jacobians -----------------------------------------------------------------------------------------


def by_jacobians(cell, params, xs, lengths):
    """The same from the Jacobian of every sequence alone, by forward differentiation."""
    T, N = xs.shape[:2]
    p = cell.prepare(params, None, xs.shape[-1:])
    J = np.full((T, N), None, object)
    for n in range(N):
        carries = [cell.initial_carry(params, ())]
        for x in xs[: lengths[n], n]:
            carries.append(cell.step(p, carries[-1], cell.project(p, x))[0])
        for k in range(1, lengths[n] + 1):

            def rest(carry, n=n, k=k):
                for x in xs[lengths[n] - k : lengths[n], n]:
                    carry, y = cell.step(p, carry, cell.project(p, x))
                return y

            leaves, rebuild = jax.tree.flatten(carries[lengths[n] - k])

            def of(real, imaginary, rest=rest, rebuild=rebuild, leaves=leaves):
                parts = [
                    r + 1j * i if jnp.iscomplexobj(a) else r for r, i, a in zip(real, imaginary, leaves, strict=True)
                ]
                return rest(jax.tree.unflatten(rebuild, parts))

            real = [jnp.real(a) for a in leaves]
            parts = jax.jacfwd(of, argnums=(0, 1))(real, [jnp.imag(a) for a in leaves])
            J[k - 1, n] = np.concatenate([np.ravel(a) for a in jax.tree.leaves(parts)])
    found = []
    for row in J:
        some = np.stack([one for one in row if one is not None])
        n, square = len(some), (np.abs(some) ** 2).sum(axis=1).mean()
        common = np.abs(some.mean(axis=0) ** 2).sum()
        found.append((0.5 * math.log(square), (n * common - square) / ((n - 1) * square)))
    return Derivatives(*np.transpose(found))


@pytest.mark.parametrize(("name", "options"), [("lstm", {"forget_bias": 3.0}), ("gru", {}), ("lru", {})])
def test_it_is_the_derivative_of_the_last_output_by_the_carries(name, options):
    """With a carry of complex numbers too, and sequences of several lengths."""
    cell = CELLS[name](2, **options)
    params = cell.init(jax.random.key(0), 2)
    xs, lengths = jax.random.normal(jax.random.key(1), (3, 3, 2)), np.array([2, 3, 3])
    found, expected = measure(cell, params, xs, lengths), by_jacobians(cell, params, xs, lengths)
    np.testing.assert_allclose(found.log_rms, expected.log_rms, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.coherence, expected.coherence, rtol=1e-3, atol=1e-5)


def test_sequences_are_taken_in_portions_and_padding_counts_for_nothing(monkeypatch):
    cell = lstm(3)
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (12, 2, AT_ONCE - 20, 2))  # with two batch axes
    whole = measure(cell, params, xs)
    monkeypatch.setattr("rnnjax.gradients.reach.AT_ONCE", 10_000)
    at_once = measure(cell, params, xs)
    np.testing.assert_allclose(whole.log_rms, at_once.log_rms, atol=1e-4)
    np.testing.assert_allclose(whole.coherence, at_once.coherence, atol=1e-4)


def test_of_many_outputs_random_directions_say_nearly_the_same(monkeypatch):
    cell = gru(40)
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (6, 64, 2))
    few = measure(cell, params, xs)
    monkeypatch.setattr("rnnjax.gradients.reach.MOST_OUTPUTS", 40)
    every = measure(cell, params, xs)
    np.testing.assert_allclose(few.log_rms, every.log_rms, atol=0.15)
    np.testing.assert_allclose(few.coherence, every.coherence, atol=0.03)


# --- the reach -------------------------------------------------------------------------------------------------------


def derivatives(size, coherence, T=20):
    """Powers of `size` and `coherence` at lags 1..T."""
    lags = np.arange(1, T + 1)
    return Derivatives(lags * math.log(size), coherence**lags)


@pytest.mark.parametrize(
    ("size", "coherence", "size_lag", "coherence_lag", "share"),
    [
        (1.0, 1.0, math.inf, math.inf, 1.0),
        (0.4, 1.0, 9, math.inf, 9 / 20),  # 0.4^8 = 6.6e-4 of lag 1
        (2.0, 0.6, math.inf, 7, 7 / 20),  # 0.6^7 = 0.028 < 1/33
        (0.4, 0.6, 9, 7, 7 / 20),
    ],
)
def test_the_reach_is_the_smaller_of_two_lags(size, coherence, size_lag, coherence_lag, share):
    assert gradient_reach(derivatives(size, coherence)) == (share, size_lag, coherence_lag)


def test_larger_batches_see_less_coherence_and_lags_beyond_a_tasks_own_are_left_out():
    found = derivatives(1.0, 0.6)
    assert gradient_reach(found, batch_size=1).coherence_lag == 2  # 0.36 < 1/2
    assert gradient_reach(found, batch_size=999).coherence_lag == 14  # 0.6^14 = 7.8e-4
    assert gradient_reach(found, num_lags=6).share == 1
    for bad in (0, 21):
        with pytest.raises(ValueError, match=f"num_lags={bad} must be from 1 to 20"):
            gradient_reach(found, num_lags=bad)
    with pytest.raises(ValueError, match="batch_size=0"):
        gradient_reach(found, batch_size=0)


def test_of_a_derivative_that_ends_or_is_not_finite():
    nothing = measure(gated(), jnp.float32(0), jnp.zeros((4, 8, 1)))
    assert np.isneginf(nothing.log_rms).all()
    assert gradient_reach(nothing).share == 1 / 4
    assert math.isnan(gradient_reach(Derivatives(np.array([0.0, np.inf]), np.ones(2))).share)
    assert math.isnan(gradient_reach(Derivatives(np.array([0.0, np.nan]), np.ones(2))).share)


def test_what_has_no_reach_is_refused():
    with pytest.raises(ValueError, match="the reach is of a Cell"):
        output_derivatives("lstm", None, jnp.zeros((2, 3, 1)))
