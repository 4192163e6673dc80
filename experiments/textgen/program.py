"""Language models, trained, measured and recorded; and texts that they write."""

import platform
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from experiments.shared.cells import build_cell, variant
from experiments.shared.command_line import Given
from experiments.shared.fit import fit
from experiments.shared.hosts import follow, is_first, joined, lead, prepared
from experiments.shared.memory import check_bytes, memory
from experiments.shared.one_writer import one_writer
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.settings import plain
from experiments.shared.stopping import goes_on
from experiments.shared.tensorboard import Board, board_at
from experiments.textgen import results
from experiments.textgen.corpus import Corpus, build, standard_library
from experiments.textgen.language_model import Training, make_training
from experiments.textgen.saved_model import Generator, load, save, untrained
from experiments.textgen.settings import GenerateOptions, Settings, TrainOptions
from rnnjax.data.tables import read_texts

SAMPLES = "samples.txt"  # in the model's folder, added to at every evaluation
NUM_KNOWN, LENGTH_KNOWN, SHOWN = 16, 250, 200  # texts of each temperature at every evaluation; characters shown of one
SEPARATOR = "=" * 20  # between texts of several lines


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train a model per seed, or generate, as the command says."""
    options, settings = given.options, given.settings
    if given.command == "generate":
        write(console, options)
        return
    check_recorded(options.out)
    with joined(console, options.coordinator, options.num_processes, options.process_id):
        prepared_here = partial(prepare, console, options, settings)
        corpus, untried, training = prepared(prepared_here, lambda made: about(options, settings, made[0]))
        if is_first():
            train_each(console, given, argv, corpus, untried, lead(training))
        else:
            follow(training)


# --- training ---------------------------------------------------------------------------------------------------------


def prepare(console: Console, options: TrainOptions, settings: Settings) -> tuple[Corpus, Generator, Training]:
    """The texts, and a model of them before it is trained; nothing is written."""
    build_cell(settings.cell, settings.hidden_size, settings.seq_len)
    corpus = corpus_of(options, settings)
    console.print(
        f"{corpus.name}: {len(corpus.ids) - 1:,} tokens, {len(corpus.vocabulary.tokens):,} different, "
        f"{len(corpus.ids) - corpus.num_train:,} held out",
        markup=False,
    )
    untried = untrained(settings, corpus)
    return corpus, untried, make_training(settings, corpus, untried.lm)


def about(options: TrainOptions, settings: Settings, corpus: Corpus) -> dict[str, Any]:
    """What processes that train together must have in common."""
    return {"text": corpus.sha256, "settings": plain(settings), "seeds": options.seeds}


def train_each(
    console: Console, given: Given, argv: Sequence[str], corpus: Corpus, untried: Generator, training: Training
) -> None:
    """Train a model per seed, and record them where asked."""
    options, settings = given.options, given.settings
    preset = given.label_but_cell
    board = board_at(options.tensorboard)
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        folder = options.model / f"seed-{seed}" if options.seeds > 1 else options.model
        what = {"preset": preset, "dataset": corpus.name, "cell": variant(settings.cell), "seed": seed}
        what |= provenance("experiments.textgen", argv)
        with one_writer(folder), goes_on():
            rows += train(console, corpus, untried, training, folder, what, options.out, board)
    if options.out:
        path = results.write(options.out, rows, TEXT)
        console.print(f"recorded: {path}", markup=False)


def texts_of(options: TrainOptions) -> tuple[list[str], str]:
    """What the command line names, or the standard library; and what that is called.

    Raises:
      FileNotFoundError, ValueError: what `read_texts` raises.
    """
    if not options.files:
        return standard_library(), f"Python {platform.python_version()} standard library"
    paths = [Path(options.data_dir or "", file) for file in options.files]
    texts = read_texts(paths, options.form, options.column, options.encoding, sep=options.sep, heading=options.heading)
    return texts, " + ".join(path.resolve().name for path in paths)


def corpus_of(options: TrainOptions, settings: Settings) -> Corpus:
    """The texts to learn from, as ids."""
    texts, name = texts_of(options)
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
    out: Path | None,
    board: Board | None = None,
) -> list[dict[str, Any]]:
    """Train one model, measure it, print and return its rows, which begin with `what`."""
    settings, seed = untried.settings, what["seed"]
    config = {**plain(settings), "dataset": corpus.name, "corpus": corpus.sha256, "seed": seed}
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
        put=training.put,
        get=training.get,
        folder=folder,
        config=config,
        tell=tell,
        board=board,
    )
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
        path = results.write_samples(out, what, results.samples(generator, corpus, about))
        results.write_curves(out, what, fitted.history, training.chunks_per_epoch)
        console.print(f"samples: {path}", markup=False)
    return rows


# --- generating -------------------------------------------------------------------------------------------------------


def write(console: Console, options: GenerateOptions) -> None:
    """The `generate` command."""
    generator = load(options.model, lambda text: console.print(text, markup=False), options.trust_code)
    states = options.n * generator.settings.hidden_size * generator.settings.num_layers * 4
    parts = {"states": states, "tokens": options.n * options.length * 8}  # a reference of Python's each
    check_bytes(f"--n {options.n}, --length {options.length}", "generating", parts, *memory())
    begins = generator.encode(options.prefix, options.skip_unknown)
    prefix = generator.vocabulary.decode(begins)
    how = {
        "temperatures": options.temperatures,
        "options": generator.options(options.top_k, options.top_p),
        "seed": options.seed,
    }
    prompts, decode = [generator.prompt(begins)] * options.n, generator.vocabulary.decode

    begin = time.perf_counter()
    generator.generate(prompts, 1, **how)
    compiled = time.perf_counter() - begin

    def stream(new: list[list[int]]) -> None:
        console.out(decode(new[0]), end="", highlight=False)
        console.file.flush()

    begin = time.perf_counter()
    if options.n == 1:
        console.out(prefix, end="", highlight=False)
        made = generator.generate(prompts, options.length, **how, tell=stream)
        console.out("")
    else:
        made = generator.generate(prompts, options.length, **how)
    seconds = time.perf_counter() - begin
    texts = [prefix + decode(ids) for ids in made]
    joined = ("\n" if not any("\n" in text for text in texts) else f"\n{SEPARATOR}\n").join(texts) + "\n"
    if options.n > 1:
        console.out(joined, end="", highlight=False)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(joined, encoding="utf-8")
    what = "characters" if generator.vocabulary.level == "char" else "words and marks"
    total = sum(map(len, made))
    console.print(
        f"{total:,} {what} in {seconds:.2f} s, {total / seconds:,.0f} a second at batch {options.n}; "
        f"ready after {compiled:.1f} s" + (f"; written to {options.out}" if options.out else ""),
        markup=False,
    )
    if options.speed:
        for batch in results.SPEED_BATCHES:
            console.print(f"batch {batch}: {results.decoding_speed(generator, batch):,.0f} {what} a second")


TEXT = """Recurrent networks learn a text token by token and write on. The last part of each text is held out, and the
parameters that do best on it are kept: these are validation figures. The state is carried through all that is held
out, after the 512 characters before it were read; models of windows (preset keras-windows) read 10 characters from the
initial state every time, in training, evaluation and generation. `num_train` and `num_test` are tokens.

Greedy decoding and sampling are compared over 32 texts of 1,000 tokens each, after 64 held-out tokens. A text ends in a
loop when its last part, three periods and 60 tokens at least, repeats itself. A word is known when it is anywhere in
the book, held-out part included, in lower case. Samples are in `samples/`, evaluations during training in
`curves.csv`."""
