"""What experiments.music can be told: settings, their presets, and the program's options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

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
    Size,
    Width,
)


@dataclass(frozen=True)
class Settings(Checked):
    """A network and its training."""

    cell: Annotated[Code, "a name, or my_module:my_factory; options as in lstm:forget_bias=2"] = "lstm"
    hidden_size: Annotated[Width, "units of each layer"] = 140
    num_layers: Annotated[Width, "of cells"] = 2
    dropout: Annotated[Rate, "of every layer's outputs, one mask a sequence"] = 0.4
    recurrent_dropout: Annotated[Rate, "of what recurrent matrices see"] = 0.2
    optimizer: Annotated[Optimizer, "what follows the gradient"] = "adam"
    learning_rate: Annotated[Positive, "at first; falls to 0 along half a cosine"] = 0.01
    clip_norm: Annotated[Limit, "the largest norm of a gradient"] = 5.0
    batch_size: Annotated[Size, "pieces a step"] = 8
    epochs: Annotated[Size, "of all training pieces; that which validates best is kept"] = 20


PRESETS = {  # the first three of about 300,000 parameters, as in the table of Bai et al.
    "lstm": Settings(),
    "gru": Settings(cell="gru", hidden_size=164, recurrent_dropout=0.3, epochs=24),
    "elman": Settings(cell="elman", hidden_size=288, learning_rate=0.003),
    "lstm-best": Settings(hidden_size=200, dropout=0.5, recurrent_dropout=0.3, epochs=32),
}


@dataclass(frozen=True)
class Options(Checked):
    """What the program does with them."""

    data_dir: Annotated[Folder, "folder that holds music/JSB_Chorales.npz or .mat"] = None
    folder: Annotated[Folder, "pieces of your own, a file each: MIDI or a roll [steps, 88], .npy .npz .csv .mat"] = None
    fractions: Annotated[
        tuple[float, float, float], "of a folder's files for training, validation, test, if it has no lists of them"
    ] = (0.6, 0.2, 0.2)
    split_seed: Annotated[Count, "of the shuffling before that"] = 0
    seeds: Annotated[Size, "seeds 0..N-1"] = 3
    piece: Annotated[Count, "test piece to go on from"] = 0
    beginning: Annotated[Size, "steps of it that are given"] = 16
    steps: Annotated[Size, "frames to compose"] = 64
    temperature: Annotated[Positive, "logits are divided by it"] = 1.0
    model: Annotated[Folder, "keep what is learnt there; with several seeds, DIR/seed-0 ..."] = None
    out: Annotated[Folder, "write runs.csv, README.md, plots and a composed piece there"] = None
    tensorboard: Annotated[Folder, "write losses and evaluations there as they come, a run for each seed"] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.data_dir is None) == (self.folder is None):
            raise ValueError(
                "give either --data-dir DIR, for the chorales, or --folder DIR, for piano rolls of your own"
            )


@dataclass(frozen=True)
class ComposeOptions(Checked):
    """What is gone on with, and how."""

    model: Annotated[Path, Metavar("DIR"), "where a training has kept it"]
    file: Annotated[
        Path, Metavar("FILE"), Mark.PLACE, "a piece: MIDI, or a piano roll [steps, 88], .npy .npz .csv .mat"
    ]
    out: Annotated[Path, Metavar("FILE"), "write its beginning and what follows there: MIDI, or .npy"]
    beginning: Annotated[Count, "steps of the piece that are given; 0 is all"] = 0
    steps: Annotated[Size, "frames to compose; a quarter note of MIDI is two"] = 64
    temperature: Annotated[Positive, "logits are divided by it"] = 1.0
    seed: Annotated[Count, "of the drawing"] = 0
    trust_code: Annotated[bool, "import the module that the model's config.json names for its cell"] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out.suffix.lower() not in (".mid", ".midi", ".npy"):
            raise ValueError(f"--out {self.out}: a name that ends in .mid, .midi or .npy says what is written")
