"""What is recorded of text classifiers: figures, those of every class, curves, a plot."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.classify.prepare import Prepared
from experiments.classify.scores import Score
from experiments.classify.settings import Settings
from experiments.classify.training import Program, Run, tokens_read
from experiments.shared.cells import variant
from experiments.shared.fit import OF_FIT
from experiments.shared.looks import style
from experiments.shared.numbers import figure, markdown
from experiments.shared.provenance import provenance
from experiments.shared.results import adding_to, record, replace
from rnnjax.files import write_whole

CURVES = "curves.csv"  # one row per preset, seed, epoch and quantity
CLASSES = "classes.csv"  # one row per preset, seed, split and class
SHOWN = 20  # classes in a table
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
validation set, it chose the epoch, of those with equal accuracy that of the lowest loss; otherwise the last one counts.
The test set chooses nothing. What follows a preset's name was changed on the command line.
`experiments/classify/settings.py` holds all settings. "Share of the largest class" is the accuracy of one who says of
every text that it is of the class that training has most of; "mean recall" is the mean over classes."""

OF_CLASSES = f"""Each class of the test texts, means over seeds, the first {SHOWN} of a preset (all in `{CLASSES}`).
Precision: of the texts said to be of a class, those that are. Recall: of the texts of a class, those said to be."""

FALLS = f"""Where validation accuracy fell by {FALL} or more from one evaluation to the next, the largest gradient norm
in between is set beside the median of this run's other epochs, with the number of epochs that had as large a one and no
fall. The gradient of a tanh network explodes where the product of its Jacobians does (Pascanu, Mikolov & Bengio 2013,
arXiv:1211.5063, section 2), and with a constant learning rate the steps it makes are not small ones; that falls come of
it takes both, a norm above the others and few epochs with as large a one and no fall. imdb-packed-best has `clip_norm`
and a learning rate that goes to zero."""


def write(
    folder: Path, label: str, prepared: Prepared, program: Program, runs: Sequence[Run], argv: Sequence[str]
) -> Path:
    """runs.csv, classes.csv, curves.csv, a plot of this preset, README.md."""
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
    rows, curves, classes = [], [], []
    for one in runs:
        chosen = one.fitted.best_entry
        own = {
            "seed": one.seed,
            "wall_seconds": round(one.fitted.seconds, 2),
            "diverged": one.fitted.diverged,
        }
        test = one.scores["test"]
        found = [("accuracy", "test", test.accuracy), ("loss", "test", test.loss)]
        found.append(("share of the largest class", "test", test.share(largest_class(prepared))))
        found.append(("mean recall", "test", test.mean_recall))
        for split, score in one.scores.items():
            for name, of_one in zip(prepared.classes, score.classes, strict=True):
                values = {"n": of_one.n, "precision": of_one.precision, "recall": of_one.recall}
                classes.append({"preset": label, "seed": one.seed, "split": split, "class": name, **values})
        if "validation" in one.scores:
            found.append(("accuracy", "validation", one.scores["validation"].accuracy))
            found.append(("epoch chosen", "validation", epoch_of(settings, one, chosen)))
        total = one.fitted.seconds + program.compile_seconds + prepared.seconds
        found.append(("seconds, with preparation and compilation", "train", round(total, 1)))
        if prepared.table is not None:
            found.append(("share of vocabulary with a vector", "train", prepared.covered))
        if one.seed == 0:
            found += [(name, "train", value) for name, value in tokens_read(prepared).items()]
        rows += [{**common, **own, "metric": m, "split": s, "value": float(v)} for m, s, v in found]
        for entry in one.fitted.history:
            values = {k: v for k, v in entry.items() if k not in OF_FIT}
            epoch = epoch_of(settings, one, entry)
            curves += [
                {"preset": label, "seed": one.seed, "epoch": epoch, "quantity": k, "value": v}
                for k, v in values.items()
            ]
    with adding_to(folder):
        kept = keep(folder / CURVES, pd.DataFrame(curves))
        by_class = keep(folder / CLASSES, pd.DataFrame(classes))
        text = "\n\n".join([TEXT, *table_of_classes(by_class), *falls(kept)])
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


def largest_class(prepared: Prepared) -> int:
    """The class that training has most of."""
    return int(np.bincount(prepared.parts["train"].labels).argmax())


def of_classes(names: Sequence[str], score: Score) -> list[str]:
    """A line a class, to be shown."""
    lines = [
        f"  {name}: precision {figure(one.precision)}, recall {figure(one.recall)}, n {one.n:,}"
        for name, one in zip(names, score.classes, strict=True)
    ]
    more = [f"  and {len(lines) - SHOWN} classes more"] if len(lines) > SHOWN else []
    return lines[:SHOWN] + more


def table_of_classes(classes: pd.DataFrame) -> list[str]:
    """Paragraphs on the classes of each preset's test texts."""
    lines = []
    for preset, rows in classes[classes["split"] == "test"].groupby("preset", sort=False):
        means = rows.groupby("class", sort=False)[["precision", "recall", "n"]].mean()
        values = [("–" if np.isnan(v) else figure(v) for v in one) for one in means.to_numpy()]
        lines += [[preset, name, *of_one] for name, of_one in zip(means.index[:SHOWN], values, strict=False)]
    return [OF_CLASSES, markdown(("preset", "class", "precision", "recall", "n"), lines)]


def keep(path: Path, new: pd.DataFrame) -> pd.DataFrame:
    """All rows there are now: those of a preset and seed replace its older ones."""
    if path.exists():
        new = replace(
            pd.read_csv(path, dtype={"class": str}, keep_default_na=False, na_values=[""]), new, ["preset", "seed"]
        )
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
