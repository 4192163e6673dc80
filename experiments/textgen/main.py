"""python -m experiments.textgen train [FILES ...] --model DIR | generate --model DIR: learn to write like a text.

Train on one or many files, characters or words, in any script; without a file, on the source of Python's own standard
library. What is learnt stands in DIR: configuration and vocabulary as JSON, weights as checkpoints. The same command
goes on where it was stopped. `generate` takes a folder from any machine.
"""

import argparse
import dataclasses
import math
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from experiments.shared.cells import variant
from experiments.shared.fit import fit
from experiments.shared.numbers import plain
from experiments.shared.one_writer import one_writer
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.start import start
from experiments.textgen import results
from experiments.textgen.corpus import FORMS, LEVELS, Corpus, build, read_texts, standard_library
from experiments.textgen.language_model import MODES, POOLS, Settings, Training, make_training
from experiments.textgen.presets import PRESETS
from experiments.textgen.saved_model import Generator, load, save, untrained
from rnnjax.errors import unknown
from rnnjax.training.optimizers import OPTIMIZERS, SCHEDULES

SAMPLES = "samples.txt"  # in the model's folder, added to at every evaluation
NUM_KNOWN, LENGTH_KNOWN, SHOWN = 16, 250, 200  # texts of each temperature at every evaluation; characters shown of one
SEPARATOR = "=" * 20  # between texts of several lines

HELP = {
    "level": f"what a token is: {', '.join(LEVELS)}",
    "lower": "lower-case the text",
    "min_count": "tokens rarer than this in training are unknown ones",
    "max_tokens": "keep only the most frequent",
    "held_out": "share at the end of the text that is held out",
    "mode": f"{', '.join(MODES)}: state carried through the whole text, or seq_len tokens from the initial state",
    "pool": f"of windows, what is read: {', '.join(POOLS)}",
    "cell": "a name, or my_module:my_factory; options as in lstm:forget_bias=2",
    "skip": "every layer sees the input too, and all are read out",
    "bidirectional": "only with --mode windows",
    "embedding_size": "0 is one-hot",
    "dropout": "of what goes up, from layer to layer and to the readout",
    "recurrent_dropout": "of what goes on in time",
    "seq_len": "tokens that gradients reach back, or the length of a window",
    "eval_every": "epochs between evaluations",
    "optimizer": ", ".join(OPTIMIZERS),
    "schedule": f"of the learning rate: {', '.join(SCHEDULES)}",
    "warmup": "share of all steps over which the learning rate rises",
}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m experiments.textgen", description=__doc__, allow_abbrev=False)
    commands = p.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="learn from text", allow_abbrev=False)
    train.add_argument("files", nargs="*", metavar="FILE", help="text or CSV; none: Python's standard library")
    train.add_argument("--model", required=True, metavar="DIR", help="where what is learnt is kept")
    train.add_argument("--preset", help=f"{', '.join(PRESETS)} (default: small; without a file, source)")
    train.add_argument("--data-dir", metavar="DIR", help="folder that FILEs are in")
    train.add_argument("--form", default="whole", help=f"a text is a whole file, or a line: {', '.join(FORMS)}")
    train.add_argument("--column", help="texts are this column of CSV files")
    train.add_argument("--encoding", default="utf-8", help="of the files (default utf-8)")
    train.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 0..N-1; with several, DIR/seed-0 ...")
    train.add_argument("--out", metavar="DIR", help="write runs.csv, README.md and samples there")
    group = train.add_argument_group("settings, in place of the preset's")
    for field in dataclasses.fields(Settings):
        option = {"dest": field.name, "default": None, "help": HELP.get(field.name)}
        if field.type is bool:
            option["action"] = argparse.BooleanOptionalAction
        else:
            option["type"] = int if field.type == int | None else field.type
        group.add_argument(f"--{field.name.replace('_', '-')}", **option)

    make = commands.add_parser("generate", help="write text", allow_abbrev=False)
    make.add_argument("--model", required=True, metavar="DIR")
    how = make.add_mutually_exclusive_group()
    how.add_argument("--temperature", type=float, default=0.5, help="below 1 more predictable (default 0.5)")
    how.add_argument("--temperature-schedule", metavar="T,T,...", help="temperatures in turn, such as 1.0,0.5,0.2,0.2")
    how.add_argument("--greedy", action="store_true", help="always the most likely")
    make.add_argument("--top-k", type=int, default=0, metavar="K", help="only from the K most likely")
    make.add_argument("--top-p", type=float, default=1.0, metavar="P", help="only from the likeliest of probability P")
    make.add_argument("--prefix", default="", help="what the texts begin with")
    make.add_argument("--skip-unknown", action="store_true", help="leave out of the prefix what is unknown")
    make.add_argument("--n", type=int, default=1, help="number of texts (default 1)")
    make.add_argument("--length", type=int, default=500, help="tokens of each (default 500)")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--out", metavar="FILE", help="write the texts there, in UTF-8")
    trust = "import the module that the model's config.json names for its cell"
    make.add_argument("--trust-code", action="store_true", help=trust)
    make.add_argument("--speed", action="store_true", help="measure characters a second at batch 1 and 64")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    return start(run, parser(), argv)


def run(console: Console, args: argparse.Namespace, argv: list[str]) -> None:
    if args.command == "generate":
        write(console, args)
        return
    settings, preset = settings_of(args)
    settings.check()
    check_recorded(args.out)
    if args.seeds < 1:
        raise ValueError(f"--seeds {args.seeds} must be at least 1")
    corpus = corpus_of(args, settings)
    console.print(
        f"{corpus.name}: {len(corpus.ids) - 1:,} tokens, {len(corpus.vocabulary.tokens):,} different, "
        f"{len(corpus.ids) - corpus.num_train:,} held out",
        markup=False,
    )
    untried = untrained(settings, corpus)
    training = make_training(settings, corpus, untried.lm)
    rows: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        folder = Path(args.model) / f"seed-{seed}" if args.seeds > 1 else Path(args.model)
        what = {"preset": preset, "dataset": corpus.name, "cell": variant(settings.cell), "seed": seed}
        what |= provenance("experiments.textgen", argv)
        with one_writer(folder):
            rows += train(console, corpus, untried, training, folder, what, args.out)
    if args.out:
        path = results.write(Path(args.out), rows, TEXT)
        console.print(f"recorded: {path}", markup=False)


# --- training ---------------------------------------------------------------------------------------------------------


def settings_of(args: argparse.Namespace) -> tuple[Settings, str]:
    """The settings, and the preset's name with what was put in its place; the cell has a column of its own."""
    name = args.preset or ("small" if args.files else "source")
    if name not in PRESETS:
        raise ValueError(unknown("preset", name, PRESETS))
    preset = PRESETS[name]
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(Settings) if getattr(args, f.name) is not None}
    changed = {k: v for k, v in given.items() if v != getattr(preset, k)}
    words = [name]
    for field, value in changed.items():
        option = field.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{option}")
        elif field != "cell":
            words.append(f"--{option} {value:g}" if isinstance(value, float) else f"--{option} {value}")
    return dataclasses.replace(preset, **given), " ".join(words)


def corpus_of(args: argparse.Namespace, settings: Settings) -> Corpus:
    """What the command line names, or the standard library."""
    if args.files:
        paths = [Path(args.data_dir or "", file) for file in args.files]
        texts = read_texts(paths, args.form, args.column, args.encoding)
        name = " + ".join(path.name for path in paths)
    else:
        texts, name = standard_library(), f"Python {platform.python_version()} standard library"
    return build(
        texts,
        name,
        level=settings.level,
        lower=settings.lower,
        held_out=settings.held_out,
        min_count=settings.min_count,
        max_tokens=settings.max_tokens,
    )


def train(
    console: Console,
    corpus: Corpus,
    untried: Generator,
    training: Training,
    folder: Path,
    what: dict[str, Any],
    out: str | None,
) -> list[dict[str, Any]]:
    """Train one model, measure it, print and return its rows, which begin with `what`."""
    settings, seed = untried.settings, what["seed"]
    config = {**plain(dataclasses.asdict(settings)), "dataset": corpus.name, "corpus": corpus.sha256, "seed": seed}
    config = save(folder, untried, config)
    latest: dict[float, str] = {}

    def evaluate(state) -> dict[str, float]:
        now = untried._replace(params=jax.device_get(state.params))
        nats = training.held_out_nats(now.params)
        made = results.texts_by_temperature(now, corpus, results.TEMPERATURES, NUM_KNOWN, LENGTH_KNOWN, seed)
        known = {}
        for temperature, ids in made.items():
            texts = [corpus.vocabulary.decode(one) for one in ids]
            known[f"known_words_{temperature:g}"] = results.share_known(texts, corpus.words)
            latest[temperature] = texts[0][:SHOWN]
        return {"validation_nats": nats, "validation_bits": nats * corpus.bits_per_nat, **known}

    def tell(state, entry: dict[str, float]) -> None:
        epoch = entry["chunk"] / training.chunks_per_epoch
        text = f"### after {epoch:g} epochs, {entry['validation_bits']:.3f} bits per character held out\n"
        text += "".join(f"--- {results.label(t)} ---\n{sample}\n" for t, sample in latest.items())
        console.print(text, markup=False, soft_wrap=True)
        with open(folder / SAMPLES, "a", encoding="utf-8") as file:
            file.write(text + "\n")

    state = training.init(seed)
    num_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    fitted = fit(
        state,
        lambda state, i: training.chunk(state, i, seed),
        settings.epochs * training.chunks_per_epoch,
        evaluate=evaluate,
        every=settings.eval_every * training.chunks_per_epoch,
        score="validation_nats",
        console=console,
        title=f"{variant(settings.cell)}, seed {seed}",
        put=training.learner.put,
        folder=folder,
        config=config,
        tell=tell,
    )
    if fitted.diverged:
        console.print("the training diverged; what is measured is the best before that", style="red")
    generator = untried._replace(params=fitted.best)
    nats = training.held_out_nats(fitted.best, exact=True)
    columns = {
        "num_params": num_params,
        "num_train": corpus.num_train - 1,
        "wall_seconds": round(fitted.seconds, 1),
        "epochs": settings.epochs,
        "best_epoch": fitted.best_entry["chunk"] / training.chunks_per_epoch,
        "diverged": fitted.diverged,
    }
    rows = [{**what, **columns, **row} for row in results.measurements(generator, corpus, nats)]
    for row in rows:
        console.print(f"{row['metric']}, {row['split']}: {row['value']:.4g}", markup=False)
    if out:
        bits = nats * corpus.bits_per_nat
        about = f"{what['preset']}, {corpus.name}, {what['cell']}: {bits:.3f} bits per character held out"
        path = results.write_samples(Path(out), what, results.samples(generator, corpus, about))
        results.write_curves(Path(out), what, fitted.history, training.chunks_per_epoch)
        console.print(f"samples: {path}", markup=False)
    return rows


# --- generating -------------------------------------------------------------------------------------------------------


def write(console: Console, args: argparse.Namespace) -> None:
    """The `generate` command."""
    temperatures = temperatures_of(args)
    for name, value in (("n", args.n), ("length", args.length)):
        if value < 1:
            raise ValueError(f"--{name} {value} must be at least 1")
    if args.top_k < 0:
        raise ValueError(f"--top-k {args.top_k} must be at least 1, or 0 for all")
    if not 0 < args.top_p <= 1:
        raise ValueError(f"--top-p {args.top_p} must be above 0 and at most 1")
    generator = load(args.model, lambda text: console.print(text, markup=False), args.trust_code)
    begins = generator.encode(args.prefix, args.skip_unknown)
    prefix = generator.vocabulary.decode(begins)
    options = {
        "temperatures": temperatures,
        "options": generator.options(args.top_k, args.top_p),
        "seed": args.seed,
    }
    prompts, decode = [generator.prompt(begins)] * args.n, generator.vocabulary.decode

    begin = time.perf_counter()
    generator.generate(prompts, 1, **options)
    compiled = time.perf_counter() - begin

    def stream(new: list[list[int]]) -> None:
        console.out(decode(new[0]), end="", highlight=False)
        console.file.flush()

    begin = time.perf_counter()
    if args.n == 1:
        console.out(prefix, end="", highlight=False)
        made = generator.generate(prompts, args.length, **options, tell=stream)
        console.out("")
    else:
        made = generator.generate(prompts, args.length, **options)
    seconds = time.perf_counter() - begin
    texts = [prefix + decode(ids) for ids in made]
    joined = ("\n" if not any("\n" in text for text in texts) else f"\n{SEPARATOR}\n").join(texts) + "\n"
    if args.n > 1:
        console.out(joined, end="", highlight=False)
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(joined, encoding="utf-8")
    what = "characters" if generator.vocabulary.level == "char" else "words and marks"
    total = sum(map(len, made))
    console.print(
        f"{total:,} {what} in {seconds:.2f} s, {total / seconds:,.0f} a second at batch {args.n}; "
        f"ready after {compiled:.1f} s" + (f"; written to {args.out}" if args.out else ""),
        markup=False,
    )
    if args.speed:
        for batch in results.SPEED_BATCHES:
            console.print(f"batch {batch}: {results.decoding_speed(generator, batch):,.0f} {what} a second")


def temperatures_of(args: argparse.Namespace) -> list[float]:
    """The temperatures to go through in turn; greedy is 0."""
    if args.greedy:
        return [0.0]
    if args.temperature_schedule is None:
        values, option = [args.temperature], "--temperature"
    else:
        option = "--temperature-schedule"
        try:
            values = [float(word) for word in args.temperature_schedule.split(",")]
        except ValueError:
            raise ValueError(f"{option} {args.temperature_schedule!r} must be numbers with commas between") from None
    for value in values:
        if not 0 < value < math.inf:
            raise ValueError(f"{option} {value:g}: a temperature is above 0, and finite; --greedy is its limit at 0")
    return values


TEXT = """Recurrent networks learn a text token by token and write on. The last part of each text is held out, and the
parameters that do best on it are kept: these are validation figures. The state is carried through all that is held
out, after the 512 characters before it were read; models of windows (preset keras-windows) read 10 characters from the
initial state every time, in training, evaluation and generation. `num_train` and `num_test` are tokens.

Greedy decoding and sampling are compared over 32 texts of 1,000 tokens each, after 64 held-out tokens. A text ends in a
loop when its last part, three periods and 60 tokens at least, repeats itself. A word is known when it is anywhere in
the book, held-out part included, in lower case. Samples are in `samples/`, evaluations during training in
`curves.csv`."""


if __name__ == "__main__":
    sys.exit(main())
