"""Word vectors: read from a text file and written to one, made from texts, laid out as the table of an embedding."""

import math
import os
from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np

from rnnjax.data.ragged import Ragged
from rnnjax.data.tables import check_encoding, decode
from rnnjax.data.vocabulary import UNKNOWN, Vocabulary


class WordVectors(NamedTuple):
    """Row i is the vector of words[i]."""

    words: tuple[str, ...]
    vectors: np.ndarray  # float32 [number of words, D]


def read_vectors(path: str | os.PathLike, words: Container[str] | None = None, encoding: str = "utf-8") -> WordVectors:
    """The vectors of a text file in GloVe's or word2vec's format.

    GloVe: a line is a word and D numbers, separated by single spaces. word2vec: the same below a header "count D".
    A word may have spaces in it, as some of GloVe 840B have: the vector is the last D fields, where the first line
    (whose word has none) or the header says what D is. Of a word that comes twice the first is kept.

    Args:
      words: keep these only, a set say; None keeps all. Of other words the numbers are not looked at.
      encoding: of the words; one that ends a line with the byte 10.

    Raises:
      ValueError: with the line: a wrong number of values, a value that is no finite number, bytes of another
        encoding. An empty file; another number of vectors than the header says.
    """
    check_encoding(encoding)
    promised, size, found = None, None, 0
    rows: dict[str, list[float]] = {}
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            fields = line.rstrip().split(b" ")
            if number == 1 and len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit():
                promised, size = int(fields[0]), int(fields[1])
                continue
            size = len(fields) - 1 if size is None else size
            too_many = len(fields) > size + 1 and _is_number(fields[-size - 1])
            if size < 1 or len(fields) < size + 1 or too_many:
                raise ValueError(f"{where}: a word and {max(size, 1)} values expected, got {len(fields) - 1} values")
            found += 1
            word = decode(where, b" ".join(fields[:-size]), encoding)
            if (words is None or word in words) and word not in rows:
                rows[word] = _numbers(where, fields[-size:])
    if not found or size is None:
        raise ValueError(f"{path}: no vectors in it")
    if promised not in (None, found):
        raise ValueError(f"{path}: the header says {promised} vectors, there are {found}; is the file cut off?")
    return WordVectors(tuple(rows), np.array(list(rows.values()), np.float32).reshape(-1, size))


def write_vectors(path: str | os.PathLike, words: Sequence[str], vectors) -> None:
    """A text file in GloVe's format, UTF-8; `read_vectors` gives the same float32 numbers back."""
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise ValueError(f"{len(words)} words need vectors [{len(words)}, D], got shape {vectors.shape}")
    for word in words:
        if not word or word.split() != [word]:
            raise ValueError(f"word {word!r} cannot be written: it is empty or has a space in it")
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for word, vector in zip(words, vectors.tolist(), strict=True):
            file.write(f"{word} {' '.join(f'{value:.9g}' for value in vector)}\n")


def table_for(vocabulary: Vocabulary, vectors: WordVectors) -> tuple[np.ndarray, float]:
    """The embedding's table float32 [V, D], row = id, and the share of the vocabulary's words that have a vector.

    Padding, the unknown word, and words without a vector have zeros.

    Raises:
      ValueError: no word has a vector.
    """
    rows = {word: row for row, word in enumerate(vectors.words)}
    known = [(vocabulary.index[word], rows[word]) for word in vocabulary.words if word in rows]
    if not known:
        raise ValueError(
            f"none of the {len(vocabulary.words)} words ({', '.join(vocabulary.words[:3])}, ...) is among the "
            f"{len(rows)} with a vector: another language, or upper case?"
        )
    ids, places = np.transpose(known)
    table = np.zeros((vocabulary.size, vectors.vectors.shape[1]), np.float32)
    table[ids] = vectors.vectors[places]
    return table, len(known) / len(vocabulary.words)


def ppmi_svd(
    sequences: Ragged, vocab_size: int, size: int = 50, window: int = 5, smoothing: float = 0.75
) -> np.ndarray:
    """Word vectors from texts: positive pointwise mutual information, factorised. Float32 [V, D], row = id.

        n(w, c)    = how often c stands at most `window` words from w, in the same text
        P(w, c)    = n(w, c) / Σ n      P(w) = Σ_c P(w, c)      P_α(c) = P(c)^α / Σ P(c)^α
        M(w, c)    = max(0, log P(w, c) / (P(w) P_α(c)))
        M          ≈ U S Vᵀ, the D largest singular values        vectors = U S^½

    Every distance within the window counts the same. Padding and the unknown word are no context and have zeros. Signs
    are such that the entry of largest size in each column is positive, columns are in order of falling singular
    value: the same texts give the same vectors.

    Args:
      sequences: ids of the training texts, by a vocabulary.
      vocab_size: V.
      size: D.
      smoothing: α; below 1 it lessens the weight of rare contexts.

    Reference: Levy, Goldberg & Dagan 2015, "Improving distributional similarity with lessons learned from word
    embeddings", TACL 3.
    """
    from scipy import sparse
    from scipy.sparse.linalg import svds

    if not 1 <= size < vocab_size or window < 1 or not 0 < smoothing <= 1:
        raise ValueError(
            f"need 1 <= size < vocab_size, window >= 1 and 0 < smoothing <= 1; got size {size}, "
            f"vocab_size {vocab_size}, window {window}, smoothing {smoothing}"
        )
    counts = _neighbours(sequences, vocab_size, window).tocoo()
    if not counts.nnz:
        raise ValueError("no two known words stand near each other in these texts")
    occurrences = np.bincount(counts.row, counts.data, vocab_size)
    context = occurrences**smoothing / (occurrences**smoothing).sum()
    pmi = np.log(counts.data / (occurrences[counts.row] * context[counts.col]))
    positive = pmi > 0
    entries = pmi[positive].astype(np.float32), (counts.row[positive], counts.col[positive])
    matrix = sparse.csr_array(entries, shape=counts.shape)
    start = np.full(vocab_size, vocab_size**-0.5, np.float32)
    u, s, _ = svds(matrix, k=size, v0=start, tol=1e-4)  # relative, of the squared singular values
    order = np.argsort(-s)
    vectors = u[:, order] * np.sqrt(s[order])
    largest = vectors[np.abs(vectors).argmax(0), np.arange(size)]
    vectors = vectors * np.where(largest < 0, -1, 1)
    vectors[: UNKNOWN + 1] = 0
    return vectors.astype(np.float32)


def _neighbours(sequences: Ragged, vocab_size: int, window: int):
    """n(w, c), a sparse symmetric [V, V]."""
    from scipy import sparse

    ids, text = sequences.values, np.repeat(np.arange(len(sequences.lengths)), sequences.lengths)
    counts = sparse.csr_array((vocab_size, vocab_size), dtype=np.float64)
    for distance in range(1, window + 1):
        left, right = ids[:-distance], ids[distance:]
        pairs = (text[:-distance] == text[distance:]) & (left > UNKNOWN) & (right > UNKNOWN)
        where = left[pairs], right[pairs]
        counts = counts + sparse.coo_array((np.ones(len(where[0])), where), shape=counts.shape).tocsr()
    return counts + counts.T


def _numbers(where: str, fields: Sequence[bytes]) -> list[float]:
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = [math.nan]
    if not math.isfinite(sum(values)):
        bad = next(field for field in fields if not _is_number(field) or not math.isfinite(float(field)))
        raise ValueError(f"{where}: {bad.decode(errors='replace')!r} is no finite number")
    return values


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
