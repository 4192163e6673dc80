"""Encoder-decoders, trained, evaluated by length, recorded and asked to write."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from rich.console import Console

from experiments.seq2seq.network import (
    DECODINGS,
    Data,
    Program,
    accuracies,
    make_data,
    make_model,
    make_program,
    time_first,
)
from experiments.seq2seq.settings import CHUNK, Options, Settings
from experiments.seq2seq.tasks import (
    TEST,
    Pairs,
    Task,
    Vocabulary,
    held_out_sources,
    longest_target,
    make_task,
    make_vocabulary,
    pairs,
)
from experiments.shared.cells import variant
from experiments.shared.command_line import Given
from experiments.shared.fit import Fitted, fit, resumable
from experiments.shared.looks import style
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.results import RUN, WHAT, adding_to, record, replace
from experiments.shared.tensorboard import Board, board_at
from rnnjax.files import write_whole

# --- the program ------------------------------------------------------------------------------------------------------


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train with each kind of attention, evaluate by length, record and write where asked."""
    task, options = make_task(given.preset), given.options
    check_recorded(options.out)
    chosen = [with_attention(given, attention) for attention in options.attention]
    vocabulary = make_vocabulary(task)
    for _, settings in chosen:
        make_model(settings, task, vocabulary)
    as_pairs(task, vocabulary, options.write)
    data = make_data(task, vocabulary, given.settings.num_train)
    board = board_at(options.tensorboard)
    for preset, settings in chosen:
        program = make_program(settings, task, vocabulary)
        config = {**vars(settings), "task": given.preset}
        with resumable("seq2seq", config) as folder_of:
            runs = [
                train(console, program, settings, preset, data, seed, folder_of(seed), config, board)
                for seed in range(options.seeds)
            ]
            report(console, options, argv, settings, preset, task, vocabulary, data, program, runs)


def with_attention(given: Given, attention: str) -> tuple[str, Settings]:
    """The label and the settings of one kind of attention."""
    label = f"{given.label}, {'no' if attention == 'none' else attention} attention"
    return label, dataclasses.replace(given.settings, attention=attention)


def report(console, options: Options, argv, settings, preset, task, vocabulary, data, program, runs) -> None:
    """Evaluate networks of one preset by length, say what is asked, and record and write where asked."""
    tables = [accuracies(program, fitted.best, data) for fitted in runs]
    for how in DECODINGS:
        say(console, preset, how, task, pd.concat([table[table["decoding"] == how] for table in tables]))
    best = min(runs, key=lambda fitted: fitted.best_entry["score"]).best
    lengths = sorted((*task.seen, *task.unseen)) if options.out else ()
    drawn = [held_out_sources(task, TEST, length, 1)[0] for length in lengths]
    examples = written(program, best, task, vocabulary, [*options.write, *drawn])
    for row in examples[examples["source"].isin(options.write)].to_dict("records"):
        verdict = "right" if row["text"] == row["right"] else f"wrong, it is {row['right']}"
        console.print(f"{preset}, {row['decoding']}: {row['source']} -> {row['text']}   {verdict}", markup=False)
    if options.out:
        examples = examples[examples["source"].isin(drawn)]
        write(console, options.out, task, settings, preset, runs, tables, examples, argv)


def train(
    console,
    program: Program,
    settings: Settings,
    preset: str,
    data: Data,
    seed: int,
    folder: Path,
    config,
    board: Board | None = None,
) -> Fitted:
    """A network of one seed; its parameters are those with the lowest validation loss."""
    train_pairs = program.learner.place(data.train)
    key_init, key_dropout = jax.random.split(jax.random.key(seed))
    count = len(data.train.source)

    def chunk(state, i: int):
        indices = np.random.default_rng([seed, i]).integers(0, count, (CHUNK, settings.batch_size), dtype=np.int32)
        return program.learner.chunk(state, indices, CHUNK, key_dropout, train_pairs)

    def evaluate(state):
        (total, weight), _ = program.loss(state.params, (), data.validation, len(data.validation.counts), ())
        return {"validation_loss": float(total) / float(weight)}

    return fit(
        program.learner.start(jax.jit(program.model.init)(key_init)),
        chunk,
        settings.num_steps // CHUNK,
        evaluate=evaluate,
        every=1,
        score="validation_loss",
        console=console,
        title=f"{preset}, seed {seed}",
        put=program.learner.put,
        folder=folder,
        config=config,
        board=board,
    )


def as_pairs(task: Task, vocabulary: Vocabulary, sources: Sequence[str]) -> Pairs:
    """Sources of any length up to the longest in the shape of all evaluations."""
    return pairs(task, vocabulary, sources, max(*task.seen, *task.unseen), longest_target(task))


def written(program: Program, params: Any, task: Task, vocabulary: Vocabulary, sources: Sequence[str]) -> pd.DataFrame:
    """What a network makes of sources, by either decoding, and what is right."""
    given = as_pairs(task, vocabulary, sources)
    rows = []
    for how, decode in program.decode.items() if sources else ():
        tokens = np.asarray(decode(params, time_first(given.source), given.source_length))
        for source, ids in zip(sources, tokens, strict=True):
            rows.append([how, source, task.join(vocabulary.decode(ids)), task.join(task.write(source))])
    return pd.DataFrame(rows, columns=["decoding", "source", "text", "right"])


def by_split(task: Task, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of a table by whether their length was seen."""
    seen = table["length"].isin(task.seen)
    return {f"lengths seen: {span(task.seen)}": table[seen], f"lengths not seen: {span(task.unseen)}": table[~seen]}


def span(lengths: Sequence[int]) -> str:
    """(1, 2, 3, 5) as "1-3, 5"."""
    runs: list[list[int]] = []
    for length in lengths:
        if runs and length == runs[-1][-1] + 1:
            runs[-1].append(length)
        else:
            runs.append([length])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def say(console: Console, preset: str, how: str, task: Task, table: pd.DataFrame) -> None:
    texts = [f"{split} {rows['value'].mean():.3f}" for split, rows in by_split(task, table).items()]
    console.print(f"{preset}, {how}, exact matches: {'; '.join(texts)}", markup=False)


# --- what is left -----------------------------------------------------------------------------------------------------

BY_LENGTH, EXAMPLES = "by_length.csv", "examples.csv"
TEXT = f"""Encoder-decoders reverse strings of lower-case letters, and write numbers in English and Russian words (a
token each, and one for the hyphen). A value is the share of held-out sources whose target comes out right in every
token, averaged over lengths, which count alike; `{BY_LENGTH}` has each length, and `{EXAMPLES}` what the network that
validated best made of a source of each. Sources of three symbols or more are held out by a hash of their text and never
trained on; shorter ones are too few for that, and are trained on and tested. Parameters are those with the lowest
validation loss, on lengths seen; test sources choose nothing. Beam decoding takes the likeliest target it finds,
without regard to length."""


def slug(preset: str) -> str:
    """A preset's name as a file's."""
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", preset)


def write(console, folder: Path, task: Task, settings: Settings, preset: str, runs, tables, examples, argv) -> None:
    """runs.csv, by_length.csv, examples.csv, README.md and a plot per task."""
    cells = [variant(settings.encoder), variant(settings.decoder)]
    name = cells[0] if cells[0] == cells[1] else " to ".join(cells)
    what = {
        "preset": preset,
        "dataset": task.name,
        "cell": f"bidirectional {name}" if settings.bidirectional else name,
    }
    common = {
        **what,
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(runs[0].best)),
        **{k: v for k, v in dataclasses.asdict(settings).items() if k not in ("encoder", "decoder", "bidirectional")},
        **provenance("experiments.seq2seq", argv),
    }
    rows, lines = [], []
    for seed, (fitted, table) in enumerate(zip(runs, tables, strict=True)):
        lines.append(table.assign(seed=seed, **what))
        for how in DECODINGS:
            metric = "exact match, greedy" if how == "greedy" else f"exact match, beam {settings.beam_width}"
            for split, some in by_split(task, table[table["decoding"] == how]).items():
                values = {"value": some["value"].mean(), "num_test": int(some["num_test"].sum())}
                rows.append(
                    {**common, "metric": metric, "split": split, "seed": seed, **values}
                    | {"wall_seconds": round(fitted.seconds, 2)}
                )
    with adding_to(folder):
        table = joined(folder / BY_LENGTH, pd.concat(lines, ignore_index=True), RUN)
        joined(folder / EXAMPLES, examples.assign(**what), WHAT)
        captions = {}
        for dataset, some in table.groupby("dataset", sort=False):
            image = f"{dataset}.png"
            plot(make_task(dataset), some).savefig(folder / image, dpi=144)
            captions[image] = (
                f"{dataset}: exact matches by length of the source, mean and range over seeds; lengths not seen shaded."
            )
        readme = record(folder, rows, title="Sequence to sequence", text=TEXT, plots=captions)
    console.print(f"recorded: {readme}", markup=False)


TEXTS = dict.fromkeys(["source", "text", "right"], str)  # digits are no numbers here


def joined(path: Path, new: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of a file, those with the keys of new ones replaced by them; written back there."""
    if path.exists():
        new = replace(pd.read_csv(path, dtype=TEXTS), new, keys)
    write_whole(path, lambda unfinished: new.to_csv(unfinished, index=False))
    return new


def plot(task: Task, table: pd.DataFrame) -> Figure:
    """Exact matches by length: a line per preset, full for greedy and dashed for beam decoding."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    names = list(dict.fromkeys(table["preset"]))
    for name, look in style(names).items():
        for how, line, marker in (("greedy", "-", look["marker"]), ("beam", "--", "")):
            values = table[(table["preset"] == name) & (table["decoding"] == how)].groupby("length")["value"]
            mean = values.mean()
            label = f"{name}, {how}"
            axis.plot(mean.index, mean, color=look["color"], linestyle=line, marker=marker, markersize=5, label=label)
            if how == "greedy":
                axis.fill_between(mean.index, values.min(), values.max(), color=look["color"], alpha=0.12, linewidth=0)
    for length in task.unseen:
        axis.axvspan(length - 0.5, length + 0.5, color="0.92", zorder=0, linewidth=0)
    axis.set_xlabel("length of the source (shaded: not seen in training)")
    axis.set_ylabel("exact matches")
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(-0.03, 1.03)
    axis.set_title(f"{task.name}, seeds: {table['seed'].nunique()}", fontsize=11)
    figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    return figure
