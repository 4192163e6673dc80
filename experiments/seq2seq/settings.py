"""What experiments.seq2seq can be told: settings, their presets, which are the tasks, and the program's options."""

from dataclasses import dataclass
from typing import Annotated, Literal

from experiments.shared.settings import (
    Checked,
    Code,
    Folder,
    Limit,
    Mark,
    Metavar,
    Optimizer,
    Positive,
    Rate,
    Size,
    Width,
)

CHUNK = 100  # steps between evaluations
CELL = "a name, or my_module:my_factory; options as in lstm:forget_bias=2"
Attention = Literal["none", "general", "additive"]  # as rnnjax.models.seq2seq.ATTENTION


@dataclass(frozen=True)
class Settings(Checked):
    """An encoder-decoder and its training."""

    encoder: Annotated[Code, CELL] = "lstm"
    decoder: Annotated[Code, CELL] = "lstm"
    bidirectional: Annotated[bool, "the encoder"] = False
    hidden_size: Annotated[Width, "units of encoder and decoder"] = 128
    embedding_size: Annotated[Width, "of a symbol's vector"] = 64
    attention: Annotated[Attention, Mark.NO_FLAG] = "general"
    dropout: Annotated[Rate, "of the outputs of encoder and decoder, one mask a sequence"] = 0.0
    optimizer: Optimizer = "adam"
    learning_rate: Annotated[Positive, "at first; falls to 0 along half a cosine"] = 3e-3
    clip_norm: Annotated[Limit, "the largest norm of a gradient"] = 1.0
    batch_size: Annotated[Size, "pairs a step"] = 64
    num_steps: Annotated[Size, f"of training, a multiple of {CHUNK}"] = 1500
    num_train: Annotated[Size, "examples, short ones among them more than once"] = 100_000
    beam_width: Annotated[Width, "targets that beam decoding follows"] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_steps % CHUNK:
            raise ValueError(f"--num-steps {self.num_steps} must be a multiple of {CHUNK}")


PRESETS = {name: Settings() for name in ("reverse", "numbers-en", "numbers-ru")}  # the tasks of tasks.py


@dataclass(frozen=True)
class Options(Checked):
    """What the program does with them."""

    attention: Annotated[tuple[Attention, ...], Metavar("KIND"), "a network for each of these"] = ("none", "general")
    seeds: Annotated[Size, "seeds 0..N-1"] = 3
    write: Annotated[tuple[str, ...], Metavar("SOURCE"), "sources of your own to write once trained"] = ()
    out: Annotated[Folder, "write runs.csv, by_length.csv, examples.csv, README.md and plots there"] = None
    tensorboard: Annotated[Folder, "write losses and evaluations there as they come, a run for each seed"] = None
