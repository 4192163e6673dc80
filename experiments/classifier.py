"""A text classifier: data as arrays, batches, the network, one training run. experiments/classify.py is the program."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

from experiments.classify_presets import Settings
from experiments.fit import Fitted, fit
from experiments.spec import build_cell
from experiments.text_batches import Part, Segment, cut, joined, on_device, segments
from rnnjax.compose import bidirectional, dropout, stack
from rnnjax.errors import unknown
from rnnjax.model import OUTPUTS, Model, embedding, make_model
from rnnjax.parallel import (
    Learning,
    Measured,
    compiler_options,
    local_mesh,
    make_evaluate,
    make_learner,
    run_once_options,
)
from rnnjax.ragged import PADDING, Ragged, make_buckets, padded_tokens, take, truncate
from rnnjax.text import (
    TOKENIZERS,
    UNKNOWN,
    Texts,
    Tokens,
    Vocabulary,
    build_vocabulary,
    encode_all,
    load_texts,
    split_of,
    tokenise,
    user_cache,
)
from rnnjax.train import OPTIMIZERS, SCHEDULES, Hyper, make_optimizer, make_schedule, penalty
from rnnjax.word_vectors import ppmi_svd, read_vectors, table_for

PORTIONS = 20  # an epoch is trained in so many, at most: progress and Ctrl-C between
STEPS = 16  # batches, at most, that one call of a compiled program is given
SPLIT_SEED = 0  # the split is the same for every seed
CHOICES = {
    "tokenizer": tuple(TOKENIZERS),
    "keep": ("first", "last"),
    "batching": ("buckets", "random"),
    "pad": ("after", "before"),
    "embedding_init": ("uniform", "normal"),
    "pooling": tuple(name for name in OUTPUTS if name != "all"),
    "readout": ("softmax", "sigmoid"),
    "loss": ("cross_entropy", "squared_error"),
    "optimizer": tuple(OPTIMIZERS),
    "schedule": SCHEDULES,
}


class Prepared(NamedTuple):
    """All that is the same for every seed."""

    settings: Settings
    vocabulary: Vocabulary
    classes: tuple[str, ...]
    parts: dict[str, Part]  # train, validation (may be empty), test
    boundaries: tuple[int, ...]  # the lengths compiled
    table: np.ndarray | None  # of given embeddings [V, E]
    covered: float  # share of the vocabulary that has a given vector
    seconds: float


# --- data -------------------------------------------------------------------------------------------------------------


def check(settings: Settings) -> None:
    """Raise ValueError for settings that do not fit, before anything is loaded."""
    for field, allowed in CHOICES.items():
        if getattr(settings, field) not in allowed:
            raise ValueError(unknown(field, getattr(settings, field), allowed))
    for field in ("num_buckets", "embedding_size", "hidden_size", "num_layers", "batch_size", "num_epochs"):
        if getattr(settings, field) < 1:
            raise ValueError(f"{field}={getattr(settings, field)} must be at least 1")
    if settings.masked and settings.pad == "before":
        raise ValueError("pad=before with masked=true: a network that stops at the end of a text needs it at the front")
    if settings.readout == "softmax" and settings.num_outputs == 1:
        raise ValueError(
            "readout=softmax with num_outputs=1: the softmax of one number is 1 whatever it is, so nothing can be "
            "learnt; use readout=sigmoid for one output, or two outputs"
        )
    if not 0 <= settings.dropout_words < 1:
        raise ValueError(f"dropout_words={settings.dropout_words} must lie in [0, 1)")
    if PORTIONS % settings.evals_per_epoch:
        raise ValueError(f"evals_per_epoch={settings.evals_per_epoch} must divide {PORTIONS}")
    split_sizes(settings)
    make_network(settings)


def split_sizes(settings: Settings) -> list[float] | None:
    """The sizes of training, validation and test that a split names; None for the official one."""
    if settings.split == "official":
        return None
    words = settings.split.split("/")
    try:
        sizes = [float(word) if "." in word else int(word) for word in words]
    except ValueError:
        sizes = []
    if len(sizes) != 3 or sizes[0] <= 0 or sizes[1] < 0 or sizes[2] <= 0:
        raise ValueError(
            f"split={settings.split!r} is not 'official', nor sizes of training, validation and test such as "
            "34000/6000/10000 or 0.67/0/0.33"
        )
    shares = any(isinstance(size, float) for size in sizes)
    return [float(size) for size in sizes] if shares else sizes


def prepare(settings: Settings, data_dir: str | None = None) -> Prepared:
    """Load, split, tokenise, number; vocabulary and word vectors come from the training texts alone.

    Raises:
      ValueError: whatever is wrong with settings or data, with what is allowed.
    """
    check(settings)
    started = time.perf_counter()
    texts, bounds = _load(settings, data_dir)
    tokens = tokenise(texts.texts, settings.tokenizer, user_cache())
    parts_rows = _split(settings, bounds, len(texts.texts))
    cap = settings.max_tokens or int(max(tokens.ids.lengths.max(), 1))
    shortened = tokens._replace(ids=truncate(tokens.ids, cap, settings.keep))
    source = tokens if settings.whole_texts else shortened  # of vocabulary and vectors
    train_rows = parts_rows["train"]
    vocabulary_rows = train_rows[: settings.vocab_texts] if settings.vocab_texts else train_rows
    vocabulary = build_vocabulary(_rows(source, vocabulary_rows), settings.vocab_size)
    ids = encode_all(vocabulary, shortened)
    parts = {name: Part(take(ids, rows), texts.labels[rows]) for name, rows in parts_rows.items()}
    if len(np.unique(parts["train"].labels)) < 2:
        raise ValueError(f"{settings.dataset}: one class only among the {len(train_rows)} training texts")
    table, covered = _table(settings, vocabulary, lambda: encode_all(vocabulary, _rows(source, train_rows)))
    boundaries = make_buckets(ids.lengths, settings.num_buckets, 1 if settings.num_buckets == 1 else 8)
    return Prepared(
        settings, vocabulary, texts.classes, parts, boundaries, table, covered, time.perf_counter() - started
    )


def _load(settings: Settings, data_dir: str | None) -> tuple[Texts, int | None]:
    """All texts, and where the official test split begins."""
    columns = {"text_column": settings.text_column, "label_column": settings.label_column}
    is_file = Path(settings.dataset).suffix.lower() in (".csv", ".tsv", ".parquet")
    if settings.test_file and not is_file:
        raise ValueError(f"test_file={settings.test_file!r} goes with a file as dataset, not {settings.dataset!r}")
    if is_file:
        columns["encoding"] = settings.encoding
        train = load_texts(settings.dataset, **columns)
        if not settings.test_file:
            if settings.split == "official":
                raise ValueError(f"{settings.dataset} is one split: give test_file=FILE, or split=0.8/0.1/0.1")
            return train, None
        test = load_texts(settings.test_file, classes=train.classes, **columns)
    else:
        train = load_texts(settings.dataset, "train", data_dir=data_dir, **columns)
        test = load_texts(settings.dataset, "test", data_dir=data_dir, classes=train.classes, **columns)
    both = Texts(train.texts + test.texts, np.concatenate([train.labels, test.labels]), train.classes)
    return both, len(train.texts)


def _split(settings: Settings, num_train: int | None, count: int) -> dict[str, np.ndarray]:
    """Rows of each part, the same for every seed, in an order drawn once."""
    sizes = split_sizes(settings)
    names = ("train", "validation", "test")
    if sizes is None:
        if not 0 <= settings.num_validation < num_train:
            raise ValueError(f"num_validation={settings.num_validation} must lie in 0 .. {num_train - 1}")
        order = np.random.default_rng(SPLIT_SEED).permutation(num_train)
        cut = num_train - settings.num_validation
        return dict(zip(names, (order[:cut], order[cut:], np.arange(num_train, count)), strict=True))
    if settings.num_validation:
        raise ValueError("num_validation goes with split=official; another split has its size in the middle")
    given = [(name, size) for name, size in zip(names, sizes, strict=True) if size]
    rows = dict(zip([n for n, _ in given], split_of(count, [s for _, s in given], SPLIT_SEED), strict=True))
    return {name: rows.get(name, np.zeros(0, int)) for name in names}


def _rows(tokens: Tokens, rows: np.ndarray) -> Tokens:
    return tokens._replace(ids=take(tokens.ids, rows))


def _table(
    settings: Settings, vocabulary: Vocabulary, training_texts: Callable[[], Ragged]
) -> tuple[np.ndarray | None, float]:
    """Given word vectors, and the share of the vocabulary that has one."""
    if not settings.vectors:
        return None, 0.0
    if settings.vectors == "ppmi":
        table = ppmi_svd(training_texts(), vocabulary.size, size=settings.embedding_size)
        return table, float(np.any(table[2:] != 0, axis=1).mean())
    vectors = read_vectors(settings.vectors, set(vocabulary.words))
    if vectors.vectors.shape[1] != settings.embedding_size:
        raise ValueError(
            f"{settings.vectors} has vectors of {vectors.vectors.shape[1]} values, but embedding_size is "
            f"{settings.embedding_size}"
        )
    return table_for(vocabulary, vectors)


# --- network and training ---------------------------------------------------------------------------------------------


def make_network(settings: Settings) -> Any:
    """The recurrent part: cells with dropout, stacked, in one direction or both."""
    rates = {"inputs": settings.dropout_inputs, "recurrent": settings.dropout_recurrent}
    cell = dropout(build_cell(settings.cell, settings.hidden_size, settings.max_tokens or 200), **rates)
    layers = [bidirectional(cell) if settings.bidirectional else cell] * settings.num_layers
    return stack(*layers) if settings.num_layers > 1 else layers[0]


def num_outputs(settings: Settings, num_classes: int) -> int:
    """The size of the readout.

    Raises:
      ValueError: one that cannot tell these classes apart.
    """
    if settings.readout == "sigmoid":
        if num_classes != 2 or settings.num_outputs not in (0, 1):
            raise ValueError(f"readout=sigmoid is one output for 2 classes; here are {num_classes}: use softmax")
        return 1
    if settings.num_outputs not in (0, num_classes):
        raise ValueError(f"num_outputs={settings.num_outputs}, but there are {num_classes} classes")
    return num_classes


def make_classifier(prepared: Prepared) -> Model:
    """Ids [T, B] -> outputs [B, O]."""
    settings = prepared.settings
    init = jax.nn.initializers.normal(1.0) if settings.embedding_init == "normal" else None
    words = embedding(
        prepared.vocabulary.size, settings.embedding_size, init=init, table=prepared.table, tuned=settings.tuned
    )
    return make_model(
        make_network(settings),
        num_outputs(settings, len(prepared.classes)),
        outputs=settings.pooling,
        embedding=words,
        dropout=settings.dropout_readout,
    )


def logits_of(settings: Settings, outputs: jax.Array) -> jax.Array:
    """[B, C] from outputs [B, O]: one output is the log odds of the second class."""
    if settings.readout == "sigmoid":
        return jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=-1)
    return outputs


def losses(settings: Settings, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """[B]: cross-entropy in nats, or squared error of the probabilities (of the second class, where there are two)."""
    if settings.loss == "cross_entropy":
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    error = (jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1])) ** 2
    return error[..., 1] if logits.shape[-1] == 2 else error.sum(axis=-1)


class Run(NamedTuple):
    """One trained classifier and its scores."""

    seed: int
    fitted: Fitted
    params: Any
    scores: dict[str, dict[str, float]]  # split -> loss, accuracy
    num_params: int


class Program(NamedTuple):
    """All that is compiled, once for every seed."""

    init: Callable[[jax.Array], Learning]  # key -> the state before the first step
    put: Callable[[Learning], Learning]
    steps: Callable[[Learning, Segment, jax.Array], tuple[Learning, Measured]]
    sums: Callable[[Any, Segment, str], np.ndarray]  # params, batches, part -> sum of losses, right ones, examples
    steps_per_call: int
    compile_seconds: float


def make_program(prepared: Prepared) -> Program:
    """Compile training and evaluation for every length of the buckets."""
    settings, boundaries = prepared.settings, prepared.boundaries
    model, mesh = make_classifier(prepared), local_mesh(settings.batch_size)
    num_batches = -(-len(prepared.parts["train"].labels) // settings.batch_size)
    transformation = make_transformation(settings, num_batches * settings.num_epochs + len(boundaries))

    def outputs(length: int, params: Any, rows: jax.Array, key: Any, data: Any):
        xs, lengths = cut(data, rows, length, settings.pad)
        if key is not None and settings.dropout_words:
            key, key_words = jax.random.split(key)
            lost = jax.random.bernoulli(key_words, settings.dropout_words, xs.shape)
            xs = jnp.where(lost & (xs != PADDING), UNKNOWN, xs)
        logits = logits_of(settings, model.apply(params, xs, lengths if settings.masked else None, key))
        labels = data["labels"][rows]
        return losses(settings, logits, labels), jnp.argmax(logits, axis=-1) == labels, rows >= 0

    def objective(length: int, params, carry, rows, key, data):
        loss, _, counted = outputs(length, params, rows, key, data)
        return jnp.sum(loss * counted), (jnp.sum(counted), carry)

    def measure(length: int, params, carry, rows, data):
        loss, correct, counted = outputs(length, params, rows, None, data)
        return (jnp.sum(loss * counted), jnp.sum(correct & counted), jnp.sum(counted)), carry

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
        found, _ = programs[one.length, False](params, (), rows_of(one, part), one.count, data)
        return np.array([float(value) for value in jax.device_get(found)])

    return Program(init, learner.put, take_steps, sums, steps, time.perf_counter() - started)


def train(
    prepared: Prepared, program: Program, seed: int, console: Console, title: str, folder: Path | None, config: dict
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
            each.append((one.count, float(measured.train_loss), float(measured.gradient_norm)))
        counts, losses, norms = zip(*each, strict=True)
        return state, Measured(np.average(losses, weights=counts), max(norms))

    def score(params: Any, part: str) -> dict[str, float]:
        batches = segments(lengths[part], boundaries, batch_size, program.steps_per_call, by_length=True)
        loss, correct, count = sum(program.sums(params, one, part) for one in batches)
        return {"loss": loss / count, "accuracy": correct / count}

    def evaluate(state: Learning) -> dict[str, float]:
        if "validation" not in lengths:
            return {}
        return {f"validation_{k}": v for k, v in score(state.params, "validation").items()}

    fitted = fit(
        program.init(key_init),
        chunk,
        portions * settings.num_epochs,
        evaluate=evaluate,
        every=portions // settings.evals_per_epoch,
        score="-validation_accuracy" if "validation" in lengths else None,
        console=console,
        title=title,
        put=program.put,
        folder=folder,
        config=config,
    )
    params = program.put(fitted.state._replace(params=fitted.best)).params
    scores = {part: score(params, part) for part in lengths if part != "train"}
    return Run(seed, fitted, fitted.best, scores, sum(leaf.size for leaf in jax.tree.leaves(fitted.best)))


def make_transformation(settings: Settings, num_steps: int) -> optax.GradientTransformation:
    """The optimizer; `summed` undoes the mean over the batch before anything is clipped."""
    schedule = make_schedule(settings.schedule, settings.learning_rate, num_steps)
    own = make_optimizer(settings.optimizer, Hyper(schedule, settings.clip_norm, settings.clip_value))
    return optax.chain(optax.scale(settings.batch_size), own) if settings.summed else own


def classify(prepared: Prepared, params: Any, texts: Sequence[str]) -> Iterator[tuple[str, float]]:
    """The class of each text, and its probability."""
    settings, model = prepared.settings, make_classifier(prepared)
    tokens = tokenise(list(texts), settings.tokenizer)
    if settings.max_tokens:
        tokens = tokens._replace(ids=truncate(tokens.ids, settings.max_tokens, settings.keep))
    rows = encode_all(prepared.vocabulary, tokens)
    length = int(rows.lengths.max()) if settings.masked else max(prepared.boundaries[0], int(rows.lengths.max()))
    data = on_device(Part(rows, np.zeros(len(texts), np.int32)))

    def probabilities(params, data):
        xs, lengths = cut(data, jnp.arange(len(texts)), length, settings.pad)
        return jax.nn.softmax(logits_of(settings, model.apply(params, xs, lengths if settings.masked else None)))

    found = np.asarray(jax.jit(probabilities, compiler_options=compiler_options())(params, data))
    for one in found:
        yield prepared.classes[one.argmax()], float(one.max())


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
