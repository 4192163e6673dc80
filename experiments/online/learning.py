"""Online learning: a step of gradient descent on every sequence, until enough in a row were right.

    y = σ(W h_T + b),   E = ½ Σ (y − target)²,   w ← w − α ∂E/∂w   after every sequence

A sequence is right where no output is off by the task's tolerance or more, by the weights before its step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from experiments.online.settings import Settings
from experiments.shared.cells import build_cell
from rnnjax.compiling import compiler_options
from rnnjax.initializers import symmetric_uniform
from rnnjax.models.model import Model, make_model
from rnnjax.tasks import make_task
from rnnjax.tasks.base import Example, Task

TOLERANCE = {"adding_1997": 0.04, "temporal_order": 0.3, "temporal_order_3": 0.3}
NUM_TEST = 2560
weights = symmetric_uniform(0.1)


class Learning(NamedTuple):
    """Of one network; all that goes from sequence to sequence."""

    params: Any
    sequences: Array  # [] how many were learnt from
    in_a_row: Array  # [] how many of the last were right
    errors: Array  # [in_a_row] squared errors of the last sequences, the oldest overwritten
    ended: Array  # [] by the rule of stopping


class Online(NamedTuple):
    """start(key) -> Learning; run(state, key, count) -> state after up to count more sequences; test(params, key)
    -> (how many of NUM_TEST fresh sequences are wrong, mean squared error)."""

    start: Callable[[Array], Learning]
    run: Callable[[Learning, Array, Array], Learning]
    test: Callable[[Any, Array], tuple[Array, Array]]


def make_online(settings: Settings) -> Online:
    """The paper's training of a network, for one seed; `jax.vmap` takes several.

    Raises:
      ValueError: a cell or lag that does not exist.
    """
    task = make_task(settings.task, settings.lag)
    model = make_model(build_cell(settings.cell, settings.hidden_size, task.num_steps), task.output_size)

    def start(key: Array) -> Learning:
        params = model.init(jax.random.fold_in(key, 0), task.input_size)
        params = params._replace(W=weights(jax.random.fold_in(key, 1), params.W.shape, jnp.float32))
        zero = jnp.zeros((), jnp.int32)
        return Learning(params, zero, zero, jnp.full(settings.in_a_row, jnp.inf), jnp.zeros((), bool))

    def learn(state: Learning, key: Array) -> Learning:
        example = task.sample(jax.random.fold_in(key, state.sequences))

        def loss(params: Any) -> tuple[Array, Array]:
            miss = misses(model, task, params, example)
            return jnp.sum(miss**2) / 2, miss

        gradient, miss = jax.grad(loss, has_aux=True)(state.params)
        params = jax.tree.map(lambda w, dw: w - settings.learning_rate * dw, state.params, gradient)
        errors = state.errors.at[state.sequences % settings.in_a_row].set(jnp.sum(miss**2))
        in_a_row = jnp.where(jnp.max(jnp.abs(miss)) < TOLERANCE[settings.task], state.in_a_row + 1, 0)
        ended = (in_a_row >= settings.in_a_row) & (jnp.mean(errors) < settings.error_below)
        return Learning(params, state.sequences + 1, in_a_row, errors, ended)

    def run(state: Learning, key: Array, count: Array) -> Learning:
        def one(_: Array, state: Learning) -> Learning:
            return jax.tree.map(lambda old, new: jnp.where(state.ended, old, new), state, learn(state, key))

        return lax.fori_loop(0, count, one, state)

    def test(params: Any, key: Array) -> tuple[Array, Array]:
        examples = jax.vmap(task.sample)(jax.random.split(key, NUM_TEST))
        miss = jax.vmap(lambda example: misses(model, task, params, example))(examples)
        wrong = jnp.max(jnp.abs(miss), axis=-1) >= TOLERANCE[settings.task]
        return jnp.sum(wrong), jnp.mean(jnp.sum(miss**2, axis=-1))

    return Online(start, run, test)


def misses(model: Model, task: Task, params: Any, example: Example) -> Array:
    """y − target [O] of one sequence; a class is a target of ones and zeros."""
    outputs = jax.nn.sigmoid(model.apply(params, example.inputs, example.length))
    classes = task.output_size > 1
    return outputs - (jax.nn.one_hot(example.target, task.output_size) if classes else example.target[None])


def side_by_side(online: Online) -> Online:
    """The same for several seeds, arrays led by an axis of them, compiled."""
    compiled = lambda of_one, axes: jax.jit(jax.vmap(of_one, axes), compiler_options=compiler_options())
    return Online(compiled(online.start, 0), compiled(online.run, (0, 0, None)), compiled(online.test, 0))
