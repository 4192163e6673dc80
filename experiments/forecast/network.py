"""Networks that forecast a series: all seeds, and all fits of a rolling origin, in one vmapped program.

A network sees transformed values z and says the next one. At position i it sees z_i .. z_{i+lags-1}, the oldest first,
and is to say z_{i+lags}. Of further columns, where there are some, it sees the values at the same steps. Forecasts
further ahead feed what it said back to it; further columns then stay as they were last, as nobody knows better.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rich.console import Console

from experiments.shared.fit import fit
from experiments.shared.memory import check_memory
from rnnjax.cell import Array, Cell
from rnnjax.cells import lstm
from rnnjax.compiling import compiler_options
from rnnjax.data.series import windows
from rnnjax.models.model import ModelParams, make_model
from rnnjax.training.learner import Measured
from rnnjax.training.optimizers import Hyper, make_optimizer
from rnnjax.training.step import make_step

NUM_CHUNKS = 20  # of a training, between which it reports and can be stopped


class Pairs(NamedTuple):
    """What networks see and are to say, by fit: each has transformed the series with its own constants."""

    xs: Any  # [fits, T, lags (1 + K)], the lags of the series, then those of each of K further columns
    targets: Any  # [fits, T]; the last position has none
    known: Any  # [fits, T], whether the target belongs to the training part


class Params(NamedTuple):
    model: ModelParams
    shortcut: Array | None  # [lags (1 + K)], from the values seen straight to the output


class Learning(NamedTuple):
    """Of one network; that of all has leaves [fits, seeds, ...]."""

    params: Params
    optimizer: Any
    step: Array


class Trained(NamedTuple):
    params: Params  # leaves [fits, seeds, ...]
    num_params: int  # of one network
    seconds: float  # compilation included


class Forecaster(NamedTuple):
    """train(pairs, num_seeds, console, title, folder=None, config=None) -> Trained, kept in a folder as `fit` does

    forecast(params, xs [fits, T, I], positions [fits, N], horizon) -> z [fits, seeds, N, horizon]

    init(key, I) -> Params of one network. Before position `warm_up` a network has not seen a whole window.
    """

    train: Callable[..., Trained]
    forecast: Callable[..., np.ndarray]
    init: Callable[..., Params]
    warm_up: int


def make_pairs(
    series: Sequence[np.ndarray], lags: int, num_known: Sequence[int], exogenous: Sequence[np.ndarray] = ()
) -> Pairs:
    """Pairs of a series [n] as each fit has transformed it, knowing the first num_known values of that.

    Args:
      exogenous: further columns [n, K], as each fit has scaled them; () where there are none.

    Raises:
      ValueError: a fit would have fewer than two pairs to learn from.
    """
    if min(num_known) < lags + 2:
        raise ValueError(
            f"too short: a fit would have {max(min(num_known), 0)} transformed values, but a network that sees the "
            f"last {lags} needs at least {lags + 2}"
        )
    xs = np.stack([windows(z, lags) for z in series])
    if len(exogenous):
        seen = np.stack([windows(columns, lags) for columns in exogenous])  # [fits, T, lags, K]
        xs = np.concatenate([xs, np.moveaxis(seen, -1, -2).reshape(*xs.shape[:2], -1)], axis=-1)
    targets = np.stack([np.append(z[lags:], 0.0) for z in series])
    known = np.arange(lags, lags + xs.shape[1]) < np.array(num_known)[:, None]
    return Pairs(xs.astype(np.float32), targets.astype(np.float32), known)


def lstm_keras(hidden_size: int) -> Cell:
    """The LSTM of `lstm` with Keras' initial W: glorot uniform over all four gates together, so about half as large."""

    def init(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
        limit = np.sqrt(6 / (shape[0] + 4 * shape[1]))
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return lstm(hidden_size, kernel_init=init)


def make_forecaster(
    cell: Cell,
    *,
    window: int = 0,
    shortcut: bool = False,
    optimizer: str = "adam",
    hyper: Hyper,
    num_steps: int,
    batch_size: int = 1,
    num_exogenous: int = 0,
) -> Forecaster:
    """A cell that reads values, and a linear readout that says the next one.

    Args:
      cell: the recurrent part.
      window: 0 carries the state through the whole series, and every step of the optimizer uses all of the training
        part; otherwise a network runs over so many steps from its initial state each time, and learns from batches of
        such windows, in a new order every epoch.
      shortcut: whether the output also has a linear term in the values seen, at first zero.
      optimizer, hyper: of `make_optimizer`, mean squared error being the loss.
      num_steps: steps of the optimizer.
      batch_size: windows a step.
      num_exogenous: further columns among what a network sees.
    """
    model = make_model(cell, 1, outputs="last" if window else "all")
    transformation = make_optimizer(optimizer, hyper)
    warm_up = max(window - 1, 0)

    def cut(xs: Array) -> Array:
        """The window that ends at each position, [T, window, lags]; the first ones begin with zeros."""
        padded = jnp.concatenate([jnp.zeros((warm_up, xs.shape[1])), xs])
        return padded[jnp.arange(len(xs))[:, None] + jnp.arange(window)]

    def straight(params: Params, x: Array) -> Array | float:
        return 0.0 if params.shortcut is None else x @ params.shortcut

    def run(params: Params, xs: Array, carry: Any) -> tuple[Any, Array]:
        """Going on from a carry: xs [T, *B, lags] -> carry, z [T, *B]."""
        carry, outputs = model.run(params.model, xs, carry)
        return carry, outputs[..., 0] + straight(params, xs)

    def over_windows(params: Params, xs: Array) -> Array:
        """[B] from windows [B, window, lags]."""
        return model.apply(params.model, jnp.moveaxis(xs, 0, 1))[..., 0] + straight(params, xs[:, -1])

    def objective(params: Params, xs: Array, targets: Array, known: Array) -> tuple[Array, tuple[float, None]]:
        z = over_windows(params, xs) if window else run(params, xs, None)[1]
        return jnp.sum(known * (z - targets) ** 2) / jnp.sum(known), (1.0, None)

    step = make_step(objective, transformation)

    def batch(key: Array, step: Array, pairs: Pairs) -> tuple[Array, Array, Array]:
        xs, targets, known = pairs
        whole = known & (jnp.arange(len(known)) >= warm_up)
        per_epoch = jnp.maximum(jnp.sum(whole) // batch_size, 1)
        draw = jax.random.uniform(jax.random.fold_in(key, step // per_epoch), whole.shape)
        order = jnp.argsort(jnp.where(whole, draw, 2.0))
        take = lax.dynamic_slice_in_dim(order, step % per_epoch * batch_size, batch_size)
        return cut(xs)[take], targets[take], whole[take]

    def init(key: Array, input_size: int) -> Params:
        return Params(model.init(key, input_size), jnp.zeros(input_size) if shortcut else None)

    def start(key: Array, input_size: int) -> Learning:
        params = init(key, input_size)
        return Learning(params, transformation.init(params), jnp.zeros((), jnp.int32))

    def chunk(state: Learning, key: Array, pairs: Pairs, count: Array) -> tuple[Learning, Measured]:
        def one(i: Array, running: tuple) -> tuple:
            state, total, largest, finite, first = running
            part = batch(key, state.step, pairs) if window else pairs
            made = step(state.params, state.optimizer, *part)
            state = Learning(made.params, made.optimizer, state.step + 1)
            first = jnp.where(i == 0, made.total, first)
            return state, total + made.total, jnp.maximum(largest, made.gradient_norm), finite & made.finite, first

        zero = jnp.zeros(())
        initial = state, zero, zero, jnp.ones((), bool), zero
        state, total, largest, finite, first = lax.fori_loop(0, count, one, initial)
        return state, Measured(jnp.where(finite, total / count, jnp.nan), largest, first)

    def everyone(function: Callable, over_seeds: tuple, over_fits: tuple) -> Callable:
        mapped = jax.vmap(jax.vmap(function, over_seeds), over_fits)
        return jax.jit(mapped, compiler_options=compiler_options())

    run_chunk = everyone(chunk, (0, 0, None, None), (0, None, 0, None))

    def train(
        pairs: Pairs,
        num_seeds: int,
        console: Console,
        title: str,
        folder: Path | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Trained:
        num_fits, _, input_size = pairs.xs.shape
        if window and batch_size > (least := int(pairs.known.sum(axis=1).min()) - warm_up):
            raise ValueError(
                f"batches of {batch_size} windows, but the shortest training part has {max(least, 0)} of {window} steps"
            )
        check_memory(
            lambda key: init(key, input_size),
            transformation.init,
            num_steps=window or pairs.xs.shape[1],
            batch_size=batch_size if window else 1,
            width=cell.output_size,
            networks=num_fits * num_seeds,
            together=num_fits * num_seeds,
            options={"--hidden-size": cell.output_size, "--seeds": num_seeds, "fits": num_fits},
        )
        keys = jax.vmap(jax.random.key)(jnp.arange(num_seeds))
        state = jax.vmap(lambda key: start(key, input_size))(keys)
        state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (num_fits, *leaf.shape)), state)
        size = -(-num_steps // NUM_CHUNKS)
        num_chunks = -(-num_steps // size)

        def one_chunk(state: Learning, i: int) -> tuple[Learning, Measured]:
            state, measured = run_chunk(state, keys, pairs, jnp.int32(min(size, num_steps - i * size)))
            return state, Measured(
                np.mean(measured.train_loss), np.max(measured.gradient_norm), np.mean(measured.first_loss)
            )

        fitted = fit(
            state,
            one_chunk,
            num_chunks,
            evaluate=lambda state: {},
            every=num_chunks,
            score=None,
            console=console,
            title=title,
            folder=folder,
            config=config,
        )
        if fitted.diverged:
            raise ValueError(f"{title}: the training diverged (see above); try a lower --learning-rate")
        num_params = sum(leaf[0, 0].size for leaf in jax.tree.leaves(fitted.best))
        return Trained(fitted.best, num_params, fitted.seconds)

    def moved_on(x: Array, z: Array) -> Array:
        """What is seen a step later, [N, I], after x [N, I] and the forecast z [N]."""
        columns = x.reshape(len(x), 1 + num_exogenous, -1)
        newest = columns[:, :, -1].at[:, 0].set(z)
        return jnp.concatenate([columns[:, :, 1:], newest[:, :, None]], axis=2).reshape(x.shape)

    def from_carries(params: Params, xs: Array, positions: Array, horizon: int) -> Array:
        def step(carry, x):
            return run(params, x[None], carry)[0], carry

        def ahead(running, _):
            carry, x = running
            carry, z = run(params, x[None], carry)
            return (carry, moved_on(x, z[0])), z[0]

        _, carries = lax.scan(step, cell.initial_carry(params.model.recurrent, ()), xs)
        carries = jax.tree.map(lambda leaf: leaf[positions], carries)
        return lax.scan(ahead, (carries, xs[positions]), length=horizon)[1].T

    def from_windows(params: Params, xs: Array, positions: Array, horizon: int) -> Array:
        def ahead(x, _):
            z = over_windows(params, x)
            return jnp.concatenate([x[:, 1:], moved_on(x[:, -1], z)[:, None]], axis=1), z

        return lax.scan(ahead, cut(xs)[positions], length=horizon)[1].T

    @cache
    def compiled(horizon: int) -> Callable:
        one = partial(from_windows if window else from_carries, horizon=horizon)
        return everyone(one, (0, None, None), (0, 0, 0))

    def forecast(params: Params, xs: np.ndarray, positions: np.ndarray, horizon: int) -> np.ndarray:
        return np.asarray(compiled(horizon)(params, xs, positions), np.float64)

    return Forecaster(train, forecast, init, warm_up)
