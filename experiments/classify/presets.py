"""Settings of text classification, and those of published systems by name."""

from dataclasses import dataclass
from functools import partial

import jax
from jax import Array

from rnnjax.cell import Cell
from rnnjax.cells import LSTMParams, elman, lstm
from rnnjax.initializers import Normal, Uniform, glorot_uniform, orthogonal

IMDB, AG_NEWS = "stanfordnlp/imdb", "fancyzhx/ag_news"


@dataclass(frozen=True)
class Settings:
    """A data set, how its texts become numbers, a network and its training."""

    # the data
    dataset: str = IMDB  # a name on the Hub, or a CSV, TSV or Parquet file
    test_file: str = ""  # where `dataset` is a file, one to test on
    split: str = "official"  # or sizes of training, validation and test: counts 34000/6000/10000 or shares 0.67/0/0.33
    num_validation: int = 0  # taken from an official training split; with any, they choose the epoch, else the last
    text_column: str = "text"
    label_column: str = "label"
    encoding: str = "utf-8"
    # texts to numbers
    tokenizer: str = "words"  # a name of TOKENIZERS
    vocab_size: int = 20_000  # ids in all, that for padding and that for unknown words among them
    vocab_texts: int = 0  # build the vocabulary from so many training texts; 0: all of them
    whole_texts: bool = True  # vocabulary and word vectors come from whole texts; otherwise from what max_tokens leaves
    max_tokens: int = 0  # of a text; 0: all
    keep: str = "first"  # which of them: first, last
    # batches
    batching: str = "buckets"  # of texts of similar length; or "random" ones, each as long as its longest text asks for
    num_buckets: int = 8  # lengths that texts are padded to, each compiled once
    masked: bool = True  # a network stops at the end of a text; otherwise it reads the padding
    pad: str = "after"  # where the padding is: after, before
    # the network
    embedding_size: int = 128
    embedding_init: str = "uniform"  # uniform(-0.05, 0.05), or normal(0, 1)
    vectors: str = ""  # "ppmi": from the training texts; or a file in GloVe's or word2vec's text format
    tuned: bool = True  # embeddings learn
    cell: str = "lstm"
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = False
    pooling: str = "last"  # last, mean, max, attention
    dropout_words: float = 0.0  # words that training takes for unknown
    dropout_inputs: float = 0.0  # of every layer's inputs
    dropout_recurrent: float = 0.0
    dropout_readout: float = 0.0
    readout: str = "softmax"  # or "sigmoid": one output for two classes
    num_outputs: int = 0  # 0: as many as the readout needs
    # the training
    loss: str = "cross_entropy"  # or squared_error, of the probabilities
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    clip_norm: float = float("inf")
    clip_value: float = float("inf")
    l1: float = 0.0
    l2: float = 0.0
    summed: bool = False  # gradients summed over a batch, not averaged
    batch_size: int = 32
    num_epochs: int = 1
    evals_per_epoch: int = 1


def elman_by_hand(hidden_size: int) -> Cell:
    """Elman network with Glorot matrices and biases from N(0, 1)."""
    return elman(hidden_size, recurrent_init=glorot_uniform, bias=Normal(1.0))


def elman_torch(hidden_size: int) -> Cell:
    """Elman network with all initial values uniform(-1/sqrt(H), 1/sqrt(H)), the default of PyTorch's nn.RNN."""
    bound = hidden_size**-0.5

    def init(key: Array, shape: tuple[int, ...], dtype) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return elman(hidden_size, kernel_init=init, recurrent_init=init, bias=Uniform(-bound, bound))


def lstm_keras(hidden_size: int) -> Cell:
    """LSTM with Keras' initial values: one Glorot matrix [I, 4H] and one orthogonal [H, 4H], not one for each gate."""
    cell = lstm(hidden_size)

    def init(key: Array, input_size: int) -> LSTMParams:
        key_W, key_U = jax.random.split(key)
        params = cell.init(key, input_size)
        W = glorot_uniform(key_W, params.W.shape, params.W.dtype)
        return params._replace(W=W, U=orthogonal(key_U, params.U.shape, params.U.dtype))

    return cell._replace(init=init)


HERE = "experiments.classify_presets"

imdb_keras = partial(
    Settings,
    tokenizer="keras_words",
    max_tokens=80,
    keep="last",
    num_buckets=1,
    masked=False,
    pad="before",
    cell=f"{HERE}:lstm_keras",
    dropout_inputs=0.2,
    dropout_recurrent=0.2,
    readout="sigmoid",
    batch_size=80,
)
imdb_packed = partial(
    Settings,
    split="34000/6000/10000",
    tokenizer="keras_words",
    vocab_size=20_002,
    num_buckets=16,
    readout="sigmoid",
    batch_size=128,
    hidden_size=256,
)
imdb_packed_best = partial(
    imdb_packed,
    pooling="max",
    clip_norm=1.0,
    learning_rate=1e-3,
    schedule="linear",
    dropout_inputs=0.3,
    dropout_readout=0.5,
)
agnews = partial(Settings, dataset=AG_NEWS, masked=False, batching="random", embedding_size=64)

PRESETS: dict[str, Settings] = {
    # Keras' LSTM example on IMDB
    "imdb-keras": imdb_keras(),
    # the same sizes and data; every other choice free (made on 5,000 of the training texts)
    "imdb-keras-best": imdb_keras(vectors="ppmi", dropout_inputs=0.4, schedule="linear", num_epochs=3),
    # a vanilla RNN by hand on 50 content words and fixed 50-d vectors
    "imdb-numpy": Settings(
        split="0.67/0/0.33",
        tokenizer="content_words",
        max_tokens=50,
        num_buckets=1,
        masked=False,
        vectors="ppmi",
        tuned=False,
        embedding_size=50,
        cell=f"{HERE}:elman_by_hand",
        summed=True,
        optimizer="averaged_gradient",
        learning_rate=1e-4,
        batch_size=128,
        num_epochs=15,
    ),
    # a plain RNN on whole reviews, packed
    "imdb-packed": imdb_packed(cell=f"{HERE}:elman_torch", embedding_init="normal", learning_rate=1e-4, num_epochs=15),
    # the same sizes and data with remedies: a way for the gradient to every step, orthogonal start, clipping
    "imdb-packed-best": imdb_packed_best(cell="elman", num_epochs=3),
    "imdb-packed-gated": imdb_packed_best(cell="gru", num_epochs=3),
    # the first words stand for the titles, which the Hub's copy joins with the text
    "agnews-titles": agnews(
        max_tokens=7,
        whole_texts=False,
        vocab_texts=2000,
        num_buckets=1,
        cell="elman",
        hidden_size=16,
        batch_size=16,
    ),
    "agnews-masked": agnews(masked=True, cell="elman", hidden_size=16, batch_size=16),
    "agnews-lstm": agnews(cell="lstm", hidden_size=8, batch_size=8),
    "agnews-bilstm": agnews(
        masked=True,
        batching="buckets",
        embedding_size=128,
        hidden_size=64,
        num_layers=2,
        bidirectional=True,
        batch_size=32,
    ),
}
