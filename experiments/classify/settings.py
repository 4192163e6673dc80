"""What experiments.classify can be told: settings, those of published systems by name, and the program's options."""

from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Annotated, Literal

from experiments.shared.settings import (
    Checked,
    Code,
    Count,
    Folder,
    Limit,
    Mark,
    Metavar,
    Optimizer,
    Positive,
    Rate,
    Schedule,
    Size,
    Weight,
    Width,
)

IMDB, AG_NEWS = "stanfordnlp/imdb", "fancyzhx/ag_news"
PORTIONS = 20  # an epoch is trained in so many, at most: progress and Ctrl-C between
# The names of TOKENIZERS (rnnjax/data/tokens.py) and OUTPUTS (rnnjax/models/model.py), which to ask would import JAX.
Tokenizer = Literal["keras_words", "words", "content_words", "characters"]
Pooling = Literal["last", "mean", "max", "attention"]


@dataclass(frozen=True)
class Settings(Checked):
    """A data set, how its texts become numbers, a network and its training."""

    # the data
    dataset: Annotated[
        str, "a name on the Hub; a table (CSV, TSV, JSON lines, Parquet); or a folder with one of .txt files a class"
    ] = IMDB
    test_file: Annotated[str, "where --dataset is a file or such a folder, one to test on"] = ""
    split: Annotated[
        str, "or sizes of training, validation and test: counts 34000/6000/10000 or shares 0.67/0/0.33"
    ] = "official"
    num_validation: Annotated[
        Count, "taken from an official training split; with any, they choose the epoch, else the last counts"
    ] = 0
    text_column: str = "text"
    label_column: str = "label"
    sep: Annotated[str | None, "what parts columns; by default found among tab ; | ,"] = None
    heading: Annotated[bool | None, "whether the first row is a heading; by default found"] = None
    encoding: Annotated[str, "of a file"] = "utf-8"
    # texts to numbers
    tokenizer: Tokenizer = "words"
    vocab_size: Annotated[Size, "ids in all, that for padding and that for unknown words among them"] = 20_000
    vocab_texts: Annotated[Count, "build the vocabulary from so many training texts; 0 is all of them"] = 0
    whole_texts: Annotated[
        bool, "vocabulary and word vectors come from whole texts; otherwise from what --max-tokens leaves"
    ] = True
    max_tokens: Annotated[Count, "of a text; 0 is all"] = 0
    keep: Annotated[Literal["first", "last"], "which of them"] = "first"
    # batches
    batching: Annotated[
        Literal["buckets", "random"],
        "of texts of similar length; or random ones, each as long as its longest text asks for",
    ] = "buckets"
    num_buckets: Annotated[Width, "lengths that texts are padded to, each compiled once"] = 8
    masked: Annotated[bool, "a network stops at the end of a text; otherwise it reads the padding"] = True
    pad: Annotated[Literal["after", "before"], "where the padding is"] = "after"
    # the network
    embedding_size: Annotated[Width, "of a word's vector"] = 128
    embedding_init: Annotated[Literal["uniform", "normal"], "uniform(-0.05, 0.05), or normal(0, 1)"] = "uniform"
    vectors: Annotated[str, "ppmi: from the training texts; or a file in GloVe's or word2vec's text format"] = ""
    tuned: Annotated[bool, "embeddings learn"] = True
    cell: Annotated[Code, "a name, or my_module:my_factory; options as in lstm:forget_bias=2"] = "lstm"
    hidden_size: Annotated[Width, "units of each layer and direction"] = 128
    num_layers: Annotated[Width, "of cells"] = 1
    bidirectional: bool = False
    pooling: Annotated[Pooling, "of a text's outputs"] = "last"
    dropout_words: Annotated[Rate, "words that training takes for unknown"] = 0.0
    dropout_inputs: Annotated[Rate, "of every layer's inputs"] = 0.0
    dropout_recurrent: Annotated[Rate, "of what recurrent matrices see"] = 0.0
    dropout_readout: Annotated[Rate, "of what the readout sees"] = 0.0
    readout: Annotated[Literal["softmax", "sigmoid"], "sigmoid is one output for two classes"] = "softmax"
    num_outputs: Annotated[Count, "0 is as many as the readout needs"] = 0
    # the training
    loss: Annotated[Literal["cross_entropy", "squared_error"], "the latter of the probabilities"] = "cross_entropy"
    optimizer: Optimizer = "adam"
    learning_rate: Annotated[Positive, "of the optimizer, at first"] = 1e-3
    schedule: Annotated[Schedule, "of the learning rate"] = "constant"
    clip_norm: Annotated[Limit, "the largest norm of a gradient"] = inf
    clip_value: Annotated[Limit, "the largest size of an entry of a gradient"] = inf
    l1: Annotated[Weight, "of the penalty on absolute values"] = 0.0
    l2: Annotated[Weight, "of the penalty on squares"] = 0.0
    summed: Annotated[bool, "gradients summed over a batch, not averaged"] = False
    batch_size: Annotated[Size, "texts a step"] = 32
    num_epochs: Size = 1
    evals_per_epoch: Annotated[Size, f"a divisor of {PORTIONS}"] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.masked and self.pad == "before":
            raise ValueError(
                "pad=before with masked=true: a network that stops at the end of a text needs it at the front"
            )
        if self.readout == "softmax" and self.num_outputs == 1:
            raise ValueError(
                "readout=softmax with num_outputs=1: the softmax of one number is 1 whatever it is, so nothing can be "
                "learnt; use readout=sigmoid for one output, or two outputs"
            )
        if PORTIONS % self.evals_per_epoch:
            raise ValueError(f"evals_per_epoch={self.evals_per_epoch} must divide {PORTIONS}")
        split_sizes(self)


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


@dataclass(frozen=True)
class Options(Checked):
    """What the program does with them."""

    seeds: Annotated[Size, "how many"] = 1
    first_seed: Annotated[Count, "to go on after those there are"] = 0
    text: Annotated[tuple[str, ...], Metavar("TEXT"), "texts to classify once trained"] = ()
    model: Annotated[Folder, "keep what is learnt there; with several seeds, DIR/seed-0 ..."] = None
    out: Annotated[Folder, "write runs.csv, curves, plots and README.md there"] = None
    tensorboard: Annotated[Folder, "write losses and evaluations there as they come, a run for each seed"] = None
    data_dir: Annotated[Folder, "folder of data sets in the Hub's layout (default: the Hub)"] = None


@dataclass(frozen=True)
class PredictOptions(Checked):
    """Which texts, and where what is said of them goes."""

    model: Annotated[Path, Metavar("DIR"), "where a training has kept it"]
    file: Annotated[
        Path | None,
        Metavar("FILE"),
        Mark.PLACE,
        "a table, or a file with a text a line; none: standard input, each line answered as it comes",
    ] = None
    text: Annotated[tuple[str, ...], Metavar("TEXT"), "these texts, in place of a file"] = ()
    text_column: Annotated[str | None, "of a table; by default that of the training"] = None
    sep: Annotated[str | None, "what parts columns; by default found among tab ; | ,"] = None
    heading: Annotated[bool | None, "whether the first row is a heading; by default found"] = None
    encoding: Annotated[str, "of the file"] = "utf-8"
    out: Annotated[Path | None, Metavar("FILE"), "write the table there, and say how many texts each class has"] = None
    trust_code: Annotated[bool, "import the module that the model's config.json names for its cell"] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.file is not None and self.text:
            raise ValueError(f"{self.file} and --text: give one of them")
        if self.out is not None and self.file is None and not self.text:
            raise ValueError("--out goes with a file or --text; lines of standard input are answered as they come")


HERE = "experiments.classify.cells"

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
    # for a file of some hundred texts of one's own, with --dataset; a small network and many small steps
    "own": Settings(
        split="0.8/0.1/0.1",
        cell="gru",
        embedding_size=64,
        hidden_size=64,
        pooling="max",
        dropout_readout=0.3,
        clip_norm=1.0,
        learning_rate=3e-3,
        schedule="linear",
        batch_size=16,
        num_epochs=10,
    ),
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
