"""Embedding and network learn to go on with the training texts before they learn to classify.

    loss = -1/N sum_t log p(x_{t+1} | x_1 ... x_t)                                           nats per token
    p(w | ...) = exp s_w / sum_{v in C} exp s_v,     s_v = (y_t P) . e_v + b_v - log q_v

y_t [H] is what the network returns, P [H, E], e_v the embedding of token v and b_v its bias; q_v is its share of the
training texts; C is the token w that comes next and NUM_DRAWN others drawn from q, the same ones for a whole batch. The
softmax over all tokens would take many times as long as the network; this one has the same minimum.

Sources: a language model of the texts as a beginning is Dai & Le 2015, arXiv:1511.01432, section 2; the softmax over
tokens drawn Jean et al. 2015, arXiv:1412.2007, section 3; embedding and output sharing e_v Press & Wolf 2017,
arXiv:1608.05859. Differs: texts are read in pieces, each from the initial state.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.fit import fit
from experiments.text_batches import Part, Segment, cut, on_device, segments
from rnnjax.cell import Array
from rnnjax.initializers import glorot_uniform
from rnnjax.model import Model, ModelParams
from rnnjax.parallel import Learning, Measured, local_mesh, make_learner
from rnnjax.ragged import Ragged, make_buckets
from rnnjax.train import Hyper, make_optimizer, make_schedule

NUM_DRAWN = 1024
PIECE = 81  # tokens: 80 to read, and the one after each of them
BATCH_SIZE, LEARNING_RATE, CLIP_NORM = 128, 2e-3, 1.0
PORTIONS, STEPS = 20, 16  # an epoch is taken in so many; batches a call of the compiled program


class LanguageParams(NamedTuple):
    """What the language model learns; its readout is left behind."""

    model: ModelParams
    P: Array  # [H, E]
    b: Array  # [V]


def pieces(texts: Ragged, size: int) -> Ragged:
    """The texts, each cut into pieces of `size` tokens and what is left over."""
    counts = -(-texts.lengths // size)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(texts.offsets[:-1], counts) + size * within
    return Ragged(texts.values, np.append(starts, len(texts.values)))


def make_pretraining(
    model: Model, texts: Ragged, vocab_size: int, num_epochs: int
) -> Callable[[ModelParams, int, Console, str, Path | None, dict], tuple[ModelParams, float]]:
    """pretrain(params, seed, console, title, folder, config) -> (params with what was learnt, seconds it took).

    Args:
      model: a classifier with an embedding that learns, and a network that reads in one direction.
      texts: of the training split alone.
      vocab_size: V.
      num_epochs: of them.
    """
    part = Part(pieces(texts, PIECE), np.zeros(0, np.int32))
    lengths = part.rows.lengths
    boundaries = make_buckets(lengths, 2, 1)
    counts = np.bincount(texts.values, minlength=vocab_size)
    log_share = np.log(np.maximum(counts, 1) / len(texts.values)).astype(np.float32)
    num_steps = num_epochs * (-(-len(lengths) // BATCH_SIZE) + len(boundaries))
    schedule = make_schedule("cosine", LEARNING_RATE, num_steps, num_steps // 50)
    transformation = make_optimizer("adam", Hyper(schedule, CLIP_NORM))
    mesh = local_mesh(BATCH_SIZE)

    def objective(length: int, params: LanguageParams, carry, rows: Array, key: Array, data: dict[str, Array]):
        xs, lengths = cut(data, rows, length, "after")
        inputs, targets = xs[:-1], xs[1:]
        key_dropout, key_drawn = jax.random.split(key)
        _, ys = model.network(params.model, inputs, None, jnp.maximum(lengths - 1, 1), key_dropout)
        z, table, bias = ys @ params.P, params.model.embedding, params.b - data["log_share"]
        drawn = data["values"][jax.random.randint(key_drawn, (NUM_DRAWN,), 0, len(data["values"]))]
        right = jnp.sum(z * table[targets], axis=-1) + bias[targets]
        others = jnp.where(drawn == targets[..., None], -jnp.inf, z @ table[drawn].T + bias[drawn])
        loss = jnp.logaddexp(right, jax.nn.logsumexp(others, axis=-1)) - right
        counted = (jnp.arange(length - 1)[:, None] < lengths - 1) & (rows >= 0)
        return jnp.sum(jnp.where(counted, loss, 0)), (jnp.sum(counted, dtype=jnp.float32), carry)

    learners = {n: make_learner(partial(objective, n), transformation, mesh) for n in boundaries}
    learner = learners[boundaries[0]]
    data = learner.place({**on_device(part), "log_share": log_share})

    def pretrain(
        params: ModelParams, seed: int, console: Console, title: str, folder: Path | None, config: dict
    ) -> tuple[ModelParams, float]:
        key = jax.random.fold_in(jax.random.key(seed), 2)
        start = LanguageParams(
            jax.device_get(params),
            glorot_uniform(key, (params.W.shape[0], params.embedding.shape[1]), jnp.float32),
            jnp.zeros(vocab_size),
        )

        @lru_cache(maxsize=1)
        def plan(epoch: int) -> list[Segment]:
            rng = np.random.default_rng([seed, epoch, 2])
            return segments(lengths, boundaries, BATCH_SIZE, STEPS, True, rng)

        def chunk(state: Learning, i: int) -> tuple[Learning, Measured]:
            found = []
            for one in plan(i // PORTIONS)[i % PORTIONS :: PORTIONS]:
                state, measured = learners[one.length].chunk(state, one.batches, one.count, key, data)
                found.append((float(measured.train_loss), float(measured.gradient_norm)))
            losses, norms = zip(*found, strict=True)
            return state, Measured(np.mean(losses), max(norms))

        fitted = fit(
            learner.start(start),
            chunk,
            num_epochs * PORTIONS,
            evaluate=lambda state: {},
            every=PORTIONS,
            score=None,
            console=console,
            title=title,
            put=learner.put,
            folder=folder,
            config=config,
        )
        known = jax.device_get(fitted.state.params.model)
        return params._replace(embedding=known.embedding, recurrent=known.recurrent), fitted.seconds

    return pretrain
