"""Trials that share one compiled program, and that program: vmapped over trials, spread over all devices."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.sweep.spec import Trial
from experiments.sweep.trials.plan import Group, network, trainer_of
from rnnjax.compiling import apart_options, run_once_options
from rnnjax.gradients import gradient_by_lag, mean_by_lag
from rnnjax.models.model import make_model
from rnnjax.tasks.base import Task
from rnnjax.training.optimizers import Hyper
from rnnjax.training.train import Data, State

MOST_PRODUCTS = 2_000_000  # multiply-adds of a step of the trials that a CPU takes through it together
HORIZON_EXAMPLES = 32  # sequences a gradient by lag is averaged over


class Program(NamedTuple):
    """A group's compiled functions; every argument and result has a leading axis of trials."""

    state: State  # before the first step
    chunk: Callable  # State -> (State, Metrics); the State given is used up
    test: Callable  # params -> (loss, accuracy)
    log_gradient_norms: Callable  # params -> [trials, T]
    spread: Callable  # host arrays -> arrays over the devices
    width: int  # number of trials, padded to a multiple of the number of devices
    num_devices: int
    compile_seconds: float


def make_program(group: Group, task: Task, data: Data) -> Program:
    """Compile the functions of a group; the padding repeats its last trial."""
    start = time.perf_counter()
    devices = jax.devices()[: len(group.trials)]
    trials = [*group.trials, *[group.trials[-1]] * (-len(group.trials) % len(devices))]
    mesh = Mesh(np.array(devices), ("trials",))
    over_trials, everywhere = PartitionSpec("trials"), PartitionSpec()

    def spread(values: Any) -> Any:
        return jax.device_put(values, NamedSharding(mesh, over_trials))

    share = len(trials) // len(devices)
    width = side_by_side(share, trials[0].batch_size, group.num_params)

    def compiled(function: Callable, compiler_options: Any, *arguments: Any, **options) -> Callable:
        """Mapped over trials, each device taking its share of them; the last argument is the same for all."""
        num_mapped = len(arguments) - 1

        def mapped(*arguments):
            *own, data = arguments
            if width == share > 1:
                return jax.vmap(function, (0,) * num_mapped + (None,))(*arguments)
            turns = None if width == 1 else width  # a map over one trial alone would only slow it down
            return jax.lax.map(lambda one: function(*one, data), tuple(own), batch_size=turns)

        specs = (over_trials,) * num_mapped + (everywhere,)
        sharded = jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=over_trials, check_vma=False)
        return jax.jit(sharded, **options).lower(*arguments).compile(compiler_options=compiler_options)

    cell, trainer = network(trials[0], task), trainer_of(trials[0], task)
    model = make_model(cell, task.output_size, outputs=task.outputs)

    def gradient_norms(params: Any, data: Data) -> jax.Array:
        examples = jax.tree.map(lambda a: jnp.asarray(a)[:HORIZON_EXAMPLES], data.validation)
        xs = jnp.moveaxis(task.prepare_inputs(examples.inputs), 0, 1)
        batch_axis = 0 if task.outputs == "last" else 1

        def loss(ys):
            outputs = model.readout(params, ys, examples.length)
            return jax.vmap(task.loss, (batch_axis, 0))(outputs, examples.target)

        log_norms = gradient_by_lag(cell, params.recurrent, xs, loss, lengths=examples.length)
        return mean_by_lag(log_norms, examples.length)

    data = jax.device_put(data, NamedSharding(mesh, everywhere))
    keys = spread(_keys(trials))
    hyper = spread(Hyper(*(np.array([getattr(t, f) for t in trials], np.float32) for f in Hyper._fields)))
    state = spread(_start(trials, task))

    def test_score(params: Any, data: Data) -> tuple[jax.Array, jax.Array]:
        return trainer.evaluate(params, data.test)

    with ThreadPoolExecutor() as compiler:  # XLA compiles each on a core of its own
        futures = [
            compiler.submit(compiled, trainer.chunk, apart_options(), state, keys, hyper, data, donate_argnums=0),
            compiler.submit(compiled, test_score, run_once_options(), state.params, data),
            compiler.submit(compiled, gradient_norms, run_once_options(), state.params, data),
        ]
        chunk, test, log_gradient_norms = (future.result() for future in futures)
    return Program(
        state=state,
        chunk=lambda state: chunk(state, keys, hyper, data),
        test=lambda params: test(params, data),
        log_gradient_norms=lambda params: log_gradient_norms(params, data),
        spread=spread,
        width=len(trials),
        num_devices=len(devices),
        compile_seconds=time.perf_counter() - start,
    )


def side_by_side(share: int, batch_size: int, num_params: int) -> int:
    """How many of its share of trials a device takes through a step together; the others wait for their turn.

    An accelerator takes all. On a CPU a step of many small networks spends less on starting operations, but one whose
    values do not fit into the first caches waits for memory: with an LSTM of 64 units on 32 sequences, a training step
    of a trial takes 24 ms among 12, and 17 to 22 ms among 3.
    """
    if jax.default_backend() != "cpu":
        return share
    most = MOST_PRODUCTS // (batch_size * num_params)
    return max(width for width in range(1, share + 1) if share % width == 0 and width <= max(most, 1))


def _keys(trials: Sequence[Trial]) -> jax.Array:
    return jax.vmap(jax.random.key)(jnp.array([trial.seed for trial in trials]))


def _start(trials: Sequence[Trial], task: Task) -> State:
    """The states of all trials before their first step, on the host: each by its own cell.

    On the host, since taking single trials out of an array that is spread over devices would make the devices talk.
    """
    each: list[Any] = [None] * len(trials)
    for cell in dict.fromkeys(trial.cell for trial in trials):
        places = [i for i, trial in enumerate(trials) if trial.cell == cell]
        some = [trials[place] for place in places]
        own = trainer_of(some[0], task)
        start = jax.jit(jax.vmap(lambda key: own.start(own.init(key))), compiler_options=run_once_options())
        states = jax.device_get(start(_keys(some)))
        for position, place in enumerate(places):
            each[place] = jax.tree.map(lambda leaf: leaf[position], states)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)
