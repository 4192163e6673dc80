"""What is recorded of a text generator: figures, samples, plot.

Two questions are answered by the figures. Why does greedy decoding go round in circles? The share of texts that end in
a loop, the period and where it begins, for greedy decoding beside sampling. Why are there words that are not in the
book? The share of generated words that are, by temperature and by held-out loss, beside the share of the words of
held-out text that are in the text trained on.
"""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.shared.looks import style
from experiments.shared.numbers import figure, markdown
from experiments.shared.recorded import RUN, TEXT, WHAT
from experiments.shared.results import adding_to, record, replace, report
from experiments.textgen.corpus import UNKNOWN, Corpus
from experiments.textgen.generated import loops, share_known
from experiments.textgen.saved_model import Generator
from rnnjax.files import write_whole

TEMPERATURES = (0.0, 0.2, 0.5, 1.0)  # of samples while training; 0 is greedy
MEASURED = (0.0, 0.2, 0.5, 1.0, 1.2)  # once trained
SCHEDULE = (1.0, 0.5, 0.2, 0.2)  # one sample cycles over these
CONTEXT = 64  # held-out tokens read before a text begins
NUM_TEXTS, LENGTH = 32, 1000  # of each temperature, once trained
SAMPLE_LENGTH = 500
SPEED_BATCHES = (1, 64)
BITS = "validation bits per character"
KNOWN, NEW = "share of words that are in the book", "share of words that are in the text trained on"
LOOPS, PERIOD = "share of texts that end in a loop", "period of the loop in tokens, median"
CURVES, PLOT = "curves.csv", "known_words.png"
SUMMARY = """Bits per held-out character; the share of words known, by temperature, and of the words of held-out text
that are in the text trained on; the share of texts that end in a loop, and the period of greedy ones in tokens. Why
greedy decoding loops: the likeliest token is a function of the state alone, and the states it leads to come back. Why
there are words that are not in the book: letters are drawn one by one, and a temperature or a loss that is high lets
more of them be unlikely ones; new words are no fault in themselves, for the held-out text has them too. Models of words
do not spell the words they do not know, so their bits cannot be set beside those of characters."""
CAPTION = (
    "Share of generated words that are in the book: by temperature, 0 being greedy (left), and at temperature 1 by "
    "held-out loss during training (right)."
)


def label(temperature: float) -> str:
    return f"temperature {temperature:g}" if temperature else "greedy"


def held_out_prompts(corpus: Corpus, settings, count: int) -> list[list[int]]:
    """Evenly spaced pieces of held-out text, as prompts of equal length."""
    size = max(CONTEXT, settings.seq_len) if settings.mode == "windows" else CONTEXT
    size = min(size, len(corpus.ids) - 1)
    ends = np.linspace(max(corpus.num_train, size), len(corpus.ids), count, endpoint=False).astype(int)
    return [corpus.ids[end - size : end].tolist() for end in ends]


def texts_by_temperature(
    generator: Generator, corpus: Corpus, temperatures: Sequence[float], count: int, length: int, seed: int = 0
) -> dict[float, list[list[int]]]:
    """For each temperature, what follows the same `count` held-out prompts, all generated together."""
    prompts = held_out_prompts(corpus, generator.settings, count)
    each = np.repeat(temperatures, count)[:, None]
    made = generator.generate(prompts * len(temperatures), length, temperatures=each, seed=seed)
    return {t: made[i * count : (i + 1) * count] for i, t in enumerate(temperatures)}


def decoding_speed(generator: Generator, batch: int, length: int = 512) -> float:
    """Tokens a second, compilation left out."""
    prompts, options = [generator.prompt()] * batch, generator._replace(ends=False).options()
    generator.generate(prompts, 1, options=options)
    begin = time.perf_counter()
    generator.generate(prompts, length, options=options)
    return batch * length / (time.perf_counter() - begin)


def measurements(generator: Generator, corpus: Corpus, nats: float) -> list[dict[str, Any]]:
    """metric, split, value and num_test of everything measured once trained; nats per held-out token."""
    decode = generator.vocabulary.decode
    num_tokens = len(corpus.ids) - corpus.num_train
    share = f"last {num_tokens / (len(corpus.ids) - 1):.0%}"
    bits = nats * corpus.bits_per_nat
    held_out = {
        "validation nats per character": bits * math.log(2),
        BITS: bits,
        "share of tokens not in the vocabulary": float(np.mean(corpus.ids[corpus.num_train :] == UNKNOWN)),
    }
    if generator.vocabulary.level == "word":
        held_out["validation nats per token"] = nats
    rows = [{"metric": k, "split": share, "value": v, "num_test": num_tokens} for k, v in held_out.items()]

    rows.append(
        {
            "metric": NEW,
            "split": "held-out text itself",
            "value": share_known([corpus.held_out_text], corpus.words_train),
            "num_test": num_tokens,
        }
    )
    for temperature, made in texts_by_temperature(generator, corpus, MEASURED, NUM_TEXTS, LENGTH).items():
        found = loops(made)
        values = {KNOWN: share_known(list(map(decode, made)), corpus.words), LOOPS: found["share"]}
        if found["share"]:
            values |= {PERIOD: found["period"], "tokens before the loop, median": found["start"]}
        size = sum(map(len, made))
        rows += [
            {
                "metric": metric,
                "split": label(temperature),
                "value": value,
                "num_test": size,
                "temperature": temperature,
            }
            for metric, value in values.items()
        ]
    for batch in SPEED_BATCHES:
        speed = decoding_speed(generator, batch)
        rows.append({"metric": "tokens a second", "split": f"batch {batch}", "value": speed, "num_test": batch * 512})
    return rows


def samples(generator: Generator, corpus: Corpus, about: str) -> str:
    """Texts at every temperature after the same held-out prompt, as they are kept beside the figures."""
    decode = generator.vocabulary.decode
    prompt = held_out_prompts(corpus, generator.settings, 1)[0]
    length = SAMPLE_LENGTH if generator.vocabulary.level == "char" else SAMPLE_LENGTH // 4
    cycles = np.array([np.resize(t, len(SCHEDULE)) for t in (*MEASURED, SCHEDULE)])
    made = generator.generate([prompt] * len(cycles), length, temperatures=cycles)
    names = [*map(label, MEASURED), f"temperatures {', '.join(f'{t:g}' for t in SCHEDULE)} in turn"]
    parts = [about, f"--- held-out text, read before each ---\n{decode(prompt)}"]
    parts += [f"--- {name} ---\n{decode(ids)}" for name, ids in zip(names, made, strict=True)]
    return "\n\n".join(parts) + "\n"


def write_samples(folder: Path, what: Mapping[str, str], text: str) -> Path:
    """samples/<preset>-<book>-<cell>.txt of a results folder."""
    stem = f"{what['preset']}-{Path(what['dataset']).stem}-{what['cell']}"
    name = "".join(c if c.isalnum() or c in "-_=." else "-" for c in stem)
    path = Path(folder) / "samples" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path


def write_curves(
    folder: Path, what: Mapping[str, Any], history: Sequence[Mapping[str, float]], chunks_per_epoch: int
) -> None:
    """Put a run's evaluations, a line each, in curves.csv, in place of those of an earlier run of the same."""
    path = Path(folder) / CURVES
    new = pd.DataFrame([{"epoch": e["chunk"] / chunks_per_epoch, **e} for e in history])
    new = new.drop(columns=["chunk", "score"]).assign(**{key: what[key] for key in RUN})
    with adding_to(folder):
        if path.exists():
            new = replace(pd.read_csv(path, dtype=dict.fromkeys(WHAT, str)), new, RUN)
        new = new[RUN + [name for name in new if name not in RUN]]
        write_whole(path, lambda unfinished: new.to_csv(unfinished, index=False))


def write(folder: Path, rows: Sequence[Mapping[str, Any]], text: str) -> Path:
    """runs.csv, the plot and README.md with the summary of all runs in the folder, whose path is returned."""
    title, plots = "Text generation", {PLOT: CAPTION}
    with adding_to(folder):
        path = record(folder, rows, title=title, text=text, plots=plots)
        plot_known(folder)
        runs = pd.read_csv(folder / "runs.csv", dtype=TEXT)
        write_whole(path, report(runs, title, f"{text}\n\n{SUMMARY}\n\n{summary(folder)}", plots, folder))
    return path


def summary(folder: Path) -> str:
    """A line per preset, dataset and cell of runs.csv, means over seeds: what the two questions are answered by."""
    runs = pd.read_csv(Path(folder) / "runs.csv", dtype=dict.fromkeys(WHAT, str))
    shown = {"bits": (BITS, None)}
    shown |= {f"known, {label(t)}": (KNOWN, label(t)) for t in MEASURED}
    shown |= {"known, held-out text": (NEW, None), "loops, greedy": (LOOPS, label(0)), "period": (PERIOD, label(0))}
    shown |= {f"loops, {label(t)}": (LOOPS, label(t)) for t in (0.5, 1.0)}
    lines = []
    for key, rows in runs.groupby(WHAT, sort=False):
        means = rows.groupby(["metric", "split"])["value"].mean()
        values = [
            means[metric].get(split, math.nan) if split else means[metric].iloc[0] for metric, split in shown.values()
        ]
        lines.append([*key, *("–" if math.isnan(value) else figure(value) for value in values)])
    return markdown([*WHAT, *shown], lines)


def plot_known(folder: Path) -> None:
    """known_words.png from runs.csv and curves.csv."""
    folder = Path(folder)
    runs, curves = (pd.read_csv(folder / name, dtype=dict.fromkeys(WHAT, str)) for name in ("runs.csv", CURVES))
    runs = runs[runs["metric"] == KNOWN].astype({"value": float})
    names = {key: f"{key[0]}, {Path(key[1]).stem}, {key[2]}" for key in runs.groupby(WHAT, sort=False).groups}
    looks = style(names.values())
    drawing = Figure(figsize=(10, 4 + 0.22 * len(names)), layout="constrained")
    left, right = drawing.subplots(1, 2, sharey=True)
    for key, name in names.items():
        look = {**looks[name], "markersize": 4, "linewidth": 1.3}
        mine = runs[(runs[WHAT] == list(key)).all(axis=1)].groupby("temperature")["value"].mean()
        left.plot(mine.index, mine, **look, label=name)
        curve = curves[(curves[WHAT] == list(key)).all(axis=1)].groupby("epoch").mean(numeric_only=True)
        right.plot(curve["validation_bits"], curve["known_words_1"], **look)
    left.set_xlabel("temperature")
    left.set_ylabel("share of words that are in the book")
    right.set_xlabel("held-out bits per character during training, temperature 1")
    right.invert_xaxis()
    for axis in (left, right):
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.grid(color="0.92", linewidth=0.7)
    drawing.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    drawing.savefig(folder / PLOT, dpi=144)
