"""Sequence to sequence: an encoder and a decoder of any cells, attention between them, greedy and beam decoding.

    encoder    e_1 .. e_S, carry = network over the embedded source              its outputs and its final carry
    decoder    d_t = cell over the embedded target y_{t-1}, y_0 = END            it begins with the encoder's carry
    attention  a_ts = softmax_s(score(d_t, e_s)),  c_t = Σ_s a_ts e_s,  h_t = tanh(W_c [d_t; c_t])
    readout    o_t = W h_t + b,  p(y_t | y_{<t}, source) = softmax(o_t)          without attention h_t = d_t

Two scores, "general": d_t · (W_a e_s), and "additive": v · tanh(W_a e_s + U_a d_t). The first and the place of
attention, after the decoder's step, are Luong, Pham & Manning 2015 (arXiv:1508.04025, equations 5 to 8, without feeding
h_t back); the second is Bahdanau, Cho & Bengio 2015 (arXiv:1409.0473, appendix A.1.2), who take d_{t-1} in d_t's place.
As the decoder's step does not know of attention, any cell serves, and teacher forcing runs attention over all steps at
once. Encoder-decoder: Sutskever, Vinyals & Le 2014 (arXiv:1409.3215).

Tokens are whole numbers; END ends a target and is what the decoder reads first. All functions take any batch axes *B.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell
from rnnjax.errors import unknown
from rnnjax.initializers import glorot_uniform
from rnnjax.models.model import Embedding
from rnnjax.unrolling import unroll
from rnnjax.wrappers.layers import Layer, layer

END = 0
ATTENTION = ("none", "general", "additive")
NEVER = -1e9  # a logit that softmax makes zero


class Seq2SeqParams(NamedTuple):
    source: Any  # of the embedding of source tokens
    target: Any  # of that of target tokens
    encoder: Any
    decoder: Any
    bridge: Any  # None where the encoder's carry is handed over as it is
    attention: Any  # None without attention
    W: Array  # [H, V]
    b: Array  # [V]


class Encoded(NamedTuple):
    """What a decoder needs of a source."""

    carry: Any  # it begins with this, leaves [*B, ...]
    memory: Array  # e [S, *B, E]
    keys: Array  # W_a e [S, *B, A], or e where there is no attention
    active: Array  # [S, *B], false in the padding


class Seq2Seq(NamedTuple):
    """Encoder and decoder as pure functions.

    init(key)                                       -> params
    encode(params, source [S, *B], lengths [*B])    -> Encoded
    teach(params, encoded, target [T, *B], key)     -> logits [T, *B, V] after END, y_1 .. y_{T-1}
    step(params, encoded, carry, token [*B])        -> (carry, logits [*B, V])
    """

    init: Callable[..., Seq2SeqParams]
    encode: Callable[..., Encoded]
    teach: Callable[..., Array]
    step: Callable[..., tuple[Any, Array]]


def make_seq2seq(
    encoder: Cell | Layer,
    decoder: Cell,
    source: Embedding,
    target: Embedding,
    output_size: int,
    *,
    attention: str = "none",
) -> Seq2Seq:
    """An encoder-decoder with output_size target tokens, END among them.

    The carry is handed over as it is where that of encoder and decoder have the same structure and shapes. Elsewhere
    (another cell or size, a bidirectional encoder) each leaf of the decoder's carry is tanh(W s + b), with s all leaves
    of the encoder's final carry side by side.

    Init: W, W_a, U_a, W_c and those of the bridge glorot uniform, v ~ N(0, 1/H), biases zero.

    Raises:
      ValueError: an attention that does not exist, or a decoder that needs the whole target.
    """
    if not isinstance(decoder, Cell):
        raise ValueError(f"the decoder must be a Cell, which goes step by step, got {type(decoder).__name__}")
    if attention not in ATTENTION:
        raise ValueError(unknown("attention", attention, ATTENTION))
    encoding = layer(encoder)
    size, memory_size = decoder.output_size, encoding.output_size

    def init(key: Array) -> Seq2SeqParams:
        keys = jax.random.split(key, 7)
        params = Seq2SeqParams(
            source=source.init(keys[0]),
            target=target.init(keys[1]),
            encoder=encoding.init(keys[2], source.size),
            decoder=decoder.init(keys[3], target.size),
            bridge=None,
            attention=_init_attention(keys[4], attention, size, memory_size),
            W=glorot_uniform(keys[5], (size, output_size), jnp.float32),
            b=jnp.zeros(output_size),
        )
        return params._replace(bridge=_init_bridge(keys[6], *_carries(params)))

    def _carries(params: Seq2SeqParams) -> tuple[Any, Any]:
        """The encoder's final carry and the decoder's initial one for one source, as shapes."""
        final = jax.eval_shape(lambda p: encoding.apply(p, jnp.zeros((1, source.size)))[0], params.encoder)
        return final, jax.eval_shape(decoder.initial_carry, params.decoder)

    def encode(params: Seq2SeqParams, tokens: Array, lengths: Array, key: Array | None = None) -> Encoded:
        xs = source.apply(params.source, tokens)
        final, memory = encoding.apply(params.encoder, xs, lengths=lengths, key=key)
        carry = final
        if params.bridge is not None:
            initial = decoder.initial_carry(params.decoder, lengths.shape)
            carry = _bridged(params.bridge, final, initial, lengths.ndim)
        active = jnp.arange(len(tokens)).reshape(-1, *(1,) * lengths.ndim) < lengths
        keys = memory if attention == "none" else memory @ params.attention["W_a"]
        return Encoded(carry, memory, keys, active)

    def attend(params: Seq2SeqParams, encoded: Encoded, d: Array) -> Array:
        """h [*B, H] of the decoder's output d [*B, H]."""
        p = params.attention
        if attention == "general":
            scores = jnp.sum(encoded.keys * d, axis=-1)
        else:
            scores = jnp.tanh(encoded.keys + d @ p["U_a"]) @ p["v"]
        weights = jax.nn.softmax(jnp.where(encoded.active, scores, NEVER), axis=0)
        context = jnp.sum(weights[..., None] * encoded.memory, axis=0)
        return jnp.tanh(jnp.concatenate([d, context], axis=-1) @ p["W_c"])

    def read(params: Seq2SeqParams, h: Array) -> Array:
        return h @ params.W + params.b

    def teach(params: Seq2SeqParams, encoded: Encoded, tokens: Array, key: Array | None = None) -> Array:
        before = jnp.concatenate([jnp.full_like(tokens[:1], END), tokens[:-1]])
        xs = target.apply(params.target, before)
        _, ds = unroll(decoder, params.decoder, xs, encoded.carry, key=key)
        hs = ds if attention == "none" else jax.vmap(lambda d: attend(params, encoded, d))(ds)
        return read(params, hs)

    def step(params: Seq2SeqParams, encoded: Encoded, carry: Any, token: Array) -> tuple[Any, Array]:
        p = decoder.prepare(params.decoder, None, (*token.shape, target.size))
        carry, d = decoder.step(p, carry, decoder.project(p, target.apply(params.target, token)))
        return carry, read(params, d if attention == "none" else attend(params, encoded, d))

    return Seq2Seq(init, encode, teach, step)


def _init_attention(key: Array, attention: str, size: int, memory_size: int) -> dict[str, Array] | None:
    if attention == "none":
        return None
    key_W, key_U, key_v, key_c = jax.random.split(key, 4)
    params = {
        "W_a": glorot_uniform(key_W, (memory_size, size), jnp.float32),
        "W_c": glorot_uniform(key_c, (size + memory_size, size), jnp.float32),
    }
    if attention == "additive":
        params["U_a"] = glorot_uniform(key_U, (size, size), jnp.float32)
        params["v"] = jax.random.normal(key_v, (size,)) / math.sqrt(size)
    return params


def _init_bridge(key: Array, final: Any, initial: Any) -> list[tuple[Array, Array]] | None:
    """(W, b) for each leaf of the decoder's carry; None where the encoder's is one already."""
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(carry)] for carry in (final, initial)]
    structures: list[Any] = [jax.tree.structure(carry) for carry in (final, initial)]
    if structures[0] == structures[1] and shapes[0] == shapes[1]:
        return None
    width = sum(leaf.size for leaf in jax.tree.leaves(final))
    leaves = jax.tree.leaves(initial)
    return [
        (glorot_uniform(k, (width, leaf.size), jnp.float32), jnp.zeros(leaf.size))
        for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
    ]


def _bridged(bridge: list[tuple[Array, Array]], final: Any, initial: Any, num_axes: int) -> Any:
    """tanh(W s + b) in the shapes of the decoder's initial carry; leaves lead with num_axes batch axes."""
    s = jnp.concatenate([_flat(leaf, num_axes) for leaf in jax.tree.leaves(final)], axis=-1)
    leaves, structure = jax.tree.flatten(initial)
    new = [jnp.tanh(s @ W + b).reshape(leaf.shape) for (W, b), leaf in zip(bridge, leaves, strict=True)]
    return jax.tree.unflatten(structure, new)


def _flat(leaf: Array, num_axes: int) -> Array:
    return leaf.reshape(*leaf.shape[:num_axes], -1)


# --- decoding ---------------------------------------------------------------------------------------------------------


def greedy(model: Seq2Seq, params: Seq2SeqParams, source: Array, lengths: Array, num_steps: int) -> Array:
    """The most likely token at every step [num_steps, *B]; END from a sequence's end on."""
    encoded = model.encode(params, source, lengths)

    def step(state, _):
        carry, token, done = state
        carry, logits = model.step(params, encoded, carry, token)
        token = jnp.where(done, END, jnp.argmax(logits, axis=-1).astype(jnp.int32))
        return (carry, token, done | (token == END)), token

    first = jnp.full(lengths.shape, END, jnp.int32)
    return lax.scan(step, (encoded.carry, first, jnp.zeros(lengths.shape, bool)), length=num_steps)[1]


class Beams(NamedTuple):
    """The K likeliest beginnings of a target, the likeliest first."""

    carry: Any  # leaves [B, K, ...]
    tokens: Array  # [B, K, num_steps], END where nothing stands yet
    log_probability: Array  # [B, K]
    done: Array  # [B, K], END has been reached


def beam_search(
    model: Seq2Seq, params: Seq2SeqParams, source: Array, lengths: Array, num_steps: int, width: int
) -> Beams:
    """The `width` likeliest targets found by keeping so many beginnings at every step. source [S, B], lengths [B].

    A beginning that has reached END stays as it is and competes with the rest by its log-probability, which is not
    divided by its length.
    """
    encoded = model.encode(params, source, lengths)
    B, K = lengths.shape[0], width
    wide = Encoded(
        carry=jax.tree.map(lambda a: jnp.repeat(a[:, None], K, axis=1), encoded.carry),
        memory=encoded.memory[:, :, None],
        keys=encoded.keys[:, :, None],
        active=encoded.active[:, :, None],
    )
    start = Beams(
        carry=wide.carry,
        tokens=jnp.full((B, K, num_steps), END, jnp.int32),
        log_probability=jnp.broadcast_to(jnp.where(jnp.arange(K) == 0, 0.0, -jnp.inf), (B, K)),  # the K are alike yet
        done=jnp.zeros((B, K), bool),
    )

    def step(beams: Beams, t: Array) -> tuple[Beams, None]:
        before = jnp.where(t == 0, END, beams.tokens[:, :, t - 1])
        carry, logits = model.step(params, wide, beams.carry, before)
        size = logits.shape[-1]
        only_end = jnp.where(jnp.arange(size) == END, 0.0, -jnp.inf)
        further = jnp.where(beams.done[..., None], only_end, jax.nn.log_softmax(logits))
        total = (beams.log_probability[..., None] + further).reshape(B, K * size)
        best, index = lax.top_k(total, K)
        parent, token = index // size, (index % size).astype(jnp.int32)

        def inherit(a: Array) -> Array:
            return jax.vmap(lambda rows, i: rows[i])(a, parent)

        return Beams(
            carry=jax.tree.map(inherit, carry),
            tokens=inherit(beams.tokens).at[:, :, t].set(token),
            log_probability=best,
            done=inherit(beams.done) | (token == END),
        ), None

    return lax.scan(step, start, jnp.arange(num_steps))[0]
