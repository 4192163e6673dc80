"""Text classifiers, trained, recorded and asked about new texts."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from rich.console import Console

from experiments.classify.prepare import Prepared, prepare
from experiments.classify.settings import Settings
from experiments.classify.training import Program, Run, classify, make_program, tokens_read, train
from experiments.shared.cells import variant
from experiments.shared.command_line import Given
from experiments.shared.fit import resumable
from experiments.shared.looks import style
from experiments.shared.numbers import figure, markdown
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.results import adding_to, record, replace
from experiments.shared.settings import as_words, plain
from experiments.shared.tensorboard import board_at
from rnnjax.files import write_whole

CURVES = "curves.csv"  # one row per preset, seed, epoch and quantity
FALL = 0.05  # of validation accuracy, that is reported
RING: dict[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "markersize": 9,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
}
TEXT = """Texts in, one class out. Presets with the name of a published system have its sizes, data and number of
epochs; those that end in "-best" have the same sizes and data, and free choice of the rest. Where a preset has a
validation set, it chose the epoch; otherwise the last one counts. The test set chooses nothing. What follows a preset's
name was changed on the command line. `experiments/classify/settings.py` holds all settings."""

FALLS = f"""Where validation accuracy fell by {FALL} or more from one evaluation to the next, the largest gradient norm
in between is set beside the median of this run's other epochs, with the number of epochs that had as large a one and no
fall. The gradient of a tanh network explodes where the product of its Jacobians does (Pascanu, Mikolov & Bengio 2013,
arXiv:1211.5063, section 2), and with a constant learning rate the steps it makes are not small ones; that falls come of
it takes both, a norm above the others and few epochs with as large a one and no fall. imdb-packed-best has `clip_norm`
and a learning rate that goes to zero."""


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Prepare, train a classifier for each seed, record and classify where asked."""
    options, settings = given.options, given.settings
    check_recorded(options.out)
    label = " ".join([given.preset, *as_words(given.changed)])
    prepared = prepare(settings, options.data_dir)
    sizes = {name: len(part.labels) for name, part in prepared.parts.items()}
    console.print(
        f"{label}: {sizes['train']:,} training, {sizes['validation']:,} validation, {sizes['test']:,} test texts, "
        f"{prepared.vocabulary.size:,} ids, padded to {', '.join(map(str, prepared.boundaries))}; "
        f"{prepared.seconds:.1f} s of preparation"
    )
    program = make_program(prepared)
    console.print(f"{label}: {program.compile_seconds:.1f} s of compilation", markup=False)
    config = {**plain(settings), "data_dir": options.data_dir and str(options.data_dir), "sizes": sizes}
    board = board_at(options.tensorboard)
    with resumable("classify", config) as folder_of:
        runs = []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            title = f"{label}, seed {seed}"
            one = train(prepared, program, seed, console, title, folder_of(seed), config, board)
            runs.append(one)
            test = one.scores["test"]
            console.print(
                f"{label}, seed {seed}: test accuracy {test['accuracy']:.4f}, loss {test['loss']:.4f} "
                f"({sizes['test']:,} texts); {one.fitted.seconds:.1f} s of training",
                markup=False,
            )
        if options.out:
            console.print(f"recorded: {write(options.out, label, prepared, program, runs, argv)}")
    if options.text:
        for text, (name, share) in zip(options.text, classify(prepared, runs[0].params, options.text), strict=True):
            console.print(f"{name} ({share:.0%}): {text}", markup=False)


# --- the record -------------------------------------------------------------------------------------------------------


def write(
    folder: Path, label: str, prepared: Prepared, program: Program, runs: Sequence[Run], argv: Sequence[str]
) -> Path:
    """runs.csv, curves.csv, a plot of this preset, README.md."""
    settings = prepared.settings
    sizes = {name: len(part.labels) for name, part in prepared.parts.items()}
    shown = " ".join([variant(settings.cell).split(":")[-1], "bidirectional" * settings.bidirectional]).strip()
    common = {
        "preset": label,
        "dataset": settings.dataset,
        "cell": shown,
        "num_train": sizes["train"],
        "num_validation": sizes["validation"],
        "num_test": sizes["test"],
        "num_params": runs[0].num_params,
        "num_layers": settings.num_layers,
        "hidden_size": settings.hidden_size,
        "embedding_size": settings.embedding_size,
        "batch_size": settings.batch_size,
        "num_epochs": settings.num_epochs,
        "learning_rate": settings.learning_rate,
        "prepare_seconds": round(prepared.seconds, 2),
        "compile_seconds": round(program.compile_seconds, 2),
        **provenance("experiments.classify", argv),
    }
    rows, curves = [], []
    for one in runs:
        chosen = one.fitted.best_entry
        own = {
            "seed": one.seed,
            "wall_seconds": round(one.fitted.seconds, 2),
            "diverged": one.fitted.diverged,
        }
        found = [("accuracy", "test", one.scores["test"]["accuracy"]), ("loss", "test", one.scores["test"]["loss"])]
        if "validation" in one.scores:
            found.append(("accuracy", "validation", one.scores["validation"]["accuracy"]))
            found.append(("epoch chosen", "validation", epoch_of(settings, one, chosen)))
        total = one.fitted.seconds + program.compile_seconds + prepared.seconds
        found.append(("seconds, with preparation and compilation", "train", round(total, 1)))
        if prepared.table is not None:
            found.append(("share of vocabulary with a vector", "train", prepared.covered))
        if one.seed == 0:
            found += [(name, "train", value) for name, value in tokens_read(prepared).items()]
        rows += [{**common, **own, "metric": m, "split": s, "value": float(v)} for m, s, v in found]
        for entry in one.fitted.history:
            values = {k: v for k, v in entry.items() if k not in ("chunk", "score")}
            epoch = epoch_of(settings, one, entry)
            curves += [
                {"preset": label, "seed": one.seed, "epoch": epoch, "quantity": k, "value": v}
                for k, v in values.items()
            ]
    with adding_to(folder):
        kept = keep_curves(folder / CURVES, pd.DataFrame(curves))
        text = "\n\n".join([TEXT, *falls(kept)])
        return record(folder, rows, title="Text classification", text=text, plots=plot_all(folder, kept))


def epoch_of(settings: Settings, one: Run, entry: dict[str, float]) -> float:
    per_epoch = max(e["chunk"] for e in one.fitted.history) / settings.num_epochs
    return round(entry["chunk"] / per_epoch, 3)


def falls(curves: pd.DataFrame) -> list[str]:
    """Paragraphs on every fall of validation accuracy from one evaluation to the next, and the gradient beside it."""
    lines = []
    for (preset, seed), rows in curves.groupby(["preset", "seed"]):
        by_epoch = rows.pivot(index="epoch", columns="quantity", values="value")
        if "validation_accuracy" not in by_epoch:
            continue
        accuracy, norm = by_epoch["validation_accuracy"], by_epoch["gradient_norm"]
        before = accuracy.shift()
        fell = before - accuracy >= FALL
        for epoch in accuracy.index[fell]:
            values = (before[epoch], accuracy[epoch], norm[epoch], norm.drop(epoch).median())
            lines.append([preset, seed, epoch, *map(figure, values), (norm[~fell] >= norm[epoch]).sum()])
    if not lines:
        return []
    columns = ("preset", "seed", "epoch", "accuracy before", "after", "largest norm", "median of others", "no fall")
    return [FALLS, markdown(columns, lines)]


def keep_curves(path: Path, new: pd.DataFrame) -> pd.DataFrame:
    """All curves there are now: those of a preset and seed replace its older ones."""
    if path.exists():
        new = replace(pd.read_csv(path), new, ["preset", "seed"])
    write_whole(path, lambda unfinished: new.to_csv(unfinished, index=False))
    return new


def plot_all(folder: Path, curves: pd.DataFrame) -> dict[str, str]:
    """Validation accuracy and gradient norm by epoch of the presets trained for several; names and captions."""
    several = curves.groupby("preset")["epoch"].nunique()
    presets = [name for name in several.index[several > 1]]
    shown = curves[curves["preset"].isin(presets) & (curves["quantity"] == "validation_accuracy")]
    if shown.empty:
        return {}
    looks = style(sorted(shown["preset"].unique()))
    figure = Figure(figsize=(8, 6.6 + 0.2 * len(looks)), layout="constrained")
    axes = figure.subplots(2, sharex=True)
    panels = {
        "validation_accuracy": "Validation accuracy (up is good)",
        "gradient_norm": "Largest norm of the gradient since the last evaluation",
    }
    for preset, look in looks.items():
        of_preset = curves[curves["preset"] == preset]
        fell = of_preset[of_preset["quantity"] == "validation_accuracy"].sort_values("epoch")
        fell = fell[fell.groupby("seed")["value"].diff() <= -FALL]
        for axis, quantity in zip(axes, panels, strict=True):
            by_seed = of_preset[of_preset["quantity"] == quantity].pivot(index="epoch", columns="seed", values="value")
            axis.plot(by_seed, color=look["color"], linewidth=0.8, alpha=0.5)
            axis.plot(by_seed.median(axis=1), **look, linewidth=2.2, markersize=4.5)
            at = [(one.epoch, by_seed.loc[one.epoch, one.seed]) for one in fell.itertuples()]
            if at:
                axis.plot(*zip(*at, strict=True), **RING)
    for axis, title in zip(axes, panels.values(), strict=True):
        axis.set_title(title, fontsize=11)
        axis.grid(color="0.92", linewidth=0.7)
    axes[1].set_yscale("log")
    axes[1].set_xlabel("epoch")
    axes[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [Line2D([], [], **look, linewidth=2.2, markersize=4.5) for look in looks.values()]
    labels = [textwrap.fill(preset, 90) for preset in looks]
    ring = Line2D([], [], **RING)
    figure.legend(
        [*handles, ring],
        [*labels, f"accuracy fell by {FALL:g} or more"],
        loc="outside lower center",
        frameon=False,
        fontsize=8,
    )
    figure.savefig(folder / "by_epoch.png", dpi=144)
    caption = (
        "Validation accuracy, and the largest norm of the gradient (before any clipping) since the last evaluation. "
        f"Thin lines are seeds, thick ones their median; rings where a seed's accuracy has fallen by {FALL:g} or more."
    )
    return {"by_epoch.png": caption}
