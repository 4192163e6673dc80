"""What is timed, and the systems that do it: rnnjax and its peers, an adapter each.

The work, for a tanh RNN, GRU or LSTM of one layer in float32:

    train    loss = mean of ys², and its gradient by the parameters
    forward  ys [T, B, H] from xs [T, B, I]
    decode   T characters for each of B texts, drawn one by one from a softmax readout of H units over I characters

Systems are imported when they are asked for and not before, so that a process holds one of them and its threads only.
"""

import os
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from experiments.bench.in_torch import torch_system
from experiments.bench.work import (
    BASELINE,
    MODES,
    PRODUCT,
    REFERENCE,
    Network,
    System,
    Timed,
    Work,
    inputs,
    num_cores,
    start_jax,
)

PRODUCT_ROWS, PRODUCT_SIZE = 1024, 2048  # [rows, size] times [size, size] on each core


def _compiled(program: Any, *arguments: Any, num_devices: int = 1) -> Timed:
    import jax

    begin = time.perf_counter()
    compiled = program.lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    memory = compiled.memory_analysis()
    temporary = float("nan") if memory is None else num_devices * memory.temp_size_in_bytes / 1e6
    return Timed(lambda: jax.tree.leaves(jax.block_until_ready(compiled(*arguments))), seconds, temporary)


def _jax_peer(network: Callable[[Work], Network]) -> Callable[[Work, Mapping[str, str]], dict[str, Timed]]:
    """The adapter of a library whose users have one CPU device with as many threads as there are cores."""

    def make(work: Work, options: Mapping[str, str]) -> dict[str, Timed]:
        del options
        start_jax()
        import jax
        import jax.numpy as jnp

        params, apply, batch_first = network(work)
        xs = jnp.asarray(np.swapaxes(inputs(work), 0, 1) if batch_first else inputs(work))
        program = apply
        if work.mode == "train":
            program = jax.value_and_grad(lambda params, xs: jnp.mean(apply(params, xs) ** 2))
        return {"": _compiled(jax.jit(program), params, xs)}

    return make


def _scan(work: Work) -> Network:
    """Our cells in nothing but `jax.lax.scan`, all inputs projected inside the step."""
    import jax
    from jax import lax

    from rnnjax.cells import make_cell

    cell = make_cell(work.cell, work.hidden_size)

    def apply(params, xs):
        p = cell.prepare(params, None, xs.shape[1:])
        carry = cell.initial_carry(params, xs.shape[1:-1])
        return lax.scan(lambda carry, x: cell.step(p, carry, cell.project(p, x)), carry, xs)[1]

    return Network(cell.init(jax.random.key(0), work.input_size), apply)


def _flax(work: Work) -> Network:
    from flax import nnx

    cells = {"elman": nnx.SimpleCell, "gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell}
    cell = cells[work.cell](work.input_size, work.hidden_size, rngs=nnx.Rngs(0))
    graph, params = nnx.split(nnx.RNN(cell, time_major=True, rngs=False), nnx.Param)
    return Network(params, lambda params, xs: nnx.merge(graph, params)(xs, rngs=nnx.Rngs(0)))


def _haiku(work: Work) -> Network:
    """Its VanillaRNN is a rectified one, so the tanh RNN is written from its modules."""
    import haiku as hk
    import jax
    import jax.numpy as jnp

    class TanhRNN(hk.VanillaRNN):
        def __call__(self, inputs, state):
            h = jnp.tanh(hk.Linear(self.hidden_size)(inputs) + hk.Linear(self.hidden_size, with_bias=False)(state))
            return h, h

    def forward(xs):
        core = {"elman": TanhRNN, "gru": hk.GRU, "lstm": hk.LSTM}[work.cell](work.hidden_size)
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]

    transformed = hk.without_apply_rng(hk.transform(forward))
    return Network(transformed.init(jax.random.key(0), jnp.asarray(inputs(work))), transformed.apply)


def _keras(work: Work) -> Network:
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    layers = {"elman": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
    layer = layers[work.cell](work.hidden_size, return_sequences=True)
    layer.build((work.batch_size, work.seq_len, work.input_size))
    params, rest = ([v.value for v in some] for some in (layer.trainable_variables, layer.non_trainable_variables))
    return Network(params, lambda params, xs: layer.stateless_call(params, rest, xs)[0], batch_first=True)


def _equinox(work: Work) -> Network:
    """Its cells in `jax.lax.scan`, a sequence at a time under vmap; it lacks a tanh RNN, here two of its layers."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from jax import lax

    class TanhCell(eqx.Module):
        from_input: eqx.nn.Linear
        from_state: eqx.nn.Linear

        def __init__(self, input_size: int, hidden_size: int, *, key):
            key_input, key_state = jax.random.split(key)
            self.from_input = eqx.nn.Linear(input_size, hidden_size, key=key_input)
            self.from_state = eqx.nn.Linear(hidden_size, hidden_size, use_bias=False, key=key_state)

        def __call__(self, x, h):
            return jnp.tanh(self.from_input(x) + self.from_state(h))

    cells = {"elman": TanhCell, "gru": eqx.nn.GRUCell, "lstm": eqx.nn.LSTMCell}
    cell = cells[work.cell](work.input_size, work.hidden_size, key=jax.random.key(0))
    params, static = eqx.partition(cell, eqx.is_array)
    h0 = jnp.zeros(work.hidden_size)

    def apply(params, xs):
        cell = eqx.combine(params, static)

        def step(carry, x):
            carry = cell(x, carry)
            return carry, carry[0] if work.cell == "lstm" else carry

        return jax.vmap(lambda xs: lax.scan(step, (h0, h0) if work.cell == "lstm" else h0, xs)[1], 1, 1)(xs)

    return Network(params, apply)


def _rnnjax(work: Work, options: Mapping[str, str]) -> dict[str, Timed]:
    """As the training programs run it: the batch spread over the local devices, on a CPU one for each core."""
    start_jax(num_cores())
    import jax
    import jax.numpy as jnp
    from jax import lax
    from jax.sharding import NamedSharding

    from rnnjax.cells import make_cell
    from rnnjax.compiling import compiler_options
    from rnnjax.methods import Scan
    from rnnjax.training.learner import AXIS, STEPS_SHARED, WHOLE, local_mesh
    from rnnjax.unrolling import unroll

    if work.mode == "decode":
        return {"": _generating(work)}
    cell, method = make_cell(work.cell, work.hidden_size), Scan(**options)
    mesh = local_mesh(work.batch_size)

    def forward(params, xs):
        return unroll(cell, params, xs, method=method)[1]

    def train(params, xs):
        size = work.seq_len * work.batch_size * work.hidden_size
        return lax.psum(jax.value_and_grad(lambda params: jnp.sum(forward(params, xs) ** 2) / size)(params), AXIS)

    program, results = (train, WHOLE) if work.mode == "train" else (forward, STEPS_SHARED)
    sharded = jax.shard_map(program, mesh=mesh, in_specs=(WHOLE, STEPS_SHARED), out_specs=results, check_vma=False)
    params = jax.device_put(jax.device_get(cell.init(jax.random.key(0), work.input_size)), NamedSharding(mesh, WHOLE))
    xs = jax.device_put(inputs(work), NamedSharding(mesh, STEPS_SHARED))
    program = jax.jit(sharded, compiler_options=compiler_options())
    return {"": _compiled(program, params, xs, num_devices=mesh.size)}


def _generating(work: Work) -> Timed:
    """`rnnjax.decode.generate` as it is used; compilation is what its first call takes longer."""
    import jax

    from rnnjax.cells import make_cell
    from rnnjax.models.decode import Options, generate, make_decoder, over_carry
    from rnnjax.models.model import make_model, one_hot

    cell = make_cell(work.cell, work.hidden_size)
    model = make_model(cell, work.input_size, outputs="all", embedding=one_hot(work.input_size))
    decoder = make_decoder(*over_carry(model, cell), end=0)
    params = jax.jit(model.init)(jax.random.key(0))
    options = Options(banned=np.arange(work.input_size) == 0)

    def call(length: int = work.seq_len) -> list:
        return [np.array(generate(decoder, params, [[1]] * work.batch_size, length, options=options))]

    begin = time.perf_counter()
    call(1)
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    call(1)
    return Timed(call, seconds - (time.perf_counter() - begin))


def _product(work: Work, options: Mapping[str, str]) -> dict[str, Timed]:
    """A large float32 product on all cores: what the machine can do, whatever the work."""
    del work, options
    start_jax(num_cores())
    import jax
    from jax.sharding import NamedSharding

    from rnnjax.training.learner import SHARED, WHOLE, local_mesh

    rows = PRODUCT_ROWS * num_cores()
    mesh = local_mesh(rows)
    a = jax.device_put(np.ones((rows, PRODUCT_SIZE), np.float32), NamedSharding(mesh, SHARED))
    b = jax.device_put(np.ones((PRODUCT_SIZE, PRODUCT_SIZE), np.float32), NamedSharding(mesh, WHOLE))
    sharded = jax.shard_map(lambda a, b: a @ b, mesh=mesh, in_specs=(SHARED, WHOLE), out_specs=SHARED)
    return {"": _compiled(jax.jit(sharded), a, b)}


def product_flops() -> float:
    return 2.0 * num_cores() * PRODUCT_ROWS * PRODUCT_SIZE**2


SYSTEMS = {
    REFERENCE: System(("rnnjax", "jax", "jaxlib"), _rnnjax, "rnnjax", MODES, is_peer=False),
    BASELINE: System(("jax", "jaxlib"), _jax_peer(_scan), "our cells in plain `lax.scan`", is_peer=False),
    "torch": System(("torch",), torch_system, "PyTorch", MODES),
    "flax": System(("flax", "jax", "jaxlib"), _jax_peer(_flax), "flax.nnx.RNN (OptimizedLSTMCell)"),
    "haiku": System(("dm-haiku", "jax", "jaxlib"), _jax_peer(_haiku), "haiku.dynamic_unroll"),
    "keras": System(("keras", "jax", "jaxlib"), _jax_peer(_keras), "Keras on JAX"),
    "equinox": System(("equinox", "jax", "jaxlib"), _jax_peer(_equinox), "equinox cells in `lax.scan`"),
}
PEERS = {"torch": "torch>=2.13", "haiku": "dm-haiku>=0.0.16", "keras": "keras>=3.12", "equinox": "equinox>=0.13"}


def parse_system(text: str) -> tuple[str, dict[str, str]]:
    """("rnnjax", {"engine": "plain"}) from "rnnjax:engine=plain"."""
    name, *options = text.split(":")
    return name, dict(option.split("=", 1) for option in options)


def prepare(system: str, work: Work) -> dict[str, Timed]:
    """The work, made ready by a system, by setting."""
    name, options = parse_system(system)
    make = _product if name == PRODUCT else SYSTEMS[name].make
    return make(work, options)


def versions(system: str) -> str:
    """Such as "flax 0.12.8, jax 0.10.2, jaxlib 0.10.2"."""
    name, _ = parse_system(system)
    distributions = ("jax", "jaxlib") if name == PRODUCT else SYSTEMS[name].distributions
    return ", ".join(f"{distribution} {version(distribution)}" for distribution in distributions)
