"""The shapes in annotations are those that arrive: a checker that knows jaxtyping finds what does not fit."""

import inspect
import types
from typing import get_args

import jax
import jax.numpy as jnp
import pytest
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped

from rnnjax import gru, lstm, stack
from rnnjax.cell import Cell, dense
from rnnjax.tasks import base, make_task
from rnnjax.training import losses
from rnnjax.unrolling import unroll

T, B, I, H = 5, 3, 2, 4


def checked(function):
    """The function under a checker of its shapes; a generic NamedTuple such as Cell is more than that checker knows."""
    function = inspect.unwrap(function)
    copy = types.FunctionType(
        function.__code__, function.__globals__, None, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if hint is not Cell}
    return jaxtyped(typechecker=beartype)(copy)


@pytest.mark.parametrize("cell", [lstm(H), stack(gru(H), lstm(H))], ids=repr)
@pytest.mark.parametrize("batch", [(), (B,), (2, B)])
def test_unroll_takes_and_returns_what_it_says(cell, batch):
    xs = jnp.ones((T, *batch, I))
    params = cell.init(jax.random.key(0), I)
    given = {"lengths": jnp.full(batch, T), "resets": jnp.zeros((T, *batch), bool)}
    _, ys = checked(unroll)(cell, params, xs, **given)
    assert ys.shape == (T, *batch, H)


def test_a_checker_finds_shapes_that_do_not_fit_each_other():
    cell = lstm(H)
    params = cell.init(jax.random.key(0), I)
    with pytest.raises(TypeCheckError, match="lengths"):
        checked(unroll)(cell, params, jnp.ones((T, B, I)), lengths=jnp.full((B + 1,), T))
    with pytest.raises(TypeCheckError, match="resets"):
        checked(unroll)(cell, params, jnp.ones((T, B, I)), resets=jnp.zeros((T + 1, B), bool))
    with pytest.raises(TypeCheckError, match="W"):
        checked(dense)(jnp.ones((B, I)), jnp.ones((I + 1, H)))


@pytest.mark.parametrize("name", ["adding", "recall", "copy_memory"])
def test_a_task_draws_and_scores_what_it_says(name):
    task = make_task(name, 6)
    drawn = task.sample(jax.random.key(0))
    outputs = jnp.zeros((task.output_size,) if task.outputs == "last" else (task.num_steps, task.output_size))
    assert any(isinstance(drawn.inputs, kind) for kind in get_args(base.Example.__annotations__["inputs"]))
    for score in (task.loss, task.correct):
        assert isinstance(score(outputs, drawn.target), base.Number)


def test_further_losses_take_one_batch_all_through():
    ys, xs = jnp.ones((T, B, H)), jnp.ones((T, B, I))
    reconstruction = checked(losses.reconstruction)
    assert reconstruction(ys, xs, jnp.ones((H, I)), jnp.ones(I), 1).shape == ()
    with pytest.raises(TypeCheckError, match="xs"):
        reconstruction(ys, xs[:, 1:], jnp.ones((H, I)), jnp.ones(I), 1)
