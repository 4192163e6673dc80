"""Training as pure functions: `make_train(...)` gives `train(key)`, so many seeds are a vmap."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.cell import Array, Cell
from rnnjax.data.hub import check_finite
from rnnjax.models.model import make_model
from rnnjax.tasks.base import Example, Task
from rnnjax.training.divergence import far_above, has_stayed
from rnnjax.training.losses import Pass, Term, penalty
from rnnjax.training.optimizers import Hyper, make_optimizer
from rnnjax.training.step import make_step
from rnnjax.wrappers.layers import Layer

HELD_OUT_SEED = 2**31 - 1  # of the validation and test examples of sampled tasks; trials have smaller seeds
SOLVED_IN_A_ROW = 3  # evaluations that meet the criterion before a trial may stop

INIT, TRAINING, TERMS = range(3)  # what a trial's key is folded with, so that none serves twice; terms count on from 2


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
    broken: Array  # a loss or a gradient was not finite, at any step so far
    start_loss: Array  # the training loss of the first step
    num_above: Array  # evaluations in a row, up to the last, with a mean training loss far above the start
    num_solved: Array  # evaluations in a row, up to the last, that met the task's criterion
    best_loss: Array  # the lowest validation loss so far
    best_params: Any  # and the parameters it was measured with

    @property
    def diverged(self) -> Array:
        """A loss or a gradient was not finite at any step, or the loss rose far above its start and stayed there.

        The latter: the mean training loss of each of the last two evaluations is above 10 times the larger of the first
        step's loss and the task's chance loss.
        """
        return self.broken | has_stayed(self.num_above)

    @property
    def ended(self) -> Array:
        """No further step can change the verdict: solved at three evaluations in a row, or broken."""
        return self.broken | (self.num_solved >= SOLVED_IN_A_ROW)


class Metrics(NamedTuple):
    """By evaluation; NaN from the one on at which a trial had already ended, where such trials stop."""

    train_loss: Array  # mean over the steps since the last evaluation, penalties left out
    validation_loss: Array
    validation_accuracy: Array


class Trainer(NamedTuple):
    """Training of one trial, in pure functions."""

    init: Callable[[Array], Any]  # key -> params
    start: Callable[[Any], State]  # params -> the state before the first step
    chunk: Callable[[State, Array, Hyper, Data], tuple[State, Metrics]]  # state, key, hyper, data
    evaluate: Callable[[Any, Example], tuple[Array, Array]]  # params, examples -> mean loss and accuracy


class WithTerms(NamedTuple):
    """Parameters of a model, and beside them those of further terms of the loss."""

    recurrent: Any
    W: Array
    b: Array
    embedding: Any
    attention: Any
    terms: tuple  # by term; None for one that has none


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
    assert task.sample is not None  # a task has splits, or samples
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
    terms: Sequence[Term] = (),
    stop_when_solved: bool = False,
    **options,
) -> Trainer:
    """Initialisation, a chunk of training steps with an evaluation at its end, and evaluation, for one trial.

    A trial is a key and a Hyper; all functions are pure and may be vmapped over both.

    Args:
      terms: of the loss, beside that of the task.
      stop_when_solved: whether a trial ends once it has met the task's criterion at three evaluations in a row, or a
        loss or gradient was not finite: from there on a chunk leaves its state as it is, whatever its neighbours in a
        vmap do.

    Raises:
      ValueError: unknown optimizer, or a batch or chunk larger than the training set.
    """
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
        if all(term.init is None for term in terms):
            return params
        keys = [jax.random.fold_in(key, TERMS + i) for i in range(len(terms))]
        return WithTerms(*params, tuple(term.init and term.init(k) for term, k in zip(terms, keys, strict=True)))

    def start(params) -> State:
        return State(
            params=params,
            optimizer=make_optimizer(optimizer, Hyper(0.0)).init(params),
            step=jnp.zeros((), jnp.int32),
            broken=jnp.zeros((), bool),
            start_loss=jnp.zeros(()),
            num_above=jnp.zeros((), jnp.int32),
            num_solved=jnp.zeros((), jnp.int32),
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

    def further(params, batch: Example, xs: Array, ys: Array) -> Array | float:
        """The sum of the further terms of the loss."""

        def loss(ys: Array) -> Array:
            return scored(task.loss, model.readout(params, ys, batch.length), batch)

        own = params.terms if isinstance(params, WithTerms) else (None,) * len(terms)
        seen = Pass(params.recurrent, xs, ys, batch.length, loss)
        return sum(term.value(mine, seen) for term, mine in zip(terms, own, strict=True))

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
        next_batch = _batches(task, data.train, key_batches, state.step, batch_size)

        def objective(params, batch, key):
            xs, ys, outputs = forward(params, batch, key)
            loss = scored(task.loss, outputs, batch).mean()
            return loss + further(params, batch, xs, ys), (1.0, loss)

        step = make_step(
            objective, make_optimizer(optimizer, hyper), lambda params: penalty(params, hyper.l1, hyper.l2)
        )

        def one(state: State, _) -> tuple[State, Array]:
            key = jax.random.fold_in(key_dropout, state.step)
            made = step(state.params, state.optimizer, next_batch(state.step), key)
            state = state._replace(
                params=made.params,
                optimizer=made.optimizer,
                step=state.step + 1,
                broken=state.broken | ~made.finite,
                start_loss=jnp.where(state.step == 0, made.kept, state.start_loss),
            )
            return state, made.kept

        before = state
        state, train_losses = lax.scan(one, state, length=steps_per_chunk)
        train_loss = train_losses.mean()
        loss, accuracy = evaluate(state.params, data.validation)
        better = loss < state.best_loss
        above = far_above(train_loss, jnp.maximum(state.start_loss, task.chance_loss))
        state = state._replace(
            broken=state.broken | ~jnp.isfinite(loss),
            num_above=jnp.where(above, state.num_above + 1, 0),
            num_solved=jnp.where(task.solved(loss, accuracy), state.num_solved + 1, 0)
            if stop_when_solved
            else state.num_solved,
            best_loss=jnp.minimum(loss, state.best_loss),
            best_params=jax.tree.map(lambda new, old: jnp.where(better, new, old), state.params, state.best_params),
        )
        metrics = Metrics(train_loss, loss, accuracy)
        if stop_when_solved:
            ended = before.ended
            state = jax.tree.map(lambda old, new: jnp.where(ended, old, new), before, state)
            metrics = jax.tree.map(lambda value: jnp.where(ended, jnp.nan, value), metrics)
        return state, metrics

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
        below = num_steps - num_steps % steps_per_chunk
        near = " or ".join(str(steps) for steps in (below, below + steps_per_chunk) if steps)
        raise ValueError(
            f"num_steps={num_steps} must be a multiple of steps_per_chunk={steps_per_chunk}; {near} would do"
        )
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


def _batches(task: Task, train: Example | None, key: Array, first_step: Array, batch_size: int) -> Callable:
    """step -> batch: fresh samples, or a data set in a new order every epoch, without replacement within one.

    The orders of two epochs are drawn, which is as far as a chunk may reach.
    """
    if train is None:
        sample = task.sample
        assert sample is not None
        return lambda step: jax.vmap(sample)(jax.random.split(jax.random.fold_in(key, step), batch_size))
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
