"""What `python -m experiments.gradients` measures of one cell: every instrument, over several seeds."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gradients.settings import NUM_CHUNKS, SEQ_LEN
from experiments.shared.cells import build_cell, parse_cell
from rnnjax.cell import Array, Cell
from rnnjax.compiling import apart_options, run_once_options
from rnnjax.gradients import (
    Derivatives,
    Keeping,
    by_training_step,
    gates,
    gradients_by_lag,
    histogram,
    jacobian_spectrum,
    keeping_gates,
    lyapunov_spectrum,
    mean_by_lag,
    mean_field_rate,
    output_derivatives,
    saturation,
    state_size,
    time_constants,
)
from rnnjax.models.model import make_model
from rnnjax.tasks.base import Task
from rnnjax.training.optimizers import Hyper
from rnnjax.training.train import make_data, make_trainer

INPUTS: dict[str, Callable] = {
    "normal": jax.random.normal,
    "uniform": lambda key, shape: jax.random.uniform(key, shape, minval=-1.0, maxval=1.0),
    "zeros": lambda key, shape: jnp.zeros(shape),
}
INPUT_SIZE = 16  # of inputs that are no task's
MOST_EXACT = 256  # real entries of a state up to which all directions are followed
NUM_PROBES = 64  # and how many beyond that
NUM_SPECTRA = 2  # examples of each seed that have Jacobians and Lyapunov exponents taken
LAGS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # of Jacobians
GATE_STEPS = 40  # by which the gates that keep are found
NUM_BINS = 20
NUM_REACH = 1024  # sequences of each seed that the reach is measured on
NUM_VALIDATION = 200
BEFORE, AFTER = "at initialisation", "after training"


@dataclass(frozen=True)
class Setting:
    """What all cells are measured on."""

    hidden_size: int = 64
    seq_len: int = SEQ_LEN  # steps, or the task's lag
    num_seeds: int = 3
    num_examples: int = 8
    inputs: str = "normal"
    task: Task | None = None
    trained: int = 0  # steps of training; 0: at initialisation alone
    learning_rate: float = 3e-3
    batch_size: int = 32

    @property
    def num_steps(self) -> int:
        return self.seq_len if self.task is None else self.task.num_steps

    @property
    def input_size(self) -> int:
        return INPUT_SIZE if self.task is None else self.task.input_size

    @property
    def lags(self) -> list[int]:
        return [lag for lag in LAGS if lag <= self.num_steps]


class Measured(NamedTuple):
    """Of one cell at one time, a leading axis of seeds on every array; natural logarithms."""

    by_lag: np.ndarray  # [S, T, B]
    mean_by_lag: np.ndarray  # [S, T]
    leaves: dict[str, np.ndarray]  # by leaf of the carry, [S, T], means over examples
    jacobian: np.ndarray  # [S, L, N, K] singular values
    jacobian_rms: np.ndarray  # [S, L, N]
    lyapunov: np.ndarray  # [S, N, K]
    running: np.ndarray  # [S, steps, N] the largest exponent so far
    histograms: dict[str, np.ndarray]  # by gate, [S, bins]
    shut: dict[str, np.ndarray]  # [S], share of time, examples and units
    open: dict[str, np.ndarray]
    time_constants: dict[str, np.ndarray]  # of gates that keep, [S, H]
    derivatives: Derivatives | None = None  # [S, T] each, of the last output; on a task alone


class OfCell(NamedTuple):
    """What is known of one cell in the end."""

    text: str
    measured: dict[str, Measured]  # BEFORE and, if it was trained, AFTER
    keeping: list[Keeping]
    matrix: np.ndarray | None  # [S, NUM_CHUNKS + 1, T], log gradient norm by training step
    theory: dict[str, np.ndarray]  # name of a theory -> log norm by lag [T], 0 at lag 0
    exact: bool  # Jacobians and exponents are complete


class Examples(NamedTuple):
    """The data of one seed."""

    xs: Array  # [T, B, I]
    target: Array  # of the task; without one, what the last outputs are projected on [B, O]
    lengths: Array | None = None


def measure_cell(text: str, setting: Setting) -> OfCell:
    """All instruments on one cell, at initialisation and, where asked for, after training."""
    cell = build_cell(text, setting.hidden_size, setting.num_steps)
    task = setting.task
    keys = jax.vmap(jax.random.key)(jnp.arange(setting.num_seeds))
    model = None if task is None else make_model(cell, task.output_size, outputs=task.outputs)
    init = cell.init if model is None else model.init
    draw = jax.vmap(lambda key: (init(key, setting.input_size), _examples(key, cell, setting)))
    params, examples = jax.jit(draw, compiler_options=run_once_options())(keys)
    one = jax.tree.map(lambda leaf: leaf[0], (_recurrent(params, setting), examples.xs))
    exact = state_size(cell, one[0]) <= MOST_EXACT
    # Finding the gates that keep takes whole Jacobians.
    keeping = keeping_gates(cell, one[0], one[1][:GATE_STEPS, :NUM_SPECTRA]) if exact else []

    def measure(params: Any, examples: Examples) -> Measured:
        loss = _loss(params, examples, setting, model)
        return _measure(cell, _recurrent(params, setting), examples, loss, keeping, setting, exact)

    compiled = jax.jit(jax.vmap(measure), compiler_options=apart_options())

    @partial(jax.jit, compiler_options=apart_options())
    def derivatives(params: Any) -> Derivatives:
        def of_seed(arguments: tuple[Array, Any]) -> Derivatives:
            key, params = arguments
            drawn = _examples(jax.random.fold_in(key, 2), cell, replace(setting, num_examples=NUM_REACH))
            return output_derivatives(cell, params, drawn.xs, lengths=drawn.lengths)

        return jax.lax.map(of_seed, (keys, _recurrent(params, setting)))

    def all_of(params: Any) -> Measured:
        found = compiled(params, examples)
        return jax.device_get(found if task is None else found._replace(derivatives=derivatives(params)))

    measured = {BEFORE: all_of(params)}
    matrix = None
    if setting.trained:
        trained, matrix = _train(cell, params, examples, keys, setting, model)
        measured[AFTER] = all_of(trained)
    return OfCell(text, measured, keeping, matrix, _theory(text, cell, *one, keeping), exact)


def _recurrent(params: Any, setting: Setting) -> Any:
    return params if setting.task is None else params.recurrent


def _examples(key: Array, cell: Cell, setting: Setting) -> Examples:
    key_inputs, key_loss = jax.random.split(jax.random.fold_in(key, 1))
    task = setting.task
    if task is not None:
        drawn = jax.vmap(task.sample)(jax.random.split(key_inputs, setting.num_examples))
        return Examples(jnp.moveaxis(task.prepare_inputs(drawn.inputs), 0, 1), drawn.target, drawn.length)
    xs = INPUTS[setting.inputs](key_inputs, (setting.num_steps, setting.num_examples, INPUT_SIZE))
    v = jax.random.normal(key_loss, (setting.num_examples, cell.output_size))
    return Examples(xs, v / jnp.linalg.norm(v, axis=-1, keepdims=True))


def _loss(params: Any, examples: Examples, setting: Setting, model: Any) -> Callable[[Array], Array]:
    """Outputs [T, B, O] of the cell -> losses [B]: the task's, or the last output in a random direction."""
    task = setting.task
    if task is None:
        return lambda ys: jnp.sum(ys[-1] * examples.target, axis=-1)
    batch_axis = 0 if task.outputs == "last" else 1

    def loss(ys: Array) -> Array:
        outputs = model.readout(params, ys, examples.lengths)
        return jax.vmap(task.loss, (batch_axis, 0))(outputs, examples.target)

    return loss


def _measure(
    cell: Cell,
    params: Any,
    examples: Examples,
    loss: Callable,
    keeping: list[Keeping],
    setting: Setting,
    exact: bool,
) -> Measured:
    """Of one seed. Jacobians, exponents and gates read the padding of short sequences as input."""
    xs, lengths = examples.xs, examples.lengths
    (by_lag,) = gradients_by_lag(cell, params, xs, loss, lengths=lengths)
    few = xs[:, :NUM_SPECTRA]
    count = None if exact else NUM_PROBES
    jacobian = jacobian_spectrum(cell, params, few, setting.lags, num_probes=count)
    lyapunov = lyapunov_spectrum(cell, params, few, num_exponents=count, burn_in=len(xs) // 10)
    values = gates(cell, params, xs)
    stuck = {label: saturation(gate) for label, gate in values.items()}
    return Measured(
        by_lag=by_lag.joined,
        mean_by_lag=mean_by_lag(by_lag.joined, lengths),
        leaves={path: mean_by_lag(logs, lengths) for path, logs in by_lag.leaves.items()},
        jacobian=jacobian.log_singular_values,
        jacobian_rms=jacobian.log_rms,
        lyapunov=lyapunov.exponents,
        running=lyapunov.running[..., 0],
        histograms={label: histogram(gate, NUM_BINS)[0] for label, gate in values.items()},
        shut={label: jnp.mean(shares.low) for label, shares in stuck.items()},
        open={label: jnp.mean(shares.high) for label, shares in stuck.items()},
        time_constants={one.label: jnp.sort(time_constants(values[one.label], one.keeps)) for one in keeping},
    )


def _train(
    cell: Cell, params: Any, examples: Examples, keys: Array, setting: Setting, model: Any
) -> tuple[Any, np.ndarray]:
    """(parameters that validated best [S, ...], log gradient norm by training step [S, NUM_CHUNKS + 1, T])."""
    steps_per_chunk = setting.trained // NUM_CHUNKS
    trainer = make_trainer(setting.task, cell, batch_size=setting.batch_size, steps_per_chunk=steps_per_chunk)
    data = make_data(setting.task, NUM_VALIDATION, 1)
    hyper = Hyper(setting.learning_rate, clip_norm=1.0)

    def one_seed(key: Array, params: Any, examples: Examples, data: Any) -> tuple[Any, Array]:
        def measure(params: Any) -> Array:
            loss = _loss(params, examples, setting, model)
            (by_lag,) = gradients_by_lag(cell, params.recurrent, examples.xs, loss, lengths=examples.lengths)
            return mean_by_lag(by_lag.joined, examples.lengths)

        chunk = lambda state: trainer.chunk(state, key, hyper, data)
        state, matrix = by_training_step(chunk, trainer.start(params), measure, NUM_CHUNKS)
        return state.best_params, matrix

    train = jax.jit(jax.vmap(one_seed, (0, 0, 0, None)), compiler_options=apart_options())
    trained, matrix = train(keys, params, examples, data)
    return trained, np.asarray(matrix)


def _theory(text: str, cell: Cell, params: Any, xs: Array, keeping: list[Keeping]) -> dict[str, np.ndarray]:
    """What theory says of the gradient at lags 1..T of one seed, as logarithms that are 0 at lag 0."""
    lags = np.arange(1, len(xs) + 1)
    found = {}
    name, options = parse_cell(text)
    if name == "elman" and "activation" not in options:
        gain = math.sqrt(len(params.U) * float(jnp.mean(params.U**2)))
        found["mean field"] = lags * mean_field_rate(gain, float(jnp.var(xs @ params.W + params.b)))
    for one in keeping:
        at_rest = gates(cell, params, jnp.zeros((1, 1, xs.shape[-1])))[one.label]
        kept = np.asarray(at_rest if one.keeps else 1 - at_rest, np.float64).ravel()
        with np.errstate(divide="ignore"):
            powers = 2 * lags[:, None] * np.log(kept)
        # the root mean square over units of f^k
        found[f"{one.label} alone"] = 0.5 * (np.logaddexp.reduce(powers, axis=1) - math.log(len(kept)))
    return found
