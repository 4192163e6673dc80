"""Training as pure functions: `make_train(...)` gives `train(key)`, so many seeds are a vmap."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from rnnjax.cell import Array, Cell
from rnnjax.data.hub import check_finite
from rnnjax.initializers import glorot_uniform
from rnnjax.models.model import make_model
from rnnjax.tasks.base import Example, Task
from rnnjax.training.losses import omega as omega_term, penalty, reconstruction
from rnnjax.training.optimizers import Hyper, make_optimizer
from rnnjax.wrappers.layers import Layer

HELD_OUT_SEED = 2**31 - 1  # of the validation and test examples of sampled tasks; trials have smaller seeds


INIT, TRAINING, AUXILIARY = range(3)  # what a trial's key is folded with, so that no key serves twice


class Data(NamedTuple):
    """Batched examples. `train` is None for a task that samples them anew at every step."""

    train: Example | None
    validation: Example
    test: Example


class State(NamedTuple):
    """All that training carries from step to step; a checkpoint of it resumes exactly."""

    params: Any
    optimizer: Any
    step: Array
    diverged: Array  # a loss or a gradient was not finite, at any step so far
    best_loss: Array  # the lowest validation loss so far
    best_params: Any  # and the parameters it was measured with


class Metrics(NamedTuple):
    train_loss: Array  # mean over the steps since the last evaluation, penalties left out
    validation_loss: Array
    validation_accuracy: Array


class Trainer(NamedTuple):
    """Training of one trial, in pure functions."""

    init: Callable[[Array], Any]  # key -> params
    start: Callable[[Any], State]  # params -> the state before the first step
    chunk: Callable[[State, Array, Hyper, Data], tuple[State, Metrics]]  # state, key, hyper, data
    evaluate: Callable[[Any, Example], tuple[Array, Array]]  # params, examples -> mean loss and accuracy


class WithHead(NamedTuple):
    """Parameters of a model, and the linear readout [O, I], [I] of an auxiliary loss beside it."""

    recurrent: Any
    W: Array
    b: Array
    embedding: Any
    attention: Any
    V: Array
    c: Array


class Result(NamedTuple):
    params: Any  # those with the lowest validation loss
    metrics: Metrics  # by evaluation
    test_loss: Array
    test_accuracy: Array
    diverged: Array


def make_data(task: Task, num_validation: int = 1000, num_test: int = 1000) -> Data:
    """Held-out sets that are the same for every trial: the data set's own, or samples of fixed keys.

    Raises:
      ValueError: a NaN or infinity in the data.
    """
    if task.splits is not None:
        return _finite(task, Data(**{name: task.splits[name] for name in Data._fields}))
    keys = jax.random.split(jax.random.key(HELD_OUT_SEED), num_validation + num_test)
    examples = jax.jit(jax.vmap(task.sample))(keys)
    validation, test = (jax.tree.map(lambda a: a[part], examples) for part in np.s_[:num_validation, num_validation:])
    return _finite(task, Data(None, validation, test))


def _finite(task: Task, data: Data) -> Data:
    for split, examples in data._asdict().items():
        if examples is not None:
            for array, values in examples._asdict().items():
                if values is not None:
                    check_finite(f"{task.name}, {array} for {split}", values)
    return data


def make_trainer(
    task: Task,
    network: Cell | Layer,
    *,
    optimizer: str = "adam",
    batch_size: int = 32,
    steps_per_chunk: int = 100,
    eval_batch_size: int = 250,
    omega: float = 0.0,
    auxiliary: float = 0.0,
    auxiliary_lag: int = 10,
    **options,
) -> Trainer:
    """Initialisation, a chunk of training steps with an evaluation at its end, and evaluation, for one trial.

    A trial is a key and a Hyper; all functions are pure and may be vmapped over both.

    Args:
      omega: weight of the regulariser of Pascanu, Mikolov & Bengio 2013; see `remedies.omega`.
      auxiliary: weight of the loss of reconstructing the input `auxiliary_lag` steps back (-1: predicting the next);
        see `remedies.reconstruction`. Its readout is trained with the rest, and left out of every evaluation.

    Raises:
      ValueError: unknown optimizer, a batch or chunk larger than the training set, or a weight that is negative, or
        given where the network is no cell or reads whole numbers.
    """
    _check_terms(task, network, omega, auxiliary, auxiliary_lag, options.get("embedding"))
    if task.splits is not None:
        count = len(task.splits["train"].inputs)
        if batch_size > count or steps_per_chunk > count // batch_size:
            raise ValueError(
                f"steps_per_chunk={steps_per_chunk} batches of batch_size={batch_size} are more than an epoch of "
                f"{task.name}, {count} training examples"
            )
    model = make_model(network, task.output_size, outputs=task.outputs, **options)

    def init(key: Array):
        params = model.init(jax.random.fold_in(key, INIT), task.input_size)
        if not auxiliary:
            return params
        V = glorot_uniform(jax.random.fold_in(key, AUXILIARY), (network.output_size, task.input_size), jnp.float32)
        return WithHead(*params, V, jnp.zeros(task.input_size))

    def start(params) -> State:
        return State(
            params=params,
            optimizer=make_optimizer(optimizer, Hyper(0.0)).init(params),
            step=jnp.zeros((), jnp.int32),
            diverged=jnp.zeros((), bool),
            best_loss=jnp.full((), jnp.inf),
            best_params=params,
        )

    def scored(score: Callable, outputs: Array, batch: Example) -> Array:
        """A score of the task, example by example, from the outputs of a batch."""
        return jax.vmap(score, (0 if task.outputs == "last" else 1, 0))(outputs, batch.target)

    def forward(params, batch: Example, key: Array | None) -> tuple[Array, Array, Array]:
        """Inputs [T, B, ...], what the network makes of them, ys [T, B, H], and the outputs of the model."""
        xs = jnp.moveaxis(task.prepare_inputs(batch.inputs), 0, 1)
        _, ys = model.network(params, xs, None, batch.length, key)
        return xs, ys, model.readout(params, ys, batch.length, key)

    def terms(params, batch: Example, xs: Array, ys: Array) -> Array | float:
        """The weighted sum of the further terms of the loss."""
        total = 0.0
        if omega:

            def loss(ys: Array) -> Array:
                return scored(task.loss, model.readout(params, ys, batch.length), batch)

            total += omega * omega_term(network, params.recurrent, xs, loss)
        if auxiliary:
            total += auxiliary * reconstruction(ys, xs, params.V, params.c, auxiliary_lag, batch.length)
        return total

    def evaluate(params, examples: Example) -> tuple[Array, Array]:
        count = len(examples.inputs)
        size = min(eval_batch_size, count)
        rounds = -(-count // size)
        take = jnp.arange(rounds * size).reshape(rounds, size)

        def one(indices: Array) -> tuple[Array, Array]:
            batch = jax.tree.map(lambda a: jnp.asarray(a)[jnp.minimum(indices, count - 1)], examples)
            _, _, outputs = forward(params, batch, None)
            each, correct = scored(task.loss, outputs, batch), scored(task.correct, outputs, batch)
            counted = indices < count
            return jnp.sum(jnp.where(counted, each, 0)), jnp.sum(jnp.where(counted, correct, 0))

        loss, correct = lax.map(one, take)
        return loss.sum() / count, correct.sum() / count

    def chunk(state: State, key: Array, hyper: Hyper, data: Data) -> tuple[State, Metrics]:
        key_batches, key_dropout = jax.random.split(jax.random.fold_in(key, TRAINING))
        transformation = make_optimizer(optimizer, hyper)
        next_batch = _batches(task, data.train, key_batches, state.step, batch_size)

        def objective(params, batch, key):
            xs, ys, outputs = forward(params, batch, key)
            loss = scored(task.loss, outputs, batch).mean()
            return loss + penalty(params, hyper.l1, hyper.l2) + terms(params, batch, xs, ys), loss

        def step(state: State, _) -> tuple[State, Array]:
            key = jax.random.fold_in(key_dropout, state.step)
            gradient, loss = jax.grad(objective, has_aux=True)(state.params, next_batch(state.step), key)
            updates, optimizer_state = transformation.update(gradient, state.optimizer, state.params)
            finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
            state = state._replace(
                params=optax.apply_updates(state.params, updates),
                optimizer=optimizer_state,
                step=state.step + 1,
                diverged=state.diverged | ~finite,
            )
            return state, loss

        state, train_losses = lax.scan(step, state, length=steps_per_chunk)
        loss, accuracy = evaluate(state.params, data.validation)
        better = loss < state.best_loss
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.params, state.best_params)
        state = state._replace(
            best_loss=jnp.minimum(loss, state.best_loss),
            best_params=best,
            diverged=state.diverged | ~jnp.isfinite(loss),
        )
        return state, Metrics(train_losses.mean(), loss, accuracy)

    return Trainer(init, start, chunk, evaluate)


def make_train(
    task: Task,
    network: Cell | Layer,
    *,
    hyper: Hyper,
    num_steps: int = 1000,
    num_validation: int = 1000,
    num_test: int = 1000,
    **options,
) -> Callable[..., Result]:
    """A pure `train(key) -> Result`: num_steps of training, then a test of the parameters that validated best.

    `train` also takes another Hyper, and the data (`make_data`), which belong among the arguments of a compiled call
    when they are large. So seeds are `jax.vmap(train)(keys)`, and learning rates
    `jax.vmap(lambda rate: train(key, Hyper(rate)))(rates)`.

    Args:
      task: what to learn.
      network: cell or layer to learn it with.
      hyper: learning rate, clipping and penalties, unless `train` is given others.
      num_steps: training steps; a multiple of `steps_per_chunk`.
      num_validation, num_test: sizes of the held-out sets of a sampled task.
      options: of `make_trainer` (optimizer, batch_size, steps_per_chunk, ...) and of `unroll`.
    """
    steps_per_chunk = options.setdefault("steps_per_chunk", min(100, num_steps))
    if num_steps % steps_per_chunk:
        raise ValueError(f"num_steps={num_steps} must be a multiple of steps_per_chunk={steps_per_chunk}")
    trainer = make_trainer(task, network, **options)
    held_out = make_data(task, num_validation, num_test)

    def train(key: Array, hyper: Hyper = hyper, data: Data = held_out) -> Result:
        def one_chunk(state, _):
            return trainer.chunk(state, key, hyper, data)

        state, metrics = lax.scan(one_chunk, trainer.start(trainer.init(key)), length=num_steps // steps_per_chunk)
        return Result(state.best_params, metrics, *trainer.evaluate(state.best_params, data.test), state.diverged)

    return train


def steps_to_solve(task: Task, metrics: Metrics, steps_per_chunk: int) -> int | None:
    """The first evaluated step that met the task's criterion on the validation set, or None."""
    solved = task.solved(metrics.validation_loss, metrics.validation_accuracy)
    for position, met in enumerate(solved):
        if met:
            return (position + 1) * steps_per_chunk
    return None


def _check_terms(task: Task, network: Any, omega: float, auxiliary: float, lag: int, embedding: Any) -> None:
    for label, weight in (("omega", omega), ("auxiliary", auxiliary)):
        if not 0 <= weight < float("inf"):
            raise ValueError(f"{label}={weight} must be 0 or above, and finite")
        if weight and embedding is not None:
            raise ValueError(f"{label}={weight}: this term needs inputs that are vectors, not whole numbers to embed")
    if omega and not isinstance(network, Cell):
        raise ValueError(f"omega={omega}: the regulariser is of a cell or a stack of cells, and this is a Layer")
    if auxiliary and not abs(lag) < task.num_steps:
        raise ValueError(
            f"auxiliary_lag={lag} must be of absolute value below the {task.num_steps} steps of {task.name}"
        )


def _batches(task: Task, train: Example | None, key: Array, first_step: Array, batch_size: int) -> Callable:
    """step -> batch: fresh samples, or a data set in a new order every epoch, without replacement within one.

    The orders of two epochs are drawn, which is as far as a chunk may reach.
    """
    if train is None:
        return lambda step: jax.vmap(task.sample)(jax.random.split(jax.random.fold_in(key, step), batch_size))
    count = len(train.inputs)
    per_epoch = count // batch_size
    epoch = first_step // per_epoch
    orders = [
        jax.random.permutation(jax.random.fold_in(key, epoch + i), count)[: per_epoch * batch_size] for i in (0, 1)
    ]
    order = jnp.concatenate(orders)

    def batch(step: Array) -> Example:
        indices = lax.dynamic_slice_in_dim(order, (step - epoch * per_epoch) * batch_size, batch_size)
        return jax.tree.map(lambda a: jnp.asarray(a)[indices], train)

    return batch
