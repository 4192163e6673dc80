"""A text classifier in a folder, config.json, vocabulary.json and checkpoints/: written here, read on any machine."""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.classify.network import logits_of
from experiments.classify.prepare import Prepared
from experiments.classify.settings import Settings
from experiments.classify.training import make_classifier
from experiments.shared.cells import build_cell
from experiments.shared.fit import CONFIG, read_config
from experiments.shared.kept_model import best_params, damaged, read_about, save_about
from experiments.shared.settings import plain
from rnnjax.compiling import compiler_options
from rnnjax.data.ragged import pad, truncate
from rnnjax.data.tokens import TOKENIZERS, number_tokens
from rnnjax.data.vocabulary import Vocabulary, encode_all

VOCABULARY, DIGEST = "vocabulary.json", "vocabulary_digest"
BATCH_SIZE = 64  # texts classified together, at most


class Classifier(NamedTuple):
    """All it takes to classify texts."""

    settings: Settings
    vocabulary: Vocabulary
    classes: tuple[str, ...]
    lengths: tuple[int, ...]  # that texts were padded to in training, ascending
    params: Any

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Of every class for every text, float64 [N, C]: what the evaluation in training would have said of them."""
        settings = self.settings
        tokens = number_tokens(map(TOKENIZERS[settings.tokenizer], texts))
        if settings.max_tokens:
            tokens = tokens._replace(ids=truncate(tokens.ids, settings.max_tokens, settings.keep))
        rows = encode_all(self.vocabulary, tokens)
        padded = np.array([self._padded(int(length)) for length in rows.lengths])
        apply = compiled(settings, self.vocabulary.size, len(self.classes))
        found = np.zeros((len(texts), len(self.classes)))
        for length in np.unique(padded):
            of_length = np.flatnonzero(padded == length)
            for start in range(0, len(of_length), BATCH_SIZE):
                some = of_length[start : start + BATCH_SIZE]
                size = 1 if len(some) == 1 else BATCH_SIZE  # two shapes are compiled for a length
                batch = np.concatenate([some, np.repeat(some[-1:], size - len(some))])
                xs = np.ascontiguousarray(pad(rows, batch, length, settings.pad).T)
                made = apply(self.params, xs, rows.lengths[batch].astype(np.int32))
                found[some] = np.asarray(made)[: len(some)]
        return found

    def _padded(self, length: int) -> int:
        """The least of the lengths in training that is not below this one, or the last, doubled until it is not."""
        fitting = [one for one in self.lengths if one >= length]
        longest = self.lengths[-1]
        while longest < length:
            longest *= 2
        return fitting[0] if fitting else longest


@lru_cache
def compiled(settings: Settings, num_ids: int, num_classes: int) -> Callable:
    """(params, ids [T, B], lengths [B]) -> probabilities [B, C]."""
    model = make_classifier(settings, num_ids, num_classes)

    def probabilities(params: Any, xs: jax.Array, lengths: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits_of(settings, model.apply(params, xs, lengths if settings.masked else None)))

    return jax.jit(probabilities, compiler_options=compiler_options())


def classifier_of(prepared: Prepared, params: Any) -> Classifier:
    """That of a training, with these parameters."""
    return Classifier(prepared.settings, prepared.vocabulary, prepared.classes, prepared.boundaries, params)


def about(prepared: Prepared, seed: int | None = None) -> dict[str, Any]:
    """What a training is: settings, a digest of its data, and its seed."""
    data = hashlib.sha256()
    for part in prepared.parts.values():
        for array in (part.rows.values, part.rows.offsets, part.labels):
            data.update(np.ascontiguousarray(array))
    return {**plain(prepared.settings), "data": data.hexdigest()[:16], "seed": seed}


def save(folder: Path, prepared: Prepared, seed: int) -> dict[str, Any]:
    """Make the folder that of this training: config.json and vocabulary.json. What config.json holds is returned.

    Raises:
      ValueError: it is that of another training; nothing is changed then.
    """
    content = {"words": prepared.vocabulary.words, "classes": prepared.classes, "lengths": prepared.boundaries}
    content = {name: list(value) for name, value in content.items()}
    return save_about(folder, about(prepared, seed), VOCABULARY, content, DIGEST)


def load(folder: Path, warn: Callable[[str], None] = print, trust_code: bool = False) -> Classifier:
    """The model of a folder, with the parameters that validated best.

    A file never chooses what code runs: a cell that is neither of CELLS nor this project's own is imported only with
    `trust_code`.

    Raises:
      FileNotFoundError, ValueError: no model, a damaged file, no checkpoint that can be read.
    """
    folder = Path(folder)
    path = folder / CONFIG
    settings = Settings.from_json(read_config(folder), path, ("data", "seed", DIGEST), trust_code)
    content = read_about(folder, VOCABULARY, DIGEST)
    words, classes, lengths = _checked(content, folder / VOCABULARY)
    try:
        build_cell(settings.cell, settings.hidden_size, settings.max_tokens or 200)
        model = make_classifier(settings, len(words) + 2, len(classes))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Classifier(settings, Vocabulary(words), classes, lengths, best_params(folder, model.init, warn))


def _checked(content: Any, path: Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """Words, classes and lengths from what vocabulary.json holds."""
    if not isinstance(content, dict) or set(content) != {"words", "classes", "lengths"}:
        raise damaged(path, "it is not an object with words, classes and lengths")
    words, classes, lengths = content["words"], content["classes"], content["lengths"]
    for name, texts, least in (("words", words, 1), ("classes", classes, 2)):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise damaged(path, f"{name} is not a list of texts")
        if len(set(texts)) != len(texts) or len(texts) < least:
            raise damaged(path, f"{name} holds one twice, or too few")
    whole = isinstance(lengths, list) and lengths and all(type(one) is int and 0 < one < 2**31 for one in lengths)
    if not whole or sorted(set(lengths)) != lengths:
        raise damaged(path, "lengths is not a list of whole numbers above 0, each above the one before it")
    return tuple(words), tuple(classes), tuple(lengths)
