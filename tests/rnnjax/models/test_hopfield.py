"""Hopfield networks: storage, recall, and the energy that never rises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax.models import hopfield

RULES = [hopfield.hebbian, hopfield.storkey, hopfield.pseudo_inverse]


def random_patterns(count, size, seed=0):
    return np.random.default_rng(seed).choice(np.float32([-1, 1]), size=(count, size))


def flipped(patterns, share, seed=1):
    """Each pattern with this share of its units turned over."""
    rng, result = np.random.default_rng(seed), patterns.copy()
    for pattern in result:
        pattern[rng.choice(pattern.size, round(share * pattern.size), replace=False)] *= -1
    return result


@functools.partial(jax.jit, static_argnames="rule")
def stored_and_recalled(patterns, start, rule=hopfield.hebbian):
    W = rule(patterns)
    one_by_one = hopfield.recall_asynchronous(W, start, jax.random.key(0), num_sweeps=8)
    return one_by_one, hopfield.recall_synchronous(W, start, num_steps=20)


@pytest.mark.parametrize(("count", "least_mean"), [(50, 0.98), (15, 1.0)])
def test_patterns_come_back_from_ten_percent_of_flipped_units(count, least_mean):
    """At N = 500: 0.1 N patterns with a mean overlap of at least 0.98, 0.03 N exactly."""
    patterns = random_patterns(count, 500)
    start = flipped(patterns, 0.1)
    np.testing.assert_allclose(hopfield.overlap(start, patterns), 0.8, atol=1e-6)
    for recall in stored_and_recalled(patterns, start):
        overlaps = np.mean(recall.state * patterns, axis=1)
        assert overlaps.mean() >= least_mean
        assert np.all(np.abs(recall.state) == 1)


def test_far_beyond_its_capacity_nothing_comes_back():
    patterns = random_patterns(60, 128)
    one_by_one, _ = stored_and_recalled(patterns, flipped(patterns, 0.1))
    assert np.mean(one_by_one.state * patterns) < 0.7


@pytest.mark.parametrize("with_thresholds", [False, True])
def test_energy_never_rises_one_unit_at_a_time(with_thresholds):
    """Weights and thresholds in sixteenths make every sum exact, so this holds to the last bit."""
    rng, size = np.random.default_rng(0), 40
    half = np.triu(rng.integers(-16, 17, size=(size, size)), 1)
    W = np.float32(half + half.T) / 16
    thresholds = np.float32(rng.integers(-32, 33, size=size) / 16) if with_thresholds else 0.0
    start = random_patterns(7, size)
    recall = jax.jit(lambda key: hopfield.recall_asynchronous(W, start, key, num_sweeps=6, thresholds=thresholds))(
        jax.random.key(1)
    )
    plain = lambda s: -0.5 * np.einsum("bi,ij,bj->b", s, W, s) + np.sum(s * thresholds, axis=-1)
    energies = np.concatenate([plain(start)[None], recall.energies])
    assert energies.shape == (6 * size + 1, 7)
    assert np.all(np.diff(energies, axis=0) <= 0)
    assert np.all(energies[-1] < energies[0])
    np.testing.assert_array_equal(energies[-1], plain(recall.state))
    # At rest: every unit agrees with its field.
    assert np.all(recall.state * (recall.state @ W - thresholds) >= 0)


def test_each_update_sees_the_one_before():
    """The order of a sweep is a permutation; the states follow by hand, unit by unit."""
    size, key = 12, jax.random.key(3)
    W = np.asarray(hopfield.hebbian(random_patterns(5, size)))
    state = random_patterns(1, size, seed=4)[0]
    recall = hopfield.recall_asynchronous(W, state, key, num_sweeps=2)
    for sweep_key in jax.random.split(key, 2):
        for unit in np.asarray(jax.random.permutation(sweep_key, size)):
            field = W[unit] @ state
            state[unit] = state[unit] if field == 0 else np.sign(field)
    np.testing.assert_array_equal(recall.state, state)


def test_two_units_alternate_where_all_are_updated_at_once():
    W = np.float32([[0, -1], [-1, 0]])
    start = np.float32([1, 1])
    np.testing.assert_array_equal(hopfield.recall_synchronous(W, start, num_steps=1).state, -start)
    np.testing.assert_array_equal(hopfield.recall_synchronous(W, start, num_steps=2).state, start)
    rest = hopfield.recall_asynchronous(W, start, jax.random.key(0), num_sweeps=3)
    assert sorted(np.asarray(rest.state)) == [-1, 1]
    np.testing.assert_array_equal(rest.energies[-1], -1)


@pytest.mark.parametrize("rule", RULES)
def test_weights_are_symmetric_without_a_diagonal(rule):
    W = np.asarray(jax.jit(rule)(random_patterns(6, 20)))
    assert W.shape == (20, 20)
    np.testing.assert_allclose(W, W.T, atol=1e-6)
    assert np.all(np.diagonal(W) == 0)


def test_hebbian_weights_by_hand():
    np.testing.assert_allclose(
        hopfield.hebbian(jnp.array([[1, -1, 1], [1, 1, 1]])), np.array([[0, 0, 2], [0, 0, 0], [2, 0, 0]]) / 3, rtol=1e-6
    )


def test_storkey_weights_by_hand():
    patterns, size = random_patterns(4, 7), 7
    W = np.zeros((size, size))
    for pattern in patterns:
        old = W.copy()
        h = lambda i, j: sum(old[i, k] * pattern[k] for k in range(size) if k not in (i, j))
        for i in range(size):
            for j in range(size):
                if i != j:
                    W[i, j] += (pattern[i] * pattern[j] - pattern[i] * h(j, i) - h(i, j) * pattern[j]) / size
    np.testing.assert_allclose(hopfield.storkey(patterns), W, atol=1e-6)


def test_pseudo_inverse_keeps_many_alike_patterns_where_hebb_cannot():
    """A quarter of N patterns which share four units in five with one of them."""
    patterns = flipped(np.repeat(random_patterns(1, 80), 20, axis=0), 0.2)
    for rule, kept in ((hopfield.pseudo_inverse, 1.0), (hopfield.hebbian, 0.0)):
        recall = stored_and_recalled(patterns, patterns, rule)[0]
        assert np.mean(np.all(recall.state == patterns, axis=1)) == kept


def test_storkey_holds_more_than_hebb():
    patterns = random_patterns(24, 120)
    share = lambda rule: np.mean(np.all(stored_and_recalled(patterns, patterns, rule)[0].state == patterns, axis=1))
    assert share(hopfield.storkey) > share(hopfield.hebbian) + 0.3


def test_a_state_without_a_field_stays():
    state = np.float32([1, -1, 1])
    for recall in (
        hopfield.recall_asynchronous(np.zeros((3, 3), np.float32), state, jax.random.key(0), num_sweeps=1),
        hopfield.recall_synchronous(np.zeros((3, 3), np.float32), state, num_steps=1),
    ):
        np.testing.assert_array_equal(recall.state, state)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"patterns must be \[number, N\], both at least 1, got shape \(3,\)"):
        hopfield.hebbian(np.ones(3))
    with pytest.raises(ValueError, match="the units of a pattern must be -1 or 1"):
        hopfield.storkey(np.zeros((2, 3)))
    W = np.zeros((3, 3), np.float32)
    with pytest.raises(ValueError, match=r"weights must be \[N, N\] and states .* got \(3, 3\) and \(4,\)"):
        hopfield.recall_synchronous(W, np.ones(4))
    with pytest.raises(ValueError, match="num_sweeps must be at least 1, got 0"):
        hopfield.recall_asynchronous(W, np.ones(3), jax.random.key(0), num_sweeps=0)
