"""A language model of a corpus: network, batches, objective, held-out loss, decoder.

    loss = -1/N sum_t log p(x_{t+1} | x_t, x_{t-1}, ...)        nats per token;  bits = nats / ln 2

Either over streams: the text is cut into as many parallel streams as a batch has rows, each read from start to end in
pieces of seq_len tokens; the state at the end of a piece is where the next begins, gradients stop there (truncated
backpropagation through time). An epoch begins from the cell's initial state. Or over windows: seq_len tokens read from
the initial state, their successor to be predicted, every position of the text once an epoch in random order.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.shared.cells import build_cell
from experiments.shared.memory import check_memory
from experiments.textgen.corpus import END, Corpus
from experiments.textgen.settings import Settings
from rnnjax.cell import Array, Cell, where_each
from rnnjax.compiling import run_once_options
from rnnjax.models.decode import Decoder, make_decoder, over_carry, over_window
from rnnjax.models.model import Model, embedding, make_model, one_hot
from rnnjax.training.learner import Learning, local_mesh, make_evaluate, make_learner, shared_mesh
from rnnjax.training.optimizers import Hyper, make_optimizer, make_schedule
from rnnjax.training.train import INIT, TRAINING
from rnnjax.wrappers.dropout import dropout
from rnnjax.wrappers.layers import Layer, bidirectional, stack

CHUNK_TOKENS = 2**16  # about as many between two looks at the clock
EVAL_STREAMS, EVAL_STEPS = 32, 128  # of held-out text, while training
WARM_UP = 512  # tokens of what comes before that a held-out stream has read when counting begins


class LanguageModel(NamedTuple):
    """A model and what generates with it."""

    model: Model
    cell: Cell | Layer
    decoder: Decoder


@cache
def make_language_model(settings: Settings, vocab_size: int) -> LanguageModel:
    """The network of these settings over so many tokens; the same object, with what it has compiled, for the same."""
    cell = build_cell(settings.cell, settings.hidden_size, settings.seq_len)

    def one(i: int) -> Cell | Layer:
        inputs = settings.dropout if i else 0.0
        dropped = cell
        if inputs or settings.recurrent_dropout:
            dropped = dropout(cell, inputs=inputs, recurrent=settings.recurrent_dropout)
        return bidirectional(dropped) if settings.bidirectional else dropped

    layers = [one(i) for i in range(settings.num_layers)]
    network = stack(*layers, skip=settings.skip) if len(layers) > 1 else layers[0]
    size, windows = settings.embedding_size, settings.mode == "windows"
    vectors = embedding(vocab_size, size, init=jax.nn.initializers.normal(0.3)) if size else one_hot(vocab_size)
    model = make_model(
        network,
        vocab_size,
        outputs=settings.pool if windows else "all",
        embedding=vectors,
        dropout=settings.dropout,
    )
    start, step = over_window(model, settings.seq_len) if windows else over_carry(model, network)
    return LanguageModel(model, network, make_decoder(start, step, END))


# --- batches: leaves [batches, batch_size] ----------------------------------------------------------------------------


class Pieces(NamedTuple):
    """Pieces of streams: inputs at `first` and the seq_len - 1 positions after it, targets one further on."""

    first: np.ndarray  # position in the ids; may lie before 0, where nothing counts
    begin: np.ndarray  # inputs from here ...
    end: np.ndarray  # ... to before here count
    fresh: np.ndarray  # the stream begins here, from the initial state


class Windows(NamedTuple):
    """Windows that begin at `first`."""

    first: np.ndarray
    counts: np.ndarray  # 1, or 0 for padding


def stream_pieces(begin: int, end: int, num_streams: int, seq_len: int, warm_up: int = 0) -> Pieces:
    """Inputs begin .. end - 1 in streams of equal length, each with `warm_up` uncounted tokens before its own."""
    length = -(-(end - begin) // num_streams)
    starts = begin + length * np.arange(num_streams)
    offsets = np.arange(0, warm_up + length, seq_len)
    shape = (len(offsets), num_streams)
    return Pieces(
        (starts - warm_up + offsets[:, None]).astype(np.int32),
        np.broadcast_to(np.minimum(starts, end), shape).astype(np.int32),
        np.broadcast_to(np.minimum(starts + length, end), shape).astype(np.int32),
        np.broadcast_to(offsets[:, None] == 0, shape).copy(),
    )


def windows_of(begin: int, end: int, batch_size: int, seq_len: int, order: np.random.Generator | None) -> Windows:
    """The windows whose target stands at begin .. end - 1, in random order where one is given."""
    first = np.arange(max(begin - seq_len, 0), end - seq_len)
    if order is not None:
        first = order.permutation(first)
    padding = -len(first) % batch_size
    shape = (-1, batch_size)
    counts = np.pad(np.ones(len(first), np.float32), (0, padding))
    return Windows(np.pad(first, (0, padding)).astype(np.int32).reshape(shape), counts.reshape(shape))


# --- training ---------------------------------------------------------------------------------------------------------


class Training(NamedTuple):
    """Everything `fit` needs, for any seed."""

    init: Callable[[int], Any]  # seed -> state
    chunk: Callable[[Any, int, int], tuple[Any, Any]]  # state, which one, seed -> state, what was measured
    chunks_per_epoch: int
    held_out_nats: Callable[..., float]  # (params, exact=False) -> nats per held-out token
    put: Callable[[Learning], Learning]  # these two as a Learner has them
    get: Callable[[Learning], Learning]


def make_training(settings: Settings, corpus: Corpus, lm: LanguageModel) -> Training:
    """Training on a corpus.

    Raises:
      ValueError: a corpus too short for these batches.
    """
    check_length(settings, corpus)
    windows, B, L = settings.mode == "windows", settings.batch_size, settings.seq_len
    ids, split = corpus.ids, corpus.num_train

    def of_epoch(epoch: int, seed: int) -> Pieces | Windows:
        if windows:
            return windows_of(L, split, B, L, np.random.default_rng((seed, epoch)))
        return stream_pieces(0, split - 1, B, L)

    num_batches = len(of_epoch(0, 0).first)
    chunks_per_epoch = -(-num_batches // max(1, CHUNK_TOKENS // (B * L)))
    size = -(-num_batches // chunks_per_epoch)
    chunks_per_epoch = -(-num_batches // size)
    num_steps = settings.epochs * num_batches
    rate = make_schedule(settings.schedule, settings.learning_rate, num_steps, round(settings.warmup * num_steps))
    optimizer = make_optimizer(settings.optimizer, Hyper(rate, clip_norm=settings.clip_norm))
    check_memory(
        lm.model.init,
        optimizer.init,
        num_steps=L,
        batch_size=B // jax.process_count(),
        width=settings.hidden_size * settings.num_layers,
        options={
            "--hidden-size": settings.hidden_size,
            "--num-layers": settings.num_layers,
            "--batch-size": B,
            "--seq-len": L,
        },
    )
    mesh = shared_mesh(B)
    losses = _window_losses(lm, L) if windows else _stream_losses(lm, L)

    def objective(params, carry, batch, key, ids):
        total, weight, carry = losses(params, carry, batch, key, ids)
        return total, (weight, carry)

    learner = make_learner(objective, optimizer, mesh)
    data = cache(lambda: learner.place(ids))  # on first use, which is where several processes begin together
    init_params = jax.jit(lm.model.init, compiler_options=run_once_options())

    def init(seed: int):
        params = init_params(jax.random.fold_in(jax.random.key(seed), INIT))
        return learner.start(params, () if windows else lm.cell.initial_carry(params.recurrent, (B,)))

    def chunk(state, i: int, seed: int):
        epoch, part = divmod(i, chunks_per_epoch)
        batches = jax.tree.map(lambda a: a[part * size : (part + 1) * size], of_epoch(epoch, seed))
        count = len(batches.first)
        padded = jax.tree.map(lambda a: np.pad(a, ((0, size - count), (0, 0))), batches)
        key = jax.random.fold_in(jax.random.key(seed), TRAINING)
        return learner.chunk(state, padded, count, key, data())

    return Training(init, chunk, chunks_per_epoch, _held_out(settings, corpus, lm), learner.put, learner.get)


def check_length(settings: Settings, corpus: Corpus) -> None:
    """Raise ValueError for a corpus that does not fill a batch, or has nothing held out to speak of."""
    B, L = settings.batch_size, settings.seq_len
    needed = B + L if settings.mode == "windows" else B * L
    if corpus.num_train <= needed:
        what = "a batch of windows needs" if settings.mode == "windows" else "one piece of each stream needs"
        raise ValueError(
            f"{corpus.name} is too short: {corpus.num_train - 1:,} tokens to train on, and {what} more than {needed:,} "
            f"(batch_size={B}, seq_len={L}); give more text or smaller sizes"
        )


def _stream_losses(lm: LanguageModel, seq_len: int) -> Callable:
    def losses(params, carry, pieces: Pieces, key: Array | None, ids: Array) -> tuple[Array, Array, Any]:
        carry = where_each(pieces.fresh, lm.cell.initial_carry(params.recurrent, pieces.fresh.shape), carry)
        position = pieces.first + jnp.arange(seq_len)[:, None]  # [T, B]
        counts = (position >= pieces.begin) & (position < pieces.end)
        inside = jnp.clip(position, 0, len(ids) - 2)
        carry, logits = lm.model.run(params, ids[inside], carry, None, key)
        each = optax.softmax_cross_entropy_with_integer_labels(logits, ids[inside + 1])
        return jnp.sum(jnp.where(counts, each, 0)), jnp.sum(counts, dtype=jnp.float32), carry

    return losses


def _window_losses(lm: LanguageModel, seq_len: int) -> Callable:
    def losses(params, carry, windows: Windows, key: Array | None, ids: Array) -> tuple[Array, Array, Any]:
        position = windows.first + jnp.arange(seq_len)[:, None]  # [T, B]
        logits = lm.model.apply(params, ids[position], None, key)
        each = optax.softmax_cross_entropy_with_integer_labels(logits, ids[windows.first + seq_len])
        return jnp.sum(each * windows.counts), jnp.sum(windows.counts), carry

    return losses


def _held_out(settings: Settings, corpus: Corpus, lm: LanguageModel) -> Callable[..., float]:
    """(params, exact=False) -> nats per held-out token.

    Over streams, held-out text is read in several at once, each having first read WARM_UP tokens of what comes before
    it; exact: in a single one, the state carried through all of it.
    """
    windows = settings.mode == "windows"
    losses = _window_losses(lm, settings.seq_len) if windows else _stream_losses(lm, EVAL_STEPS)
    split, end = corpus.num_train, len(corpus.ids)

    def measure(params, carry, batch, ids):
        total, weight, carry = losses(params, carry, batch, None, ids)
        return (total, weight), carry

    programs: dict[int, Callable] = {}

    def nats(params, exact: bool = False) -> float:
        streams = 1 if exact and not windows else EVAL_STREAMS
        if windows:
            batches, rows = windows_of(split, end, settings.batch_size, settings.seq_len, None), settings.batch_size
        else:
            batches, rows = stream_pieces(split - 1, end - 1, streams, EVAL_STEPS, WARM_UP), streams
        mesh = local_mesh(rows)
        run = programs.setdefault(rows, make_evaluate(measure, mesh))
        carry = () if windows else jax.device_get(lm.cell.initial_carry(params.recurrent, (rows,)))
        (total, weight), _ = run(params, carry, batches, len(batches.first), corpus.ids)
        return float(total) / float(weight)

    return nats
