"""The step of training by hand, and when a training has diverged, or has ended."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnnjax.cell import Cell
from rnnjax.models.model import ModelParams
from rnnjax.tasks import Example, Task
from rnnjax.tasks.base import right_within, squared_error
from rnnjax.training.optimizers import Hyper
from rnnjax.training.step import make_step
from rnnjax.training.train import Data, make_trainer

KEY = jax.random.key(0)


def test_a_step_is_that_of_the_mean_loss_and_the_penalty():
    """Two of three examples count: the mean of (w - x)² is 2 (w - mean x), and the penalty adds 3 w²."""

    def objective(w, xs, counted):
        return jnp.sum(counted * (w - xs) ** 2), (counted.sum(), "kept")

    sgd = optax.sgd(0.1)
    xs, counted = jnp.array([1.0, 5.0, 100.0]), jnp.array([1.0, 1.0, 0.0])
    made = make_step(objective, sgd, lambda w: 3 * w**2)(jnp.float32(2.0), sgd.init(2.0), xs, counted)
    gradient = 2 * (2.0 - 3.0) + 6 * 2.0
    np.testing.assert_allclose(made.params, 2.0 - 0.1 * gradient, rtol=1e-6)
    np.testing.assert_allclose(made.gradient_norm, gradient, rtol=1e-6)
    assert (made.total, made.weight, made.kept, made.finite) == (10.0, 2.0, "kept", True)


@pytest.mark.parametrize(("value", "slope"), [(np.nan, 1.0), (1.0, np.inf)])
def test_a_loss_or_a_gradient_that_is_not_finite(value, slope):
    sgd = optax.sgd(0.1)
    made = make_step(lambda w: (value + slope * (w - 2.0), (1.0, None)), sgd)(jnp.float32(2.0), sgd.init(2.0))
    assert not made.finite


def echo() -> Task:
    """Say again the one number there is; solved below a loss of 0.01. Chance is 1."""

    def sample(key):
        x = jax.random.normal(key, (1, 1))
        return Example(x, x[0, 0])

    return Task(
        **dict(name="echo", seq_len=1, num_steps=1, input_size=1, output_size=1, outputs="last"),
        **dict(sample=sample, loss=squared_error, correct=right_within(0.5), chance_loss=1.0, chance_accuracy=0.0),
        criterion="a mean squared error below 0.01",
        solved=lambda loss, accuracy: loss < 0.01,
        splits=None,
    )


def through() -> Cell:
    """h = x; all there is to learn is the readout."""
    return Cell(
        output_size=1,
        init=lambda key, input_size: jnp.float32(0.0),
        initial_carry=lambda params, batch_shape: jnp.zeros((*batch_shape, 1)),
        project=lambda p, x: x,
        step=lambda p, h, x: (x, x),
    )


DATA = Data(None, *(Example(x := np.linspace(-2, 2, n, dtype=np.float32).reshape(n, 1, 1), x[:, 0, 0]) for n in (9, 5)))


def readout(*weights) -> ModelParams:
    """Parameters of trials side by side; with weight 1 the task is solved."""
    return ModelParams(jnp.zeros(len(weights)), jnp.array(weights).reshape(-1, 1, 1), jnp.zeros((len(weights), 1)))


def trained(params, rate, num_chunks, **options):
    """States and metrics after each chunk of five steps."""
    trainer = make_trainer(echo(), through(), batch_size=4, steps_per_chunk=5, **options)
    chunk = jax.jit(jax.vmap(lambda state, rate: trainer.chunk(state, KEY, Hyper(rate), DATA)))
    state, rates = jax.vmap(trainer.start)(params), jnp.broadcast_to(jnp.float32(rate), len(params.b))
    found = []
    for _ in range(num_chunks):
        state, metrics = chunk(state, rates)
        found.append((state, metrics))
    return found


def test_a_loss_that_rose_far_above_its_start_and_stayed_is_diverged():
    found = trained(readout(0.9, 0.9, 100.0), [1e3, 0.01, 1e-6], 2)
    (first, _), (state, metrics) = found
    assert not first.diverged.any()  # once may be a stumble
    assert np.isfinite(metrics.train_loss).all()
    assert metrics.train_loss[0] > 1e4
    assert metrics.train_loss[2] > 1e3  # where it started
    np.testing.assert_array_equal(state.diverged, [True, False, False])
    assert not state.broken.any()


def test_what_has_solved_three_times_stops_and_its_neighbours_go_on():
    params, rates = readout(1.01, 5.0, 0.0), [1e-3, 1e-3, 1e38]
    stopping = trained(params, rates, 6, optimizer="sgd", stop_when_solved=True)
    going_on = trained(params, rates, 6, optimizer="sgd")
    state, metrics = stopping[-1]
    np.testing.assert_array_equal(state.step, [15, 30, 5])
    np.testing.assert_array_equal(state.ended, [True, False, True])
    np.testing.assert_array_equal(state.diverged, [False, False, True])
    assert np.isnan(metrics.train_loss[0])
    kept = lambda leaf: np.asarray(leaf)[0]
    for leaf, then in zip(jax.tree.leaves(state), jax.tree.leaves(stopping[2][0]), strict=True):
        np.testing.assert_array_equal(kept(leaf), kept(then))
    for (left, _), (right, _) in zip(stopping[:3], going_on[:3], strict=True):
        np.testing.assert_array_equal(kept(left.params.W), kept(right.params.W))
    np.testing.assert_array_equal(state.params.W[1], going_on[-1][0].params.W[1])
    assert state.params.W[0] != going_on[-1][0].params.W[0]
    others, _ = trained(readout(1.01, -7.0, 0.0), rates, 6, optimizer="sgd", stop_when_solved=True)[-1]
    np.testing.assert_array_equal(kept(others.best_params.W), kept(state.best_params.W))
