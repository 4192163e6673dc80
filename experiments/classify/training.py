"""Training a text classifier."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

from experiments.classify.batches import Segment, cut, joined, on_device, segments
from experiments.classify.network import logits_of, losses, make_network, num_outputs
from experiments.classify.prepare import SPLIT_SEED, Prepared
from experiments.classify.scores import Score, by_class, score_of
from experiments.classify.settings import PORTIONS, Settings
from experiments.shared.fit import Fitted, fit
from experiments.shared.memory import check_memory
from experiments.shared.tensorboard import Board
from rnnjax.compiling import run_once_options
from rnnjax.data.ragged import PADDING, padded_tokens
from rnnjax.data.vocabulary import UNKNOWN
from rnnjax.models.model import Model, embedding, make_model
from rnnjax.training.learner import Learning, Measured, local_mesh, make_evaluate, make_learner
from rnnjax.training.losses import penalty
from rnnjax.training.optimizers import Hyper, make_optimizer, make_schedule

STEPS = 16  # batches, at most, that one call of a compiled program is given


def make_classifier(settings: Settings, num_ids: int, num_classes: int, table: np.ndarray | None = None) -> Model:
    """Ids [T, B] -> outputs [B, O]; with a table [V, E] that the embedding begins with."""
    init = jax.nn.initializers.normal(1.0) if settings.embedding_init == "normal" else None
    return make_model(
        make_network(settings),
        num_outputs(settings, num_classes),
        outputs=settings.pooling,
        embedding=embedding(num_ids, settings.embedding_size, init=init, table=table, tuned=settings.tuned),
        dropout=settings.dropout_readout,
    )


class Run(NamedTuple):
    """One trained classifier and its scores."""

    seed: int
    fitted: Fitted
    params: Any
    scores: dict[str, Score]  # by split
    num_params: int


class Program(NamedTuple):
    """All that is compiled, once for every seed."""

    init: Callable[[jax.Array], Learning]  # key -> the state before the first step
    put: Callable[[Learning], Learning]
    steps: Callable[[Learning, Segment, jax.Array], tuple[Learning, Measured]]
    sums: Callable[[Any, Segment, str], np.ndarray]  # params, batches, part -> what `score_of` reads
    steps_per_call: int
    compile_seconds: float


def make_program(prepared: Prepared) -> Program:
    """Compile training and evaluation for every length of the buckets."""
    settings, boundaries = prepared.settings, prepared.boundaries
    num_classes = len(prepared.classes)
    model = make_classifier(settings, prepared.vocabulary.size, num_classes, prepared.table)
    mesh = local_mesh(settings.batch_size)
    num_batches = -(-len(prepared.parts["train"].labels) // settings.batch_size)
    transformation = make_transformation(settings, num_batches * settings.num_epochs + len(boundaries))

    check_memory(
        model.init,
        transformation.init,
        num_steps=max(boundaries),
        batch_size=settings.batch_size,
        width=settings.hidden_size * settings.num_layers,
        options={
            "--hidden-size": settings.hidden_size,
            "--embedding-size": settings.embedding_size,
            "--num-layers": settings.num_layers,
            "--batch-size": settings.batch_size,
        },
    )

    def outputs(length: int, params: Any, rows: jax.Array, key: Any, data: Any):
        xs, lengths = cut(data, rows, length, settings.pad)
        if key is not None and settings.dropout_words:
            key, key_words = jax.random.split(key)
            lost = jax.random.bernoulli(key_words, settings.dropout_words, xs.shape)
            xs = jnp.where(lost & (xs != PADDING), UNKNOWN, xs)
        logits = logits_of(settings, model.apply(params, xs, lengths if settings.masked else None, key))
        labels = data["labels"][rows]
        return losses(settings, logits, labels), jnp.argmax(logits, axis=-1), labels, rows >= 0

    def objective(length: int, params, carry, rows, key, data):
        loss, _, _, counted = outputs(length, params, rows, key, data)
        return jnp.sum(loss * counted), (jnp.sum(counted), carry)

    def measure(length: int, params, carry, rows, data):
        loss, said, labels, counted = outputs(length, params, rows, None, data)
        return (jnp.sum(loss * counted), by_class(num_classes, said, labels, counted)), carry

    own_penalty = None
    if settings.l1 or settings.l2:
        own_penalty = partial(penalty, l1=settings.l1, l2=settings.l2)
    learners = {n: make_learner(partial(objective, n), transformation, mesh, own_penalty) for n in boundaries}
    learner = learners[boundaries[0]]
    data = learner.place(on_device(joined(prepared.parts.values())))  # of all parts, so that they share a program
    counts = [len(part.labels) for part in prepared.parts.values()]
    first = dict(zip(prepared.parts, np.cumsum([0, *counts[:-1]]), strict=True))

    def init(key: jax.Array) -> Learning:
        return learner.start(jax.device_get(jax.jit(model.init, compiler_options=run_once_options())(key)))

    started = time.perf_counter()
    key, state = jax.random.key(0), init(jax.random.key(0))
    steps = int(np.clip(num_batches // 64, 1, STEPS))
    rows = np.full((steps, settings.batch_size), -1, np.int32)

    def compiled(length: int, training: bool):
        if training:
            return learners[length].chunk.lower(state, rows, 1, key, data).compile()
        return make_evaluate(partial(measure, length), mesh).lower(state.params, (), rows, 1, data).compile()

    wanted = [(length, training) for training in (False, True) for length in reversed(boundaries)]
    with ThreadPoolExecutor() as pool:
        programs = dict(zip(wanted, pool.map(lambda which: compiled(*which), wanted), strict=True))

    def rows_of(one: Segment, part: str) -> np.ndarray:
        return np.where(one.batches < 0, -1, one.batches + first[part]).astype(np.int32)

    def take_steps(state: Learning, one: Segment, key: jax.Array) -> tuple[Learning, Measured]:
        return programs[one.length, True](state, rows_of(one, "train"), one.count, key, data)

    def sums(params: Any, one: Segment, part: str) -> np.ndarray:
        (loss, counts), _ = programs[one.length, False](params, (), rows_of(one, part), one.count, data)
        return np.append(np.asarray(counts, float).ravel(), float(loss))

    return Program(init, learner.put, take_steps, sums, steps, time.perf_counter() - started)


def train(
    prepared: Prepared,
    program: Program,
    seed: int,
    console: Console,
    title: str,
    folder: Path | None,
    config: dict,
    board: Board | None = None,
) -> Run:
    """Train one classifier; with a folder it goes on from the checkpoint there."""
    settings, boundaries, batch_size = prepared.settings, prepared.boundaries, prepared.settings.batch_size
    lengths = {name: part.rows.lengths for name, part in prepared.parts.items() if len(part.labels)}
    num_batches = -(-len(lengths["train"]) // batch_size)
    if num_batches < settings.evals_per_epoch:
        raise ValueError(f"evals_per_epoch={settings.evals_per_epoch}, but an epoch has {num_batches} batches")
    portions = min(PORTIONS, num_batches) // settings.evals_per_epoch * settings.evals_per_epoch
    key_init, key_dropout = (jax.random.fold_in(jax.random.key(seed), i) for i in range(2))
    by_length = settings.batching == "buckets"

    @lru_cache(maxsize=1)
    def plan(epoch: int) -> list[Segment]:
        rng = np.random.default_rng([seed, epoch])
        return segments(lengths["train"], boundaries, batch_size, program.steps_per_call, by_length, rng)

    def chunk(state: Learning, i: int) -> tuple[Learning, Measured]:
        each = []
        for one in plan(i // portions)[i % portions :: portions]:
            state, measured = program.steps(state, one, key_dropout)
            each.append((one.count, *map(float, measured)))
        counts, losses, norms, first = zip(*each, strict=True)
        return state, Measured(np.average(losses, weights=counts), max(norms), first[0])

    def score(params: Any, part: str) -> Score:
        batches = segments(lengths[part], boundaries, batch_size, program.steps_per_call, by_length=True)
        return score_of(sum(program.sums(params, one, part) for one in batches))

    def evaluate(state: Learning) -> dict[str, float]:
        if "validation" not in lengths:
            return {}
        found = score(state.params, "validation")
        return {"validation_loss": found.loss, "validation_accuracy": found.accuracy}

    fitted = fit(
        program.init(key_init),
        chunk,
        portions * settings.num_epochs,
        evaluate=evaluate,
        every=portions // settings.evals_per_epoch,
        score="-validation_accuracy" if "validation" in lengths else None,
        ties="validation_loss" if "validation" in lengths else None,
        console=console,
        title=title,
        put=program.put,
        folder=folder,
        config=config,
        board=board,
    )
    params = program.put(fitted.state._replace(params=fitted.best)).params
    scores = {part: score(params, part) for part in lengths if part != "train"}
    return Run(seed, fitted, fitted.best, scores, sum(leaf.size for leaf in jax.tree.leaves(fitted.best)))


def make_transformation(settings: Settings, num_steps: int) -> optax.GradientTransformation:
    """The optimizer; `summed` undoes the mean over the batch before anything is clipped."""
    schedule = make_schedule(settings.schedule, settings.learning_rate, num_steps)
    own = make_optimizer(settings.optimizer, Hyper(schedule, settings.clip_norm, settings.clip_value))
    return optax.chain(optax.scale(settings.batch_size), own) if settings.summed else own


def tokens_read(prepared: Prepared) -> dict[str, int]:
    """Tokens of the training texts, and how many an epoch reads, padding included, by how batches are made."""
    lengths = prepared.parts["train"].rows.lengths
    size = prepared.settings.batch_size
    shuffled = lengths[np.random.default_rng(SPLIT_SEED).permutation(len(lengths))]
    batches = np.split(shuffled, range(size, len(shuffled), size))
    return {
        "tokens": int(lengths.sum()),
        "tokens read, one length for all": int(lengths.max() * len(lengths)),
        "tokens read, random batches padded to their longest": int(sum(b.max() * len(b) for b in batches)),
        f"tokens read, {len(prepared.boundaries)} buckets": padded_tokens(lengths, prepared.boundaries),
    }
