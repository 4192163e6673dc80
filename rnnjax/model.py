"""A model: recurrent network and linear readout."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell
from rnnjax.compose import Layer, layer
from rnnjax.initializers import glorot_uniform


class ModelParams(NamedTuple):
    recurrent: Any  # of the cell or layer
    W: Array  # [H, O]
    b: Array  # [O]


class Model(NamedTuple):
    """init(key, input_size) -> params; apply(params, xs, lengths, key) -> outputs; readout(params, ys, lengths)."""

    init: Callable[..., ModelParams]
    apply: Callable[..., Array]
    readout: Callable[..., Array]


def make_model(network: Cell | Layer, output_size: int, *, outputs: str = "last", **options) -> Model:
    """A recurrent network read out linearly, o = W y + b.

    Args:
      network: cell or layer.
      output_size: size O of the outputs.
      outputs: "last" reads each sequence at its own last step, [*B, O]; "all" reads every step, [T, *B, O].
      options: of `unroll` (save, project, matmul_dtype).

    Init: W glorot uniform, b zero.
    """
    if outputs not in ("last", "all"):
        raise ValueError(f"unknown outputs {outputs!r}; allowed: last, all")
    recurrent = layer(network, **options)

    def init(key: Array, input_size: int) -> ModelParams:
        key_recurrent, key_W = jax.random.split(key)
        return ModelParams(
            recurrent=recurrent.init(key_recurrent, input_size),
            W=glorot_uniform(key_W, (recurrent.output_size, output_size), jnp.float32),
            b=jnp.zeros(output_size),
        )

    def apply(params: ModelParams, xs: Array, lengths: Array | None = None, key: Array | None = None) -> Array:
        _, ys = recurrent.apply(params.recurrent, xs, lengths=lengths, key=key)
        return readout(params, ys, lengths)

    def readout(params: ModelParams, ys: Array, lengths: Array | None = None) -> Array:
        if outputs == "last":
            ys = ys[-1] if lengths is None else _at(ys, jnp.maximum(lengths - 1, 0))
        return ys @ params.W + params.b

    return Model(init, apply, readout)


def _at(ys: Array, time: Array) -> Array:
    """ys [T, *B, O] at one time [*B] for each example."""
    return jnp.take_along_axis(ys, time[None, ..., None], axis=0)[0]
