"""Networks of piano rolls, trained, scored, recorded and composed with."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console

from experiments.music.network import (
    NATS,
    Program,
    blind_score,
    compose,
    epoch_batches,
    evaluation_batches,
    frames_of,
    init,
    make_network,
    make_program,
    score,
    train_epoch,
)
from experiments.music.saved_model import about, run_compose, write_roll
from experiments.music.settings import Options, Settings
from experiments.shared.cells import variant
from experiments.shared.command_line import Given
from experiments.shared.fit import Fitted, check_config, fit
from experiments.shared.kept_model import seed_folders
from experiments.shared.looks import style
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.results import record
from experiments.shared.tensorboard import Board, board_at
from rnnjax.data.piano_rolls import Pieces, from_folder, jsb_chorales
from rnnjax.data.ragged import make_buckets

REPORTED = {"LSTM": 8.45, "GRU": 8.43, "tanh RNN": 8.91, "TCN": 8.10}  # Bai, Kolter & Koltun 2018, table 1
JSB = "JSB chorales"
BLIND = "key frequencies"


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train a network per seed, score it on the test pieces, keep, record and compose where asked; or compose alone."""
    if given.command == "compose":
        run_compose(console, given.options)
        return
    preset, settings, options = given.label, given.settings, given.options
    check_recorded(options.out)
    make_network(settings, 100)
    dataset, pieces = read(options)
    beginning = beginning_of(pieces["test"], options.piece, options.beginning)
    program = make_program(settings, len(pieces["train"]), max(frames_of(pieces["train"])))
    console.print(
        f"{dataset}: " + ", ".join(f"{len(some)} {split} pieces" for split, some in pieces.items()), markup=False
    )
    board = board_at(options.tensorboard)
    seeds = range(options.seeds)
    with seed_folders("music", options.model, seeds, about(settings, dataset, pieces)) as folder_of:
        configs = {seed: about(settings, dataset, pieces, seed) for seed in seeds}
        for seed, config in configs.items():  # before anything is trained, where a folder holds another model
            check_config(folder_of(seed), config)
        runs = [
            train(console, program, settings, preset, pieces, seed, folder_of(seed), config, board)
            for seed, config in configs.items()
        ]
        if options.model:
            console.print(f"kept: {', '.join(str(folder_of(seed)) for seed in seeds)}", markup=False)
        report(console, options, argv, settings, preset, dataset, pieces, program, runs, beginning)


def report(console, options, argv, settings, preset, dataset, pieces, program, runs, beginning) -> None:
    """Say the scores, and record and compose where asked."""
    num_params = sum(leaf.size for leaf in jax.tree.leaves(runs[0][0].best))
    scores = [scores for _, scores in runs]
    values = np.array([s["test"][NATS] for s in scores])
    blind = blind_score(pieces["train"], pieces["test"])
    console.print(
        f"{preset}, {num_params:,} parameters: test {NATS} {values.mean():.3f} (by seed "
        f"{', '.join(f'{v:.3f}' for v in values)}); by key frequencies alone {blind[NATS]:.3f}",
        markup=False,
    )
    if not options.out:
        return
    common = {"dataset": dataset, "num_train": len(pieces["train"]), **provenance("experiments.music", argv)}
    what = {**common, "preset": preset, "cell": variant(settings.cell), "num_params": num_params}
    what |= {k: v for k, v in vars(settings).items() if k != "cell"}
    rows = [
        {**what, "seed": seed, "split": split, "metric": metric, "value": value, "num_test": len(pieces[split]),
         "wall_seconds": round(fitted.seconds, 2), "best_epoch": fitted.best_entry["chunk"]}
        for seed, (fitted, by_split) in enumerate(runs)
        for split, both in by_split.items()
        for metric, value in both.items()
    ]  # fmt: skip
    nothing = {"preset": BLIND, "cell": "none", "seed": 0, "split": "test", "num_params": 88, "wall_seconds": 0.0}
    rows += [{**common, **nothing, "metric": m, "value": v, "num_test": len(pieces["test"])} for m, v in blind.items()]
    best = min(range(options.seeds), key=lambda seed: scores[seed]["validation"][NATS])
    write(console, options.out, rows, runs, preset, program, runs[best][0].best, beginning, pieces, options)


def train(
    console,
    program: Program,
    settings: Settings,
    preset: str,
    pieces,
    seed: int,
    folder: Path,
    config,
    board: Board | None = None,
) -> tuple[Fitted, Any]:
    """(what training left, {split: scores} of the parameters of the epoch that validated best)."""
    held_out = {split: pieces[split] for split in ("validation", "test")}
    widths = make_buckets([n for some in held_out.values() for n in frames_of(some)], 2)
    batches = {split: evaluation_batches(some, widths) for split, some in held_out.items()}
    key_init, key_dropout = jax.random.split(jax.random.key(seed))

    def chunk(state, epoch: int):
        return train_epoch(program, state, epoch_batches(settings, pieces["train"], seed, epoch), key_dropout)

    fitted = fit(
        program.learner.start(init(program.model, key_init, pieces["train"])),
        chunk,
        settings.epochs,
        evaluate=lambda state: {"validation_loss": score(program, state.params, batches["validation"])[NATS]},
        every=1,
        score="validation_loss",
        console=console,
        title=f"{preset}, seed {seed}",
        put=program.learner.put,
        folder=folder,
        config=config,
        board=board,
    )
    return fitted, {split: score(program, fitted.best, some) for split, some in batches.items()}


# --- what is given ----------------------------------------------------------------------------------------------------


def read(options: Options) -> tuple[str, dict[str, Pieces]]:
    """The name of the data and their splits."""
    if options.folder is None:
        return JSB, jsb_chorales(options.data_dir)
    return Path(options.folder).resolve().name, from_folder(options.folder, options.fractions, options.split_seed)


def beginning_of(pieces: Pieces, index: int, num_steps: int) -> np.ndarray:
    """The first steps of a piece."""
    if index >= len(pieces):
        raise ValueError(f"--piece {index}: the test split has pieces 0 to {len(pieces) - 1}")
    if num_steps > len(pieces[index]):
        raise ValueError(f"--beginning {num_steps}: test piece {index} has {len(pieces[index])} steps")
    return pieces[index][:num_steps]


# --- what is left -----------------------------------------------------------------------------------------------------

TEXT = f"""Networks foretell the next frame of piano rolls of 88 keys. "{NATS}" is binary
cross-entropy summed over the 88 keys, predicting x[1:] from x[:-1], divided by the number of predicted frames of the
whole split, as the code of Bai, Kolter & Koltun 2018 (arXiv:1803.01271) does. "Mean over pieces" averages
within each piece first, so that short pieces count as much as long ones. Parameters are those of the epoch with the
lowest validation figure; the test pieces choose nothing. "{BLIND}" knows only how often a key is down in training."""
HELD_AGAINST = f"""

On {JSB} the first is the figure to hold against table 1 of Bai et al., about 300,000 parameters each:
{", ".join(f"{what} {value:.2f}" for what, value in REPORTED.items())}."""


def words(datasets: Iterable[str]) -> str:
    """What the page says of the runs; published figures only where one of the data sets is theirs."""
    return TEXT + (HELD_AGAINST if JSB in set(datasets) else "")


SCORES_PLOT = "nats_per_frame.png"


def slug(preset: str) -> str:
    """A preset's name as a file's."""
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", preset)


def write(console, folder: Path, rows, runs, preset: str, program: Program, params, beginning, pieces, options) -> None:
    """runs.csv, README.md, the plots, and a piece that goes on from a beginning."""
    folder.mkdir(parents=True, exist_ok=True)
    name = slug(preset)
    key = jax.random.key(options.piece)
    new = np.asarray(
        jax.jit(lambda p, x, key: compose(program.model, p, x, options.steps, key, options.temperature))(
            params, beginning, key
        )
    )
    composed = np.concatenate([beginning, new.astype(np.uint8)])
    for ending in ("npy", "mid"):
        write_roll(folder / f"continuation_{name}.{ending}", composed)
    rolls_plot(pieces["test"][options.piece], composed, len(beginning), preset, options.piece).savefig(
        folder / f"continuation_{name}.png", dpi=144
    )
    curves_plot([fitted.history for fitted, _ in runs], preset).savefig(folder / f"curves_{name}.png", dpi=144)
    recorded = pd.read_csv(folder / "runs.csv")["dataset"] if (folder / "runs.csv").exists() else ()
    datasets = {*recorded, *(row["dataset"] for row in rows)}
    dotted = "; dotted, what Bai et al. report" if JSB in datasets else ""
    captions = {SCORES_PLOT: f"Test nats per frame by preset: a point per seed{dotted}."}
    for path in sorted(folder.glob("curves_*.png")):
        captions[path.name] = f"{path.stem.removeprefix('curves_')}: training and validation by epoch, all seeds."
    for path in sorted(folder.glob("continuation_*.png")):
        captions[path.name] = (
            f"{path.stem.removeprefix('continuation_')}: a test piece, and what the network made of its beginning "
            f"(left of the line); the notes are in `{path.stem}.npy`, [steps, 88], and `.mid`."
        )
    readme = record(folder, rows, title="Music", text=words(datasets), plots=captions)
    scores_plot(pd.read_csv(folder / "runs.csv")).savefig(folder / SCORES_PLOT, dpi=144)
    console.print(f"recorded: {readme}", markup=False)


def scores_plot(runs: pd.DataFrame) -> Figure:
    """A column of points per preset, without the one that knows key frequencies alone."""
    runs = runs[(runs["metric"] == NATS) & (runs["split"] == "test") & (runs["preset"] != BLIND)]
    names = list(dict.fromkeys(runs["preset"]))
    figure = Figure(figsize=(max(5, 1.3 * len(names)), 4), layout="constrained")
    axis = figure.subplots()
    for x, (name, look) in enumerate(style(names).items()):
        values = runs.loc[runs["preset"] == name, "value"]
        axis.plot([x] * len(values), values, **{**look, "linestyle": "none"}, markersize=6)
    for what, value in REPORTED.items() if JSB in set(runs["dataset"]) else ():
        axis.axhline(value, color="0.45", linestyle=":", linewidth=1)
        side = {"va": "top" if what.startswith("GRU") else "bottom", "ha": "right"}  # two of them are close together
        place = {"xycoords": ("axes fraction", "data"), "fontsize": 8, "color": "0.35"}
        axis.annotate(f"{what} {value:.2f}", (0.99, value), **side, **place)
    axis.set_xticks(range(len(names)), [name.replace(" --", "\n--") for name in names], fontsize=9)
    axis.set_xlim(-0.5, len(names))
    axis.set_ylabel("test nats per frame")
    axis.set_title(f"Next frame of {', '.join(dict.fromkeys(runs['dataset']))}", fontsize=11)
    return figure


def curves_plot(histories: Sequence[Sequence[dict[str, float]]], preset: str) -> Figure:
    """Loss in training (with dropout) and on validation pieces by epoch, a line per seed."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, look in style(["train_loss", "validation_loss"]).items():
        for i, history in enumerate(histories):
            line = {**look, "marker": "", "linewidth": 1.2, "label": None if i else name.replace("_loss", "")}
            axis.plot([e["chunk"] for e in history], [e[name] for e in history], **line)
    axis.set_xlabel("epoch")
    axis.set_ylabel("nats per frame")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_title(f"{preset}, seeds: {len(histories)}", fontsize=11)
    axis.legend(frameon=False, fontsize=9)
    return figure


def rolls_plot(original: np.ndarray, composed: np.ndarray, given: int, preset: str, piece: int) -> Figure:
    """Two piano rolls over each other: the piece, and its beginning with what follows it."""
    keys = np.flatnonzero(np.concatenate([original, composed]).any(axis=0))
    low, high = keys[0] - 2, keys[-1] + 2
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots(2, sharex=True, sharey=True)
    titles = (f"test piece {piece}", f"its first {given} frames, and {len(composed) - given} composed by {preset}")
    for axis, roll, title in zip(axes, (original, composed), titles, strict=True):
        extent = (0, len(roll), -0.5, roll.shape[1] - 0.5)
        axis.imshow(roll.T, origin="lower", aspect="auto", cmap="Greys", interpolation="nearest", extent=extent)
        axis.axvline(given, color="#D55E00", linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.set_ylabel("key")
    axes[0].set_xlim(0, max(len(original), len(composed)))
    axes[0].set_ylim(low, high)
    axes[1].set_xlabel("frame")
    return figure
