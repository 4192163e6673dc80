"""Encoder-decoders for the tasks of tasks.py: compiled training and decoding, data, accuracies."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from experiments.seq2seq.settings import Settings
from experiments.seq2seq.tasks import (
    TEST,
    VALIDATION,
    Pairs,
    Task,
    Vocabulary,
    held_out_sources,
    longest_target,
    pairs,
    training_sources,
)
from experiments.shared.cells import build_cell
from experiments.shared.memory import check_memory
from rnnjax.models.model import embedding
from rnnjax.models.seq2seq import Seq2Seq, beam_search, greedy, make_seq2seq
from rnnjax.training.learner import Learner, local_mesh, make_evaluate, make_learner
from rnnjax.training.optimizers import Hyper, make_optimizer, make_schedule
from rnnjax.wrappers.dropout import dropout
from rnnjax.wrappers.layers import bidirectional

PER_LENGTH = 200  # held-out sources of each length
DECODINGS = ("greedy", "beam")


class Held(NamedTuple):
    """Held-out examples of one length, filled up to PER_LENGTH with examples that do not count."""

    pairs: Pairs
    counts: np.ndarray  # [PER_LENGTH] 1 or 0


class Program(NamedTuple):
    """Compiled training and evaluation of one setting."""

    model: Seq2Seq
    learner: Learner
    loss: Callable  # evaluations: of the mean loss, and of exact matches by greedy and by beam decoding
    right: dict[str, Callable]
    decode: dict[str, Callable]  # (params, source [S, B], lengths) -> tokens [B, T]


def make_model(settings: Settings, task: Task, vocabulary: Vocabulary) -> Seq2Seq:
    """The encoder-decoder of a setting.

    Raises:
      ValueError: an unknown cell or attention, a size or a rate that is not allowed.
    """
    longest = longest_target(task)
    encoder, decoder = (
        dropout(build_cell(cell, settings.hidden_size, longest), outputs=settings.dropout)
        for cell in (settings.encoder, settings.decoder)
    )
    return make_seq2seq(
        bidirectional(encoder) if settings.bidirectional else encoder,
        decoder,
        embedding(len(task.symbols), settings.embedding_size, init=jax.nn.initializers.normal(1.0)),
        embedding(len(vocabulary.tokens), settings.embedding_size, init=jax.nn.initializers.normal(1.0)),
        len(vocabulary.tokens),
        attention=settings.attention,
    )


def make_program(settings: Settings, task: Task, vocabulary: Vocabulary) -> Program:
    """Everything that is compiled."""
    model, num_tokens = make_model(settings, task, vocabulary), longest_target(task)

    def losses(params, batch: Pairs, key=None):
        """(cross-entropy of all target tokens [B], how many [B]) of a batch, by teacher forcing."""
        key_encoder, key_decoder = (None, None) if key is None else jax.random.split(key)
        source, target = time_first(batch.source), time_first(batch.target)
        encoded = model.encode(params, source, batch.source_length, key_encoder)
        log_p = jax.nn.log_softmax(model.teach(params, encoded, target, key_decoder))
        each = -jnp.take_along_axis(log_p, target[..., None], axis=-1)[..., 0]
        active = jnp.arange(len(each))[:, None] < batch.target_length
        return jnp.where(active, each, 0).sum(axis=0), batch.target_length.astype(jnp.float32)

    def objective(params, carry, indices, key, data: Pairs):
        total, count = losses(params, jax.tree.map(lambda a: a[indices], data), key)
        return total.sum(), (count.sum(), carry)

    def measure_loss(params, carry, batch: Held, data):
        total, count = losses(params, batch.pairs)
        return ((total * batch.counts).sum(), (count * batch.counts).sum()), carry

    decode = {
        "greedy": lambda params, source, lengths: greedy(model, params, source, lengths, num_tokens).T,
        "beam": lambda params, source, lengths: beam_search(
            model, params, source, lengths, num_tokens, settings.beam_width
        ).tokens[:, 0],
    }

    def measure_right(how: str):
        def measure(params, carry, batch: Held, data):
            tokens = decode[how](params, time_first(batch.pairs.source), batch.pairs.source_length)
            right = (tokens == batch.pairs.target).all(axis=1)
            return (right * batch.counts).sum(), carry

        return measure

    rate = make_schedule("cosine", settings.learning_rate, settings.num_steps)
    optimizer = make_optimizer(settings.optimizer, Hyper(rate, settings.clip_norm))
    check_memory(
        model.init,
        optimizer.init,
        num_steps=max(task.seen) + num_tokens,  # of the encoder, and then of the decoder
        batch_size=settings.batch_size,
        width=settings.hidden_size,
        options={
            "--hidden-size": settings.hidden_size,
            "--embedding-size": settings.embedding_size,
            "--batch-size": settings.batch_size,
        },
    )
    mesh = local_mesh(PER_LENGTH)
    return Program(
        model=model,
        learner=make_learner(objective, optimizer, local_mesh(settings.batch_size)),
        loss=make_evaluate(measure_loss, mesh),
        right={how: make_evaluate(measure_right(how), mesh) for how in DECODINGS},
        decode={how: jax.jit(function) for how, function in decode.items()},
    )


def time_first(tokens):
    return jnp.moveaxis(tokens, 0, 1).astype(jnp.int32)


# --- data -------------------------------------------------------------------------------------------------------------


class Data(NamedTuple):
    train: Pairs
    validation: Held  # leaves [lengths seen, PER_LENGTH, ...]
    test: dict[int, Held]  # by length, leaves [1, PER_LENGTH, ...]


def make_data(task: Task, vocabulary: Vocabulary, num_train: int) -> Data:
    """Training pairs of the lengths seen, and up to PER_LENGTH held-out ones of every length."""
    width, target_width = max(*task.seen, *task.unseen), longest_target(task)

    def held(part: str, length: int) -> Held:
        sources = held_out_sources(task, part, length, PER_LENGTH)
        counts = (np.arange(PER_LENGTH) < len(sources)).astype(np.float32)
        filled = sources + [sources[0]] * (PER_LENGTH - len(sources))
        return Held(pairs(task, vocabulary, filled, width, target_width), counts)

    train = pairs(task, vocabulary, training_sources(task, num_train), max(task.seen), target_width)
    longest = int(train.target_length.max())  # shorter programs for training
    validation = jax.tree.map(lambda *arrays: np.stack(arrays), *(held(VALIDATION, n) for n in task.seen))
    test = {n: jax.tree.map(lambda a: a[None], held(TEST, n)) for n in (*task.seen, *task.unseen)}
    return Data(train._replace(target=train.target[:, :longest]), validation, dict(sorted(test.items())))


def accuracies(program: Program, params: Any, data: Data) -> pd.DataFrame:
    """The share of test sources of each length whose target comes out right in every token: a row per decoding."""
    rows = []
    for how, right in program.right.items():
        for length, held in data.test.items():
            count = int(held.counts.sum())
            value = float(right(params, (), held, 1, ())[0]) / count
            rows.append({"decoding": how, "length": length, "value": value, "num_test": count})
    return pd.DataFrame(rows)
