"""Training and evaluation of one model with every batch spread over the devices of this process, or of several.

On a CPU with several devices (`jax_num_cpu_devices`, one per core) this is faster than one device with several threads,
as the small products of a recurrent step do not fill more than one core. On one GPU it costs nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rnnjax.cell import Array
from rnnjax.compiling import compiler_options
from rnnjax.training.step import make_step

AXIS = "batch"
WHOLE, SHARED = PartitionSpec(), PartitionSpec(AXIS)  # the same on every device; cut along the leading axis
STEPS_SHARED = PartitionSpec(None, AXIS)  # [steps, batch, ...]


class Learning(NamedTuple):
    """All that training carries from step to step; a checkpoint of it resumes exactly."""

    params: Any
    optimizer: Any
    step: Any
    carry: Any = ()  # of the recurrent network where it is handed from batch to batch, leaves [batch, ...]


class Learner(NamedTuple):
    """start(params, carry) -> Learning; chunk(state, batches, num_steps, key, data) -> (state, Measured).

    `chunk` takes one optimizer step for each of the first num_steps of `batches`, leaves [steps, batch, ...]; the batch
    must be a multiple of the number of devices. `data` is whole on every device. The state given is used up.
    `place(data)` puts arrays on the devices once, so that no call moves them again; `put(state)` does so for a state
    from elsewhere, such as a checkpoint, and `get(state)` brings one to the host, whole. Where several processes learn
    together (`shared_mesh`) all make the same calls in the same order, with equal arguments.
    """

    start: Callable[..., Learning]
    chunk: Callable[..., tuple[Learning, "Measured"]]
    place: Callable[[Any], Any]
    put: Callable[[Learning], Learning]
    get: Callable[[Learning], Learning]


class Measured(NamedTuple):
    """Of a chunk of steps."""

    train_loss: Array  # mean, penalties left out; NaN where a loss or a gradient of any step was not finite
    gradient_norm: Array  # the largest, before clipping
    first_loss: Array  # mean of the first step's batch


def local_mesh(batch_size: int) -> Mesh:
    """As many of the local devices as divide the batch evenly."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    return Mesh(np.array(devices[:count]), (AXIS,))


def shared_mesh(batch_size: int) -> Mesh:
    """Devices of every process, from each as many as divide the batch evenly; of a single one `local_mesh`.

    Raises:
      ValueError: the batch cannot be cut into as many equal parts as there are processes.
    """
    by_process: dict[int, list[jax.Device]] = {}
    for device in jax.devices():
        by_process.setdefault(device.process_index, []).append(device)
    processes, most = len(by_process), min(map(len, by_process.values()))
    fitting = [n for n in range(1, most + 1) if batch_size % (n * processes) == 0]
    if not fitting:
        raise ValueError(f"batch_size={batch_size} cannot be cut into equal parts for {processes} processes")
    chosen = [device for _, devices in sorted(by_process.items()) for device in devices[: fitting[-1]]]
    return Mesh(np.array(chosen), (AXIS,))


def make_learner(
    objective: Callable,
    transformation: optax.GradientTransformation,
    mesh: Mesh,
    penalty: Callable[[Any], Array] | None = None,
) -> Learner:
    """Training steps on batches cut over the devices of a mesh.

    Args:
      objective: (params, carry, batch, key, data) -> (total, (weight, carry)) for a device's part of a batch: the sum
        of losses, and how much they count (examples, or characters). The gradient is that of the whole batch's
        Σ total / Σ weight, so how a batch is cut does not matter beyond rounding and dropout masks.
      transformation: the optimizer.
      mesh: of `local_mesh` or `shared_mesh`.
      penalty: params -> [], added to the mean loss; left out of the loss returned.
    """
    state_specs = Learning(WHOLE, WHOLE, WHOLE, SHARED)
    step = make_step(objective, transformation, penalty, AXIS)

    def put(state: Learning) -> Learning:
        return Learning(
            *(
                jax.device_put(jax.device_get(part), NamedSharding(mesh, spec))
                for part, spec in zip(state, state_specs, strict=True)
            )
        )

    on_every_device = jax.jit(lambda carry: carry, out_shardings=NamedSharding(mesh, WHOLE))

    def get(state: Learning) -> Learning:  # the carry alone is cut, and parts of it may lie in other processes
        return jax.device_get(state._replace(carry=on_every_device(state.carry)))

    def start(params: Any, carry: Any = ()) -> Learning:
        return put(Learning(params, transformation.init(params), np.zeros((), np.int32), carry))

    def chunk(state: Learning, batches: Any, num_steps: Array, key: Array, data: Any) -> tuple:
        def one(i: Array, running: tuple) -> tuple:
            state, total, weight, largest, finite, first = running
            batch = jax.tree.map(lambda a: a[i], batches)
            key_step = jax.random.fold_in(jax.random.fold_in(key, state.step), lax.axis_index(AXIS))
            made = step(state.params, state.optimizer, state.carry, batch, key_step, data)
            largest = jnp.maximum(largest, made.gradient_norm)
            state = Learning(made.params, made.optimizer, state.step + 1, made.kept)
            first = jnp.where(i == 0, made.total / made.weight, first)
            return state, total + made.total, weight + made.weight, largest, finite & made.finite, first

        zero = jnp.zeros((), jnp.float32)
        initial = state, zero, zero, zero, jnp.ones((), bool), zero
        state, total, weight, largest, finite, first = lax.fori_loop(0, num_steps, one, initial)
        return state, Measured(jnp.where(finite, total / jnp.maximum(weight, 1), jnp.nan), largest, first)

    sharded = jax.shard_map(
        chunk,
        mesh=mesh,
        in_specs=(state_specs, STEPS_SHARED, WHOLE, WHOLE, WHOLE),
        out_specs=(state_specs, WHOLE),
        check_vma=False,
    )
    compiled = jax.jit(sharded, donate_argnums=0, compiler_options=compiler_options())
    return Learner(start, compiled, _placing(mesh), put, get)


def make_evaluate(measure: Callable, mesh: Mesh) -> Callable[..., tuple[Any, Any]]:
    """evaluate(params, carry, batches, num_batches, data) -> (sums, carry), with batches [steps, batch, ...].

    `measure(params, carry, batch, data) -> (sums, carry)` gives a pytree of sums over a device's part of a batch; those
    of all parts and batches are added up. The carry, leaves [batch, ...], goes from batch to batch; () where none does.
    """

    def evaluate(params: Any, carry: Any, batches: Any, num_batches: Array, data: Any) -> tuple[Any, Any]:
        def one(i: Array, running: tuple) -> tuple:
            sums, carry = running
            new, carry = measure(params, carry, jax.tree.map(lambda a: a[i], batches), data)
            return jax.tree.map(jnp.add, sums, new), carry

        first = jax.tree.map(lambda a: a[0], batches)
        shapes = jax.eval_shape(measure, params, carry, first, data)[0]
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        sums, carry = lax.fori_loop(0, num_batches, one, (zeros, carry))
        return lax.psum(sums, AXIS), carry

    sharded = jax.shard_map(
        evaluate,
        mesh=mesh,
        in_specs=(WHOLE, SHARED, STEPS_SHARED, WHOLE, WHOLE),
        out_specs=(WHOLE, SHARED),
        check_vma=False,
    )
    return jax.jit(sharded, compiler_options=compiler_options())


def _placing(mesh: Mesh) -> Callable[[Any], Any]:
    return lambda data: jax.device_put(data, NamedSharding(mesh, WHOLE))
