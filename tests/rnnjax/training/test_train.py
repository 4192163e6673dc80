"""Training as pure functions: against hand-made steps on a task of four numbers, and vmapped against single."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import lstm
from rnnjax.cell import Array, Cell
from rnnjax.models.model import ModelParams
from rnnjax.tasks import Example, Task, make_task
from rnnjax.tasks.base import right_within, squared_error
from rnnjax.training.optimizers import OPTIMIZERS, Hyper
from rnnjax.training.train import Data, Metrics, _batches, make_data, make_train, make_trainer, steps_to_solve

KEY = jax.random.key(0)
NONE = Hyper(learning_rate=0.1)


def linear(a=0.5) -> Cell:
    """h' = a h + x, one unit."""
    return Cell(
        output_size=1,
        init=lambda key, input_size: jnp.float32(a),
        initial_carry=lambda params, batch_shape: jnp.zeros((*batch_shape, 1)),
        project=lambda p, x: x,
        step=lambda p, h, x: (p * h + x, p * h + x),
    )


def examples(count, seed=0, sign=1.0) -> Example:
    """Two numbers each, of which the first times `sign` is asked for."""
    inputs = np.random.default_rng(seed).normal(size=(count, 2, 1)).astype(np.float32)
    return Example(inputs, sign * inputs[:, 0, 0])


def toy(train: Example | None = None, held_out: Example | None = None) -> Task:
    """What was the first of two numbers? A data set if one is given, else drawn."""

    def sample(key):
        inputs = jax.random.normal(key, (2, 1))
        return Example(inputs, inputs[0, 0])

    held_out = examples(11, seed=1) if held_out is None else held_out
    splits = {"train": train, "validation": held_out, "test": held_out}
    return Task(
        **dict(name="toy", seq_len=2, num_steps=2, input_size=1, output_size=1, outputs="last"),
        sample=sample if train is None else None,
        loss=squared_error,
        correct=right_within(0.5),
        chance_loss=1.0,
        chance_accuracy=0.0,
        criterion="a mean squared error below 0.1",
        solved=lambda loss, accuracy: loss < 0.1,
        splits=None if train is None else splits,
    )


def by_hand(params: ModelParams, batch: Example):
    """Loss, accuracy and gradient (a, W, b) of the linear cell on the toy task."""
    a, w, b = (np.float64(np.squeeze(p)) for p in params[:3])
    x1, x2 = batch.inputs[:, 0, 0].astype(np.float64), batch.inputs[:, 1, 0]
    h = a * x1 + x2
    e = w * h + b - batch.target
    return np.mean(e**2), np.mean(abs(e) < 0.5), np.array([np.mean(2 * e * w * x1), np.mean(2 * e * h), np.mean(2 * e)])


def flat(params: ModelParams) -> np.ndarray:
    return np.array([np.squeeze(p) for p in params[:3]])


# --- one step by hand ------------------------------------------------------------------------------------------------

TRAIN = examples(8)


@pytest.fixture(scope="module")
def one_sgd_step():
    """hyper -> (a, W, b) before and after one step on all of TRAIN, and the state after it."""
    task = toy(TRAIN)
    trainer = make_trainer(task, linear(), optimizer="sgd", batch_size=8, steps_per_chunk=1)
    chunk = jax.jit(lambda state, hyper: trainer.chunk(state, KEY, hyper, make_data(task)))
    params = ModelParams(jnp.float32(0.5), jnp.full((1, 1), -2.0), jnp.full(1, 3.0))

    def run(hyper):
        state, metrics = chunk(trainer.start(params), Hyper(*(jnp.float32(h) for h in hyper)))
        return flat(params), flat(state.params), (state, metrics)

    return run


def clipped(gradient, norm=math.inf, value=math.inf):
    return np.clip(gradient * min(1.0, norm / np.linalg.norm(gradient)), -value, value)


@pytest.mark.parametrize(
    "limits", [{}, {"norm": 1.0}, {"norm": 100.0}, {"value": 2.0}, {"norm": 5.0, "value": 2.0}], ids=str
)
def test_a_step_of_gradient_descent(one_sgd_step, limits):
    before, after, (state, metrics) = one_sgd_step(
        NONE._replace(**{f"clip_{name}": limit for name, limit in limits.items()})
    )
    loss, _, gradient = by_hand(before, TRAIN)
    assert np.linalg.norm(gradient) > 5.0  # so that both limits bite
    np.testing.assert_allclose(after - before, -0.1 * clipped(gradient, **limits), rtol=1e-4)
    np.testing.assert_allclose(metrics.train_loss, loss, rtol=1e-5)
    assert state.step == 1
    assert not state.diverged


@pytest.mark.parametrize("penalty", [{"l1": 0.3}, {"l2": 0.3}, {"l1": 0.1, "l2": 0.2}], ids=str)
def test_penalties_are_of_matrices_alone_and_not_part_of_the_loss_reported(one_sgd_step, penalty):
    before, after, (_, metrics) = one_sgd_step(NONE._replace(**penalty))
    loss, _, gradient = by_hand(before, TRAIN)
    w = before[1]  # a is a number and b a vector
    gradient[1] += penalty.get("l1", 0.0) * np.sign(w) + penalty.get("l2", 0.0) * 2 * w
    np.testing.assert_allclose(after - before, -0.1 * gradient, rtol=1e-4)
    np.testing.assert_allclose(metrics.train_loss, loss, rtol=1e-5)


# --- evaluation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 11, 250])
def test_evaluation_counts_every_example_once(size):
    params = ModelParams(jnp.float32(0.5), jnp.full((1, 1), 0.7), jnp.full(1, 0.2))
    held_out = examples(11, seed=1)
    trainer = make_trainer(toy(), linear(), eval_batch_size=size)
    loss, accuracy = jax.jit(trainer.evaluate)(params, held_out)
    expected_loss, expected_accuracy, _ = by_hand(params, held_out)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(accuracy, expected_accuracy, rtol=1e-6)
    assert 0 < accuracy < 1


def test_each_sequence_is_read_at_its_own_last_step():
    task = make_task("temporal_order", 10)
    validation = make_data(task, 6, 1).validation
    assert len(set(np.asarray(validation.length))) > 1
    cell = lstm(3)
    trainer = make_trainer(task, cell)
    rng = np.random.default_rng(7)
    shapes = jax.eval_shape(trainer.init, KEY)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    loss, accuracy = jax.jit(trainer.evaluate)(params, validation)
    losses, corrects = [], []
    for inputs, target, length in zip(*jax.device_get(validation), strict=True):
        carry = cell.initial_carry(params.recurrent, ())
        for x in inputs[:length]:
            carry, y = cell.step(params.recurrent, carry, cell.project(params.recurrent, x))
        outputs = y @ params.W + params.b
        losses.append(task.loss(outputs, target))
        corrects.append(task.correct(outputs, target))
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean(corrects))


# --- data sets -------------------------------------------------------------------------------------------------------


def numbers(first_step, steps, count=12, batch_size=4, seed=0):
    """Which examples the batches of these steps hold, seen from a chunk that starts at first_step."""
    numbered = Example(np.arange(count)[:, None, None], np.arange(count))
    batch = _batches(toy(numbered), numbered, jax.random.key(seed), jnp.int32(first_step), batch_size)
    return np.concatenate([batch(jnp.int32(step)).target for step in steps])


def test_an_epoch_sees_every_example_once_and_the_next_in_a_new_order():
    first, second = numbers(0, range(3)), numbers(3, range(3, 6))
    assert sorted(first) == sorted(second) == list(range(12))
    assert list(first) != list(second)
    assert list(first) != list(numbers(0, range(3), seed=1))


def test_a_chunk_may_straddle_two_epochs():
    np.testing.assert_array_equal(numbers(2, [2, 3, 4]), np.concatenate([numbers(0, [2]), numbers(3, [3, 4])]))
    np.testing.assert_array_equal(numbers(5, [5, 6, 7]), np.concatenate([numbers(3, [5]), numbers(6, [6, 7])]))


def test_what_does_not_fill_a_batch_waits_for_another_epoch():
    epochs = [numbers(3 * epoch, range(3 * epoch, 3 * epoch + 3), count=13) for epoch in range(6)]
    assert all(len(set(epoch)) == 12 for epoch in epochs)
    assert set(np.concatenate(epochs)) == set(range(13))


def test_batches_do_not_depend_on_the_size_of_chunks():
    task = toy(examples(12))  # three batches an epoch
    results = [
        make_train(task, linear(), hyper=NONE, num_steps=6, batch_size=4, steps_per_chunk=size)(KEY) for size in (2, 3)
    ]
    two, three = (np.asarray(result.metrics.train_loss) for result in results)
    np.testing.assert_allclose(two.mean(), three.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        results[0].metrics.validation_loss[-1], results[1].metrics.validation_loss[-1], rtol=1e-5
    )


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name):
    hyper = Hyper(learning_rate={"adagrad": 0.3, "adam": 0.05, "rmsprop": 0.05}.get(name, 0.02))
    trainer = make_trainer(toy(), linear(), optimizer=name, steps_per_chunk=15)
    data = Data(None, examples(50, seed=1), examples(50, seed=2))
    chunk = jax.jit(lambda state: trainer.chunk(state, KEY, hyper, data))
    state, first = chunk(trainer.start(ModelParams(jnp.float32(0.5), jnp.ones((1, 1)), jnp.ones(1))))
    for _ in range(3):
        state, last = chunk(state)
    assert last.train_loss < 0.7 * first.train_loss
    assert last.validation_loss < first.validation_loss
    assert not state.diverged


def test_train_is_pure_and_may_be_jitted_and_vmapped():
    train = make_train(toy(), linear(), hyper=NONE, num_steps=4, steps_per_chunk=2, num_validation=7, num_test=5)
    keys = jax.random.split(KEY, 3)
    jitted = jax.jit(train)
    singles = [jitted(key) for key in keys]
    jax.tree.map(np.testing.assert_array_equal, singles[0], jitted(keys[0]))
    together = jax.jit(jax.vmap(train))(keys)
    assert together.metrics.train_loss.shape == (3, 2)
    for i, single in enumerate(singles):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6), together, single)
    assert len({float(loss) for loss in together.metrics.train_loss[:, 0]}) == 3


def test_what_is_tested_are_the_parameters_that_validated_best():
    """Training asks for the opposite of what is held out: it soon makes it worse."""
    held_out = examples(11, seed=1, sign=-1.0)
    task = toy(examples(8), held_out)
    result = make_train(task, linear(), hyper=NONE, num_steps=5, batch_size=8, steps_per_chunk=1)(KEY)
    losses = np.asarray(result.metrics.validation_loss)
    assert losses[-1] > 1.1 * losses.min()
    np.testing.assert_allclose(result.test_loss, losses.min(), rtol=1e-5)
    np.testing.assert_allclose(by_hand(result.params, held_out)[0], losses.min(), rtol=1e-5)


def test_steps_to_solve():
    def solved_at(*losses):
        return steps_to_solve(toy(), Metrics(None, np.array(losses), np.zeros(len(losses))), 50)

    assert solved_at(0.5, 0.05, 0.5, 0.01) == 100
    assert solved_at(0.01) == 50
    assert solved_at(0.5, math.nan, 0.2) is None


# --- trials side by side ---------------------------------------------------------------------------------------------


class Group(NamedTuple):
    keys: Array
    params: ModelParams
    hyper: Hyper
    single: object  # key, params, hyper -> State, Metrics after 20 steps
    together: object  # the same, vmapped


@pytest.fixture(scope="module")
def group() -> Group:
    """Four trials of one program: they differ in seed, learning rate, clipping and forget bias."""
    task = make_task("recall", 5)
    trainer = make_trainer(task, lstm(3), batch_size=8, steps_per_chunk=10)
    keys = jax.random.split(KEY, 4)
    params = jax.jit(jax.vmap(trainer.init))(keys)
    forget_bias = jnp.repeat(jnp.array([[0.0], [1.0], [3.0], [1.0]]), 3, axis=1)
    b = params.recurrent.b.at[:, 3:6].set(forget_bias)
    params = params._replace(recurrent=params.recurrent._replace(b=b))
    limits = ([math.inf, 0.1, 1.0, math.inf], [math.inf, math.inf, 0.01, 0.1], [0, 1e-3, 0, 0], [0, 0, 1e-3, 0])
    data = make_data(task, 20, 20)

    def run(key, params, hyper):
        return jax.lax.scan(lambda state, _: trainer.chunk(state, key, hyper, data), trainer.start(params), length=2)

    hyper = Hyper(*(jnp.array(values, jnp.float32) for values in ([1e-3, 1e-2, 3e-2, 1e-1], *limits)))
    return Group(keys, params, hyper, jax.jit(run), jax.jit(jax.vmap(run)))


def test_trials_side_by_side_equal_single_ones(group):
    state, metrics = group.together(group.keys, group.params, group.hyper)
    assert metrics.train_loss.shape == (4, 2)
    assert not state.diverged.any()
    for i in range(4):
        alone = group.single(*jax.tree.map(lambda a: a[i], (group.keys, group.params, group.hyper)))
        mine = jax.tree.map(lambda a: a[i], (state.params, metrics))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-4), mine, (alone[0].params, alone[1])
        )
    assert len({float(loss) for loss in metrics.train_loss[:, 0]}) == 4


def test_a_diverged_trial_leaves_its_neighbours_alone(group):
    state, metrics = group.together(group.keys, group.params, group.hyper)
    rates = group.hyper.learning_rate.at[1].set(1e38)
    bad_state, bad_metrics = group.together(group.keys, group.params, group.hyper._replace(learning_rate=rates))
    np.testing.assert_array_equal(bad_state.diverged, [False, True, False, False])
    assert not np.isfinite(bad_metrics.train_loss[1, -1])
    for i in (0, 2, 3):
        good, bad = (jax.tree.map(lambda a: a[i], whole) for whole in ((state, metrics), (bad_state, bad_metrics)))
        jax.tree.map(np.testing.assert_array_equal, good, bad)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'; did you mean 'adam'"),
        ({"num_steps": 10, "steps_per_chunk": 4}, "num_steps=10 must be a multiple of steps_per_chunk=4"),
        ({"batch_size": 9}, "batch_size=9 are more than an epoch of toy, 8 training examples"),
        ({"batch_size": 4, "steps_per_chunk": 3, "num_steps": 6}, "steps_per_chunk=3 batches of batch_size=4 are more"),
        ({"sove": "nothing"}, "sove"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_what_does_not_fit_is_refused(options, message):
    options = {"num_steps": 1, "batch_size": 8, **options}
    with pytest.raises((ValueError, TypeError), match=message):
        make_train(toy(examples(8)), linear(), hyper=NONE, **options)(KEY)


def test_a_nan_in_the_data_is_refused():
    train = examples(8)
    train.inputs[3] = math.nan
    with pytest.raises(ValueError, match="toy, inputs for train"):
        make_data(toy(train))


def test_held_out_sets():
    drawn = make_data(toy(), 7, 5)
    assert drawn.train is None
    assert (len(drawn.validation.inputs), len(drawn.test.inputs)) == (7, 5)
    assert not set(np.ravel(drawn.validation.inputs)) & set(np.ravel(drawn.test.inputs))
    np.testing.assert_array_equal(drawn.validation.inputs, make_data(toy(), 7, 5).validation.inputs)
    stored = make_data(toy(TRAIN), 7, 5)
    assert isinstance(stored, Data)
    assert len(stored.train.inputs) == 8
    assert len(stored.test.inputs) == 11
