"""What experiments.textgen can be told: settings, their presets, and the options of its two commands."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from experiments.shared.settings import (
    Bound,
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
    Share,
    Size,
    Width,
    at_least,
    at_most,
)

Level = Literal["char", "word"]
Form = Literal["whole", "lines"]
Pool = Literal["last", "mean", "max", "attention"]  # of rnnjax.models.model.OUTPUTS, those that are one a sequence


@dataclass(frozen=True)
class Settings(Checked):
    """What a model is and how it is trained."""

    level: Annotated[Level, "what a token is"] = "char"
    lower: Annotated[bool, "lower-case the text"] = False
    min_count: Annotated[Size, "tokens rarer than this in training are unknown ones"] = 1
    max_tokens: Annotated[Size | None, "keep only the most frequent"] = None
    held_out: Annotated[Share, "share at the end of the text that is held out"] = 0.1
    mode: Annotated[
        Literal["streams", "windows"],
        "state carried through the whole text, or --seq-len tokens from the initial state",
    ] = "streams"
    pool: Annotated[Pool, "of windows, what is read"] = "last"
    cell: Annotated[Code, "a name, or my_module:my_factory; options as in lstm:forget_bias=2"] = "lstm"
    hidden_size: Annotated[Width, "units of each layer"] = 256
    num_layers: Annotated[Width, "of cells"] = 1
    skip: Annotated[bool, "every layer sees the input too, and all are read out"] = False
    bidirectional: Annotated[bool, "only with --mode windows"] = False
    embedding_size: Annotated[int, at_least(0), at_most(2**16), "0 is one-hot"] = 0
    dropout: Annotated[Rate, "of what goes up, from layer to layer and to the readout"] = 0.0
    recurrent_dropout: Annotated[Rate, "of what goes on in time"] = 0.0
    batch_size: Annotated[Width, "streams, or windows a step"] = 32
    seq_len: Annotated[Width, "tokens that gradients reach back, or the length of a window"] = 64
    epochs: Annotated[Size, "of the whole text"] = 10
    eval_every: Annotated[Size, "epochs between evaluations"] = 1
    optimizer: Optimizer = "adam"
    learning_rate: Annotated[Positive, "at its highest"] = 2e-3
    schedule: Annotated[Schedule, "of the learning rate"] = "cosine"
    warmup: Annotated[Rate, "share of all steps over which the learning rate rises"] = 0.02
    clip_norm: Annotated[Limit, "the largest norm of a gradient"] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bidirectional and self.mode == "streams":
            raise ValueError(
                "bidirectional=True with mode='streams': a bidirectional network has read what it is to predict and "
                "has no state to carry on; only with mode='windows', whose target comes after the window, can it learn "
                "to generate"
            )


PRESETS: dict[str, Settings] = {
    # a small model, for a first try
    "small": Settings(cell="gru", hidden_size=256, embedding_size=64, seq_len=64, epochs=5),
    # a few million characters
    "source": Settings(cell="gru", hidden_size=256, embedding_size=64, batch_size=64, seq_len=128, epochs=3),
    # windows of 10 characters, one-hot, one cell of 128, RMSprop: the exercise of Keras courses
    "keras-windows": Settings(
        lower=True,
        mode="windows",
        hidden_size=128,
        batch_size=128,
        seq_len=10,
        epochs=75,
        eval_every=3,
        optimizer="rmsprop",
        learning_rate=1e-3,
        schedule="constant",
        warmup=0.0,
        clip_norm=math.inf,
    ),
    # textgenrnn's sizes and optimizer, its context of 40 characters or 10 words as the piece that gradients reach
    "textgenrnn-char": Settings(
        hidden_size=128,
        num_layers=2,
        skip=True,
        embedding_size=100,
        batch_size=128,
        seq_len=40,
        epochs=50,
        eval_every=5,
        optimizer="rmsprop",
        learning_rate=4e-3,
        schedule="linear",
        warmup=0.0,
    ),
    "textgenrnn-word": Settings(
        level="word",
        min_count=2,
        max_tokens=10_000,
        hidden_size=128,
        num_layers=2,
        skip=True,
        embedding_size=100,
        dropout=0.3,
        batch_size=32,
        seq_len=10,
        epochs=20,
        eval_every=2,
        optimizer="rmsprop",
        learning_rate=4e-3,
        schedule="linear",
        warmup=0.0,
    ),
    "textgenrnn-bidirectional": Settings(
        mode="windows",
        pool="attention",
        hidden_size=128,
        num_layers=2,
        skip=True,
        bidirectional=True,
        embedding_size=100,
        batch_size=128,
        seq_len=40,
        epochs=3,
        optimizer="rmsprop",
        learning_rate=4e-3,
        schedule="linear",
        warmup=0.0,
    ),
    # the best for a book of 100,000 to 300,000 characters, and for tiny Shakespeare
    "book": Settings(
        cell="gru",
        hidden_size=384,
        embedding_size=64,
        dropout=0.4,
        recurrent_dropout=0.2,
        batch_size=16,
        seq_len=64,
        epochs=20,
        eval_every=2,
        learning_rate=4e-3,
    ),
    "shakespeare": Settings(
        cell="gru",
        hidden_size=512,
        embedding_size=64,
        dropout=0.4,
        recurrent_dropout=0.15,
        batch_size=32,
        seq_len=64,
        epochs=8,
        learning_rate=4e-3,
    ),
}


@dataclass(frozen=True)
class TrainOptions(Checked):
    """What is learnt from, and where it goes."""

    model: Annotated[Path, Metavar("DIR"), "where what is learnt is kept"]
    files: Annotated[
        tuple[Path, ...],
        Metavar("FILE"),
        Mark.PLACE,
        "texts, folders of files that end in .txt, or tables; none: Python's standard library, preset source",
    ] = ()
    data_dir: Annotated[Folder, "folder that FILEs are in"] = None
    form: Annotated[Form, "a text is a whole file, or a line"] = "whole"
    column: Annotated[str | None, "texts are this column of tables: CSV, TSV, JSON lines, Parquet"] = None
    sep: Annotated[str | None, "what parts columns; by default found among tab ; | ,"] = None
    heading: Annotated[bool | None, "whether the first row is a heading; by default found"] = None
    encoding: Annotated[str, "of the files"] = "utf-8"
    seeds: Annotated[Size, "seeds 0..N-1; with several, DIR/seed-0 ..."] = 1
    out: Annotated[Folder, "write runs.csv, README.md and samples there"] = None
    tensorboard: Annotated[Folder, "write losses and evaluations there as they come, a run for each seed"] = None
    coordinator: Annotated[
        str | None, Metavar("HOST:PORT"), "of several processes that train one model: where process 0 listens"
    ] = None
    num_processes: Annotated[Size | None, "how many they are"] = None
    process_id: Annotated[Count | None, "which one this is, from 0"] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({self.coordinator is None, self.num_processes is None, self.process_id is None}) > 1:
            raise ValueError("--coordinator, --num-processes and --process-id go together")
        if self.coordinator is not None:
            host, _, port = self.coordinator.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
                raise ValueError(f"--coordinator {self.coordinator!r} must be HOST:PORT, such as first.example:4321")
            if self.process_id >= self.num_processes:
                raise ValueError(f"--process-id {self.process_id} must be below --num-processes {self.num_processes}")
        if self.column is None and (self.sep is not None or self.heading is not None):
            raise ValueError("--sep and --heading are of tables, whose texts are named by --column")


@dataclass(frozen=True)
class GenerateOptions(Checked):
    """What is written, and how tokens are drawn."""

    model: Annotated[Path, Metavar("DIR"), "where train has kept it"]
    temperature: Annotated[Positive | None, "below 1 more predictable; 0.5 where nothing is said"] = None
    temperature_schedule: Annotated[str | None, Metavar("T,T,..."), "temperatures in turn, such as 1.0,0.5,0.2,0.2"] = (
        None
    )
    greedy: Annotated[bool, "always the most likely, the limit at temperature 0"] = False
    top_k: Annotated[Count, "only from the K most likely; 0 is all"] = 0
    top_p: Annotated[
        float, Bound(lambda x: 0 < x <= 1, "above 0 and at most 1"), "only from the likeliest, of this probability"
    ] = 1.0
    prefix: Annotated[str, "what the texts begin with"] = ""
    skip_unknown: Annotated[bool, "leave out of the prefix what is unknown"] = False
    n: Annotated[Size, "number of texts"] = 1
    length: Annotated[Size, "tokens of each"] = 500
    seed: Annotated[Count, "of the drawing"] = 0
    out: Annotated[Path | None, Metavar("FILE"), "write the texts there, in UTF-8"] = None
    trust_code: Annotated[bool, "import the module that the model's config.json names for its cell"] = False
    speed: Annotated[bool, "measure characters a second at batch 1 and 64"] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        named = {"--temperature": self.temperature, "--temperature-schedule": self.temperature_schedule}
        flags = [flag for flag, value in named.items() if value is not None] + ["--greedy"] * self.greedy
        if len(flags) > 1:
            raise ValueError(f"{' and '.join(flags)} exclude each other")
        self.temperatures  # noqa: B018  refused before a model is read

    @property
    def temperatures(self) -> list[float]:
        """Those to go through in turn; greedy is 0.

        Raises:
          ValueError: a schedule that is not numbers above 0.
        """
        if self.greedy:
            return [0.0]
        if self.temperature_schedule is None:
            return [0.5 if self.temperature is None else self.temperature]
        option = f"--temperature-schedule {self.temperature_schedule!r}"
        try:
            values = [float(word) for word in self.temperature_schedule.split(",")]
        except ValueError:
            raise ValueError(f"{option} must be numbers with commas between") from None
        for value in values:
            if not 0 < value < math.inf:
                raise ValueError(f"{option}: {value:g} must be above 0, and finite; --greedy is the limit at 0")
        return values
