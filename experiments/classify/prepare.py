"""Texts and labels as arrays: data read, split, cut and sorted into buckets."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.classify.batches import Part
from experiments.classify.network import make_network
from experiments.classify.settings import Settings, split_sizes
from rnnjax.data.ragged import Ragged, make_buckets, take, truncate
from rnnjax.data.texts import Texts, is_given, load_texts, split_of
from rnnjax.data.tokens import Tokens, tokenise
from rnnjax.data.vocabulary import Vocabulary, build_vocabulary, encode_all
from rnnjax.data.word_vectors import ppmi_svd, read_vectors, table_for
from rnnjax.files import user_cache

SPLIT_SEED = 0  # the split is the same for every seed


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


def prepare(settings: Settings, data_dir: Path | None = None) -> Prepared:
    """Load, split, tokenise, number; vocabulary and word vectors come from the training texts alone.

    Raises:
      ValueError: whatever is wrong with the cell or the data, with what is allowed.
    """
    make_network(settings)
    started = time.perf_counter()
    texts, bounds = _load(settings, data_dir)
    tokens = tokenise(texts.texts, settings.tokenizer, user_cache())
    parts_rows = _split(settings, bounds, texts.labels)
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


def _load(settings: Settings, data_dir: Path | None) -> tuple[Texts, int | None]:
    """All texts, and where the official test split begins."""
    columns: dict[str, Any] = {"text_column": settings.text_column, "label_column": settings.label_column}
    given = is_given(settings.dataset, data_dir)
    if settings.test_file and not given:
        raise ValueError(
            f"test_file={settings.test_file!r} goes with a file or a folder of texts as dataset, not "
            f"{settings.dataset!r}"
        )
    if given:
        columns |= {"encoding": settings.encoding, "sep": settings.sep, "heading": settings.heading}
        train = load_texts(settings.dataset, data_dir=data_dir, **columns)
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


def _split(settings: Settings, num_train: int | None, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of each part, the same for every seed, in an order drawn once; each part has its share of every class."""
    sizes = split_sizes(settings)
    names = ("train", "validation", "test")
    if sizes is None:
        if not 0 <= settings.num_validation < num_train:
            raise ValueError(f"num_validation={settings.num_validation} must lie in 0 .. {num_train - 1}")
        parts = [num_train - settings.num_validation, settings.num_validation]
        parts = split_of(num_train, parts[: 1 + bool(parts[1])], SPLIT_SEED, labels[:num_train])
        held_out = parts[1] if len(parts) > 1 else np.zeros(0, int)
        return dict(zip(names, (parts[0], held_out, np.arange(num_train, len(labels))), strict=True))
    if settings.num_validation:
        raise ValueError("num_validation goes with split=official; another split has its size in the middle")
    given = [(name, size) for name, size in zip(names, sizes, strict=True) if size]
    parts = split_of(len(labels), [s for _, s in given], SPLIT_SEED, labels)
    rows = dict(zip([n for n, _ in given], parts, strict=True))
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
