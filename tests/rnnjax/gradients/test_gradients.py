"""How far a gradient travels: by hand where it is known, else against plain differentiation."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import bidirectional, gru, layer, lstm, stack
from rnnjax.cell import Array, Cell
from rnnjax.gradients import (
    Horizon,
    by_training_step,
    gradient_by_lag,
    gradient_horizon,
    gradients_by_lag,
    mean_by_lag,
)

T, B, I, H = 6, 3, 2, 3
LENGTHS = np.array([4, 6, 0])
XS = np.random.default_rng(0).normal(size=(T, B, I)).astype(np.float32)


def linear(factor, dtype=jnp.float32) -> Cell:
    """h' = a h + x, one unit."""
    return Cell(
        output_size=1,
        init=lambda key, input_size: jnp.asarray(factor, dtype),
        initial_carry=lambda params, batch_shape: jnp.zeros((*batch_shape, 1), dtype),
        project=lambda p, x: x,
        step=lambda p, h, x: (p * h + x, p * h + x),
    )


def last(ys):
    """The sum of the last outputs, one loss an example."""
    return ys[-1].sum(axis=-1)


def every(ys):
    """A loss that looks at all outputs."""
    return jnp.sum(jnp.sin(3.0 * ys), axis=(0, -1))


# --- by hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.9, -0.5, 1.0, 1.25])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_a_linear_cell_it_is_a_power(factor, dtype):
    with jax.enable_x64(dtype == np.float64):
        cell = linear(factor, dtype)
        by_lag = jax.jit(lambda p, xs: gradient_by_lag(cell, p, xs, last))
        found = by_lag(cell.init(None, 1), jnp.zeros((20, 1), dtype))
        assert found.dtype == dtype
        expected = np.arange(1, 21) * math.log(abs(factor))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)


def test_far_below_the_smallest_float():
    by_lag = jax.jit(lambda p, xs: gradient_by_lag(linear(0.5), p, xs, last))
    found = by_lag(jnp.float32(0.5), jnp.zeros((2000, 1, 1)))[:, 0]
    np.testing.assert_allclose(found, np.arange(1, 2001) * math.log(0.5), rtol=1e-4)
    np.testing.assert_allclose(gradient_horizon(found).steps, 1 / math.log(2), rtol=1e-2)  # of what is above 1e-30


def test_one_step_may_shrink_or_grow_it_beyond_the_range_of_squares():
    """The square of 1e-25 is no float32, nor is that of 1e25."""
    by_lag = jax.jit(lambda p, xs, size: gradient_by_lag(linear(1.0), p, xs, lambda ys: size * last(ys)))
    for factor in (1e-25, 1e25):
        found = by_lag(jnp.float32(factor), jnp.zeros((4, 1)), 1.0)
        np.testing.assert_allclose(found, np.arange(1, 5) * math.log(factor), rtol=1e-5)
    small = by_lag(jnp.float32(0.5), jnp.zeros((4, 1)), 1e-25)
    np.testing.assert_allclose(small, math.log(1e-25) - np.arange(1, 5) * math.log(2), rtol=1e-5)


def test_lags_are_counted_from_each_sequences_own_last_step():
    lengths = np.array([4, 6, 0])
    # the output at its own last step alone is looked at, as the readout of a model does
    loss = lambda ys: jnp.take_along_axis(ys, np.maximum(lengths - 1, 0)[None, :, None], axis=0)[0, :, 0]
    by_lag = jax.jit(lambda p, xs: gradient_by_lag(linear(0.5), p, xs, loss, lengths=lengths))
    found = by_lag(jnp.float32(0.5), jnp.ones((6, 3, 1)))
    lags = np.arange(1, 7)[:, None]
    np.testing.assert_allclose(found, np.where(lags <= lengths, lags * math.log(0.5), -np.inf), rtol=1e-6)


class Mixed(NamedTuple):
    time: Array  # int32 [*B]
    h: Array  # float32 [*B, 1]
    w: Array  # complex64 [*B, 1]


def test_integer_leaves_are_ignored_and_complex_ones_count_as_two_reals():
    """h' = h / 2 and w' = (3 + 4i)/10 w: both shrink by one half, w by turning as well."""

    def step(p, carry, x):
        h, w = p * carry.h, (0.3 + 0.4j) * carry.w + x
        return Mixed(carry.time + 1, h, w), jnp.concatenate([h, w.real + 2.0 * w.imag], axis=-1)

    def initial_carry(params, batch_shape):
        return Mixed(
            jnp.zeros(batch_shape, jnp.int32), jnp.zeros((*batch_shape, 1)), jnp.zeros((*batch_shape, 1), jnp.complex64)
        )

    cell = Cell(2, lambda key, input_size: 0.5, initial_carry, lambda p, x: x, step)
    loss = lambda ys: 2.0 * ys[-1, 0] + ys[-1, 1]
    by_lag = jax.jit(lambda p, xs: gradients_by_lag(cell, p, xs, loss)[0])
    found, leaves = by_lag(jnp.float32(0.5), jnp.zeros((5, 1)))
    powers = np.arange(1, 6) * math.log(0.5)
    start = 0.5 * math.log(2.0**2 + 1.0**2 + 2.0**2)  # of h, and of the real and imaginary part of w
    np.testing.assert_allclose(found, start + powers, rtol=1e-5)
    assert list(leaves) == ["h", "w"]
    np.testing.assert_allclose(leaves["h"], math.log(2.0) + powers, rtol=1e-5)
    np.testing.assert_allclose(leaves["w"], 0.5 * math.log(1.0**2 + 2.0**2) + powers, rtol=1e-5)


# --- against plain differentiation -----------------------------------------------------------------------------------


def by_perturbation(cell, params, xs, loss, lengths):
    """log norms by lag for one example: the gradient by something added to each carry, T carries in turn."""
    carry = cell.initial_carry(params, ())
    length = len(xs) if lengths is None else lengths
    added = [jax.tree.map(jnp.zeros_like, carry) for _ in range(length)]

    def total(added):
        state, ys = carry, []
        for x, plus in zip(xs[:length], added, strict=True):
            state = jax.tree.map(jnp.add, state, plus)
            state, y = cell.step(params, state, cell.project(params, x))
            ys.append(y)
        ys += [jnp.zeros(cell.output_size)] * (len(xs) - length)
        return loss(jnp.stack(ys))

    leaves = [jax.tree.leaves(one) for one in jax.grad(total)(added)]
    norms = [math.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in one)) for one in leaves]
    return np.concatenate([np.log(norms[::-1]), np.full(len(xs) - length, -np.inf)])


CELLS = {"lstm": lstm(H, peepholes=True), "gru": gru(H), "stack": stack(gru(H), lstm(2))}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_it_is_the_gradient_by_the_carries(name, lengths):
    cell = CELLS[name]
    rng = np.random.default_rng(7)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    params = jax.tree.map(lambda leaf: 0.7 * rng.normal(size=leaf.shape).astype(np.float32), shapes)
    by_lag = jax.jit(lambda params: gradient_by_lag(cell, params, XS, every, lengths=lengths))
    found = np.asarray(by_lag(params))
    assert found.shape == (T, B)
    for i in (0, 1):
        expected = by_perturbation(cell, params, XS[:, i], every, None if lengths is None else int(lengths[i]))
        np.testing.assert_allclose(found[:, i], expected, rtol=0, atol=2e-5)
    if lengths is not None:
        assert np.isneginf(found[:, 2]).all()


def added_to(cell, params, added, xs):
    """The outputs of a cell step by step, with something added to each carry it is given."""
    state, ys = cell.initial_carry(params, ()), []
    for x, plus in zip(xs, added, strict=True):
        state, y = cell.step(params, jax.tree.map(jnp.add, state, plus), cell.project(params, x))
        ys.append(y)
    return jnp.stack(ys)


def test_every_run_of_a_network_of_layers():
    """A bidirectional layer below an LSTM: three runs, and the leaves of each, against plain differentiation."""
    network = stack(bidirectional(gru(H)), layer(lstm(2)))
    params = network.init(jax.random.key(3), I)
    (p_forward, p_backward), p_top = params
    zeros = [
        jax.tree.map(lambda leaf: jnp.zeros((T, *leaf.shape)), cell.initial_carry(p, ()))
        for cell, p in ((gru(H), p_forward), (gru(H), p_backward), (lstm(2), p_top))
    ]

    def total(added, xs):
        steps = [[jax.tree.map(lambda leaf: leaf[t], one) for t in range(T)] for one in added]
        forward = added_to(gru(H), p_forward, steps[0], xs)
        backward = added_to(gru(H), p_backward, steps[1], xs[::-1])[::-1]
        return every(added_to(lstm(2), p_top, steps[2], jnp.concatenate([forward, backward], axis=-1)))

    @jax.jit
    def both(params):
        return gradients_by_lag(network, params, XS, every), jax.grad(total)(zeros, XS[:, 1])

    found, expected = both(params)
    for run, by_hand, names in zip(found, expected, (["carry"], ["carry"], ["h", "c"]), strict=True):
        squares = [np.sum(np.square(leaf), axis=-1)[::-1] for leaf in jax.tree.leaves(by_hand)]
        np.testing.assert_allclose(run.joined[:, 1], 0.5 * np.log(sum(squares)), atol=2e-5)
        assert sorted(run.leaves) == sorted(names)
        for name, square in zip(names, squares, strict=True):
            np.testing.assert_allclose(run.leaves[name][:, 1], 0.5 * np.log(square), atol=2e-5)


def test_a_bidirectional_layer_with_lengths_reads_each_sequence_alone():
    network = bidirectional(gru(H))
    params = network.init(jax.random.key(4), I)
    run = jax.jit(lambda xs, lengths: gradients_by_lag(network, params, xs, every, lengths=lengths))
    together = run(XS, LENGTHS)
    alone = jax.jit(lambda xs: gradients_by_lag(network, params, xs, every))(XS[: LENGTHS[0], :1])
    for whole, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(whole.joined[: LENGTHS[0], 0], one.joined[:, 0], atol=1e-5)
        assert np.isneginf(whole.joined[LENGTHS[0] :, 0]).all()


def test_the_matrix_of_training_step_by_lag():
    class State(NamedTuple):
        params: Array

    def measure(params):
        return mean_by_lag(gradient_by_lag(linear(1.0), params, jnp.zeros((4, 1, 1)), last))

    def halve(state):
        return State(state.params / 2), "anything else"

    state, matrix = jax.jit(lambda state: by_training_step(halve, state, measure, 3))(State(jnp.float32(0.8)))
    assert float(state.params) == pytest.approx(0.1)
    factors = np.log([0.8, 0.4, 0.2, 0.1])
    np.testing.assert_allclose(matrix, factors[:, None] * np.arange(1, 5), rtol=1e-5)


def test_a_saturated_forget_gate_keeps_the_gradient_of_the_cell():
    """At b_f = 20, and with U zero, c goes on as it is: all but the first gradient have the same norm."""
    cell = lstm(H, forget_bias=20.0, recurrent_init=jax.nn.initializers.zeros)
    params = cell.init(jax.random.key(0), I)
    xs = np.random.default_rng(2).normal(size=(50, B, I)).astype(np.float32)
    by_lag = jax.jit(lambda params: gradient_by_lag(cell, params, xs, last))
    found = by_lag(params)
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), atol=1e-5)
    assert gradient_horizon(mean_by_lag(found)).steps > 1e4
    assert gradient_horizon(mean_by_lag(by_lag(params._replace(b=params.b - 20.0)))).steps < 3


# --- horizon ---------------------------------------------------------------------------------------------------------


def powers(factor, num_lags=100):
    return np.arange(1, num_lags + 1) * math.log(factor)


@pytest.mark.parametrize("factor", [0.1, 0.5, 0.9, 0.95])
def test_the_horizon_of_powers(factor):
    steps, censored = gradient_horizon(powers(factor))
    np.testing.assert_allclose(steps, -1 / math.log(factor), rtol=1e-6)
    assert not censored


def test_the_horizon_is_of_the_mean_over_examples():
    both = np.stack([powers(0.9), np.full(100, -np.inf)], axis=1)
    np.testing.assert_allclose(gradient_horizon(mean_by_lag(both)).steps, -1 / math.log(0.9), rtol=1e-4)
    mixed = np.stack([powers(0.9), powers(0.5)], axis=1)  # the longer one is all that is left at late lags
    np.testing.assert_allclose(gradient_horizon(mean_by_lag(mixed)).steps, -1 / math.log(0.9), rtol=1e-3)


def test_the_mean_is_of_the_examples_that_reach_the_lag():
    lengths = np.arange(5, 11)
    reached = np.arange(1, 11)[:, None] <= lengths
    constant = np.where(reached, math.log(0.3), -np.inf)
    np.testing.assert_allclose(mean_by_lag(constant, lengths), math.log(0.3), rtol=1e-6)
    assert mean_by_lag(constant)[-1] < math.log(0.3) - 1


@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_the_horizon_of_what_does_not_fall_is_infinite(factor):
    assert gradient_horizon(powers(factor)) == Horizon(math.inf, censored=True)


def test_beyond_the_sequence_it_is_censored():
    steps, censored = gradient_horizon(powers(0.99, 50))
    np.testing.assert_allclose(steps, -1 / math.log(0.99), rtol=1e-6)
    assert censored
    assert not gradient_horizon(powers(0.99, 200)).censored


def test_lags_before_a_quarter_and_norms_below_1e_30_are_left_out():
    log_norms = powers(0.9)
    log_norms[:24] = 50.0
    np.testing.assert_allclose(gradient_horizon(log_norms).steps, -1 / math.log(0.9), rtol=1e-6)
    log_norms = powers(0.25)
    log_norms[50:] = -200.0  # 4^-50 is below 1e-30
    np.testing.assert_allclose(gradient_horizon(log_norms).steps, -1 / math.log(0.25), rtol=1e-6)


def test_where_all_is_gone_before_a_quarter_the_lags_before_count():
    np.testing.assert_allclose(gradient_horizon(powers(0.01)).steps, -1 / math.log(0.01), rtol=1e-6)


def test_no_gradient_no_horizon():
    gone = np.full(20, -np.inf)
    assert gradient_horizon(gone) == Horizon(0.0, censored=False)
    gone[0] = 0.0
    assert gradient_horizon(gone) == Horizon(0.0, censored=False)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_has_no_horizon(bad):
    log_norms = powers(0.9)
    log_norms[-1] = bad
    steps, censored = gradient_horizon(log_norms)
    assert math.isnan(steps)
    assert not censored
