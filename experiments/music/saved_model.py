"""A network of piano rolls in a folder, config.json and checkpoints/, read on any machine; and what it composes."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments.music.network import compose, make_music_model
from experiments.music.settings import ComposeOptions, Settings
from experiments.shared.fit import CONFIG, read_config
from experiments.shared.kept_model import best_params
from experiments.shared.settings import plain
from rnnjax.data.midi import write_midi
from rnnjax.data.piano_rolls import KEYS, Pieces, read_roll
from rnnjax.files import write_whole
from rnnjax.models.model import Model

ANY_STEPS = 100  # of pieces: only the initial values of a network depend on it


def about(settings: Settings, dataset: str, pieces: Mapping[str, Pieces], seed: int | None = None) -> dict[str, Any]:
    """What a training is: settings, a digest of its pieces, and its seed."""
    data = hashlib.sha256()
    for split, some in pieces.items():
        for piece in some:
            data.update(f"{split} {len(piece)}".encode() + np.packbits(piece).tobytes())
    return {**plain(settings), "dataset": dataset, "data": data.hexdigest()[:16], "seed": seed}


def load(folder: Path, warn: Callable[[str], None] = print, trust_code: bool = False) -> tuple[Model, Any]:
    """The model of a folder, and the parameters that validated best.

    A file never chooses what code runs: a cell that is neither of CELLS nor this project's own is imported only with
    `trust_code`.

    Raises:
      FileNotFoundError, ValueError: no model, a damaged file, no checkpoint that can be read.
    """
    folder = Path(folder)
    path = folder / CONFIG
    settings = Settings.from_json(read_config(folder), path, ("dataset", "data", "seed"), trust_code)
    try:
        model = make_music_model(settings, ANY_STEPS)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return model, best_params(folder, partial(model.init, input_size=KEYS), warn)


def run_compose(console: Console, options: ComposeOptions) -> None:
    """A piece, or its beginning, and what the model makes of it.

    Raises:
      FileNotFoundError, ValueError: what `load` and `read_roll` raise; a beginning longer than the piece.
    """
    model, params = load(options.model, lambda text: console.print(text, markup=False), options.trust_code)
    piece = read_roll(options.file)
    if options.beginning > len(piece):
        raise ValueError(f"--beginning {options.beginning}: {options.file} has {len(piece)} steps")
    beginning = piece[: options.beginning or len(piece)]
    run = jax.jit(lambda p, x, key: compose(model, p, x, options.steps, key, options.temperature))
    new = np.asarray(run(params, beginning, jax.random.key(options.seed)))
    composed = np.concatenate([beginning, new.astype(np.uint8)])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_roll(options.out, composed)
    console.print(f"{len(beginning)} steps of {options.file}, and {len(new)} composed: {options.out}", markup=False)


def write_roll(path: Path, roll: np.ndarray) -> None:
    """A roll [steps, 88] as MIDI or .npy, by the end of the name."""

    def write(unfinished: Path) -> None:
        if path.suffix.lower() == ".npy":
            with open(unfinished, "wb") as file:  # np.save would add .npy to the unfinished name
                np.save(file, roll)
        else:
            write_midi(unfinished, roll)

    write_whole(path, write)
