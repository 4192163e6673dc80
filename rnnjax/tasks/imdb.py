"""IMDB reviews as short sequences of fixed word vectors: real language for sweeps, without an embedding to learn."""

import jax.numpy as jnp
import numpy as np

from rnnjax.data.ragged import pad, take, truncate
from rnnjax.data.texts import load_texts
from rnnjax.data.tokens import tokenise
from rnnjax.data.vocabulary import build_vocabulary, encode_all
from rnnjax.data.word_vectors import ppmi_svd
from rnnjax.files import user_cache
from rnnjax.tasks.base import Example, Task, cross_entropy, fewer_than_1_percent_wrong, share_right
from rnnjax.tasks.mnist import chance

IMDB = "stanfordnlp/imdb"
NUM_WORDS, VOCAB_SIZE, VECTOR_SIZE = 50, 5000, 50
NUM_VALIDATION = 2500
SPLIT_SEED = 0


def imdb_vectors(data_dir=None) -> Task:
    """Is a review good or bad, from the vectors of its first 50 content words? T = 50, 50 inputs.

    Words without punctuation and stop words; the 5,000 most frequent of the training texts have vectors, by positive
    pointwise mutual information and singular values of the training texts (`word_vectors.ppmi_svd`), scaled to unit
    variance over all entries. Sequences stop at their own length. 22,500 training, 2,500 validation, 25,000 test texts.

    Chance: the two classes are equally frequent in the test split; 1/2 and log 2.
    Reference: Maas et al. 2011, ACL, "Learning word vectors for sentiment analysis" (the data).
    """
    train, test = (load_texts(IMDB, split, data_dir=data_dir) for split in ("train", "test"))
    tokens = tokenise(train.texts + test.texts, "content_words", user_cache())
    tokens = tokens._replace(ids=truncate(tokens.ids, NUM_WORDS))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(train.texts))
    cut = len(order) - NUM_VALIDATION
    rows = {
        "train": order[:cut],
        "validation": order[cut:],
        "test": np.arange(len(test.texts)) + len(train.texts),
    }
    vocabulary = build_vocabulary(tokens._replace(ids=take(tokens.ids, rows["train"])), VOCAB_SIZE)
    ids = encode_all(vocabulary, tokens)
    table = ppmi_svd(take(ids, rows["train"]), vocabulary.size, size=VECTOR_SIZE)
    table = table / table[2:].std()
    labels = np.concatenate([train.labels, test.labels])
    splits = {
        name: Example(pad(ids, some, NUM_WORDS), labels[some], ids.lengths[some].astype(np.int32))
        for name, some in rows.items()
    }
    chance_loss, chance_accuracy = chance(splits["train"].target, splits["test"].target)
    return Task(
        name="imdb_vectors",
        seq_len=NUM_WORDS,
        num_steps=NUM_WORDS,
        input_size=VECTOR_SIZE,
        output_size=2,
        outputs="last",
        sample=None,
        loss=cross_entropy,
        correct=share_right,
        chance_loss=chance_loss,
        chance_accuracy=chance_accuracy,
        criterion="fewer than 1 % of the held-out reviews classified wrongly, which nothing reaches; compare the "
        "accuracies",
        solved=fewer_than_1_percent_wrong,
        splits=splits,
        prepare_inputs=lambda ids: jnp.asarray(table)[ids],
    )
