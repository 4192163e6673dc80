"""A model: embedding of what goes in, recurrent network, linear readout."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell
from rnnjax.initializers import Initializer, glorot_uniform
from rnnjax.wrappers.layers import Layer, layer

OUTPUTS = ("last", "mean", "max", "attention", "all")


class ModelParams(NamedTuple):
    recurrent: Any  # of the cell or layer
    W: Array  # [H, O]
    b: Array  # [O]
    embedding: Any = None  # [V, E] where it is learnt or given
    attention: Any = None  # of the pooling


class Embedding(NamedTuple):
    """Vectors for whole numbers: init(key) -> params, apply(params, ids [...]) -> [..., size]."""

    size: int
    init: Callable[[Array], Any]
    apply: Callable[[Any, Array], Array]


class Model(NamedTuple):
    """A network with embedding and readout, as pure functions.

    init(key, input_size=None)                      -> params
    apply(params, xs, lengths=None, key=None)       -> outputs
    run(params, xs, carry, lengths=None, key=None)  -> (carry, outputs), going on from a carry
    network(params, xs, carry=None, lengths=None, key=None) -> (carry, ys), what the readout reads
    readout(params, ys, lengths=None, key=None)     -> outputs from what the network returned
    """

    init: Callable[..., ModelParams]
    apply: Callable[..., Array]
    run: Callable[..., tuple[Any, Array]]
    network: Callable[..., tuple[Any, Array]]
    readout: Callable[..., Array]


def embedding(
    vocab_size: int, size: int, *, init: Initializer | None = None, table: Array | None = None, tuned: bool = True
) -> Embedding:
    """A vector for each of vocab_size ids.

    Args:
      vocab_size, size: V and E of the table [V, E].
      init: of the table, by default uniform(-0.05, 0.05), Keras' default.
      table: [V, E] to begin with, in place of `init`.
      tuned: whether it learns; one that does not is a parameter all the same, with a gradient of zero.
    """
    if table is not None and jnp.shape(table) != (vocab_size, size):
        raise ValueError(f"the table of the embedding must be {(vocab_size, size)}, got {jnp.shape(table)}")
    init = init or (lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -0.05, 0.05))

    def start(key: Array) -> Array:
        return init(key, (vocab_size, size), jnp.float32) if table is None else jnp.asarray(table, jnp.float32)

    def apply(params: Array, ids: Array) -> Array:
        return (params if tuned else jax.lax.stop_gradient(params))[ids]

    return Embedding(size, start, apply)


def one_hot(vocab_size: int) -> Embedding:
    """Vectors with a single one."""
    return Embedding(vocab_size, lambda key: None, lambda params, ids: jax.nn.one_hot(ids, vocab_size))


def make_model(
    network: Cell | Layer,
    output_size: int,
    *,
    outputs: str = "last",
    embedding: Embedding | None = None,
    dropout: float = 0.0,
    **options,
) -> Model:
    """A recurrent network read out linearly, o = W s + b.

    Args:
      network: cell or layer.
      output_size: size O of the outputs.
      outputs: what is read, s, from the outputs y_t of the network's steps. One vector a sequence, [*B, O]: "last", at
        each sequence's own last step; "mean" and "max" over its steps; "attention", s = sum_t a_t y_t with
        a = softmax_t(v . tanh(A y_t + c)) (Yang et al. 2016, equations 5 to 7). One a step, [T, *B, O]: "all".
      embedding: of xs, which are then whole numbers [T, *B].
      dropout: rate at which the entries of s are left out before the readout, when a key is given.
      options: of `unroll` (method, matmul_dtype).

    Init: W glorot uniform, b zero; A glorot uniform, c zero, v ~ N(0, 1/H).
    """
    if outputs not in OUTPUTS:
        raise ValueError(f"unknown outputs {outputs!r}; allowed: {', '.join(OUTPUTS)}")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout={dropout} must lie in [0, 1)")
    recurrent = layer(network, **options)
    H = recurrent.output_size

    def init(key: Array, input_size: int | None = None) -> ModelParams:
        key_recurrent, key_W = jax.random.split(key)
        return ModelParams(
            recurrent=recurrent.init(key_recurrent, embedding.size if embedding else input_size),
            W=glorot_uniform(key_W, (H, output_size), jnp.float32),
            b=jnp.zeros(output_size),
            embedding=embedding.init(jax.random.fold_in(key, 1)) if embedding else None,
            attention=_init_attention(jax.random.fold_in(key, 2), H) if outputs == "attention" else None,
        )

    def apply(params: ModelParams, xs: Array, lengths: Array | None = None, key: Array | None = None) -> Array:
        return run(params, xs, None, lengths, key)[1]

    def run(params: ModelParams, xs: Array, carry: Any, lengths: Array | None = None, key: Array | None = None):
        carry, ys = states(params, xs, carry, lengths, key)
        return carry, readout(params, ys, lengths, key)

    def states(params: ModelParams, xs: Array, carry: Any = None, lengths: Any = None, key: Array | None = None):
        if embedding:
            xs = embedding.apply(params.embedding, xs)
        return recurrent.apply(params.recurrent, xs, carry, lengths=lengths, key=key)

    def readout(params: ModelParams, ys: Array, lengths: Array | None = None, key: Array | None = None) -> Array:
        s = _pool(outputs, params.attention, ys, lengths)
        if dropout and key is not None:
            kept = jax.random.bernoulli(jax.random.fold_in(key, 1), 1 - dropout, s.shape)
            s = jnp.where(kept, s / (1 - dropout), 0)
        return s @ params.W + params.b

    return Model(init, apply, run, states, readout)


def _init_attention(key: Array, size: int) -> tuple[Array, Array, Array]:
    key_A, key_v = jax.random.split(key)
    A = glorot_uniform(key_A, (size, size), jnp.float32)
    return A, jnp.zeros(size), jax.random.normal(key_v, (size,)) / jnp.sqrt(size)


def _pool(how: str, attention: Any, ys: Array, lengths: Array | None) -> Array:
    """[*B, H] from the outputs ys [T, *B, H] of each sequence's own steps; an empty sequence is all zeros."""
    if how == "all":
        return ys
    if lengths is None:
        lengths = jnp.full(ys.shape[1:-1], ys.shape[0])
    if how == "last":
        return _at(ys, jnp.maximum(lengths - 1, 0))
    active = (jnp.arange(ys.shape[0]).reshape(-1, *(1,) * lengths.ndim) < lengths)[..., None]
    if how == "max":
        return jnp.where(lengths[..., None] > 0, jnp.max(jnp.where(active, ys, -jnp.inf), axis=0), 0)
    if how == "mean":
        return jnp.sum(jnp.where(active, ys, 0), axis=0) / jnp.maximum(lengths, 1)[..., None]
    A, c, v = attention
    scores = (jnp.tanh(ys @ A + c) @ v)[..., None]
    weights = jax.nn.softmax(jnp.where(active, scores, -1e9), axis=0)
    return jnp.sum(weights * ys, axis=0)


def _at(ys: Array, time: Array) -> Array:
    """ys [T, *B, O] at one time [*B] for each example."""
    return jnp.take_along_axis(ys, time[None, ..., None], axis=0)[0]
