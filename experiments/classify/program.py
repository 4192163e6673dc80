"""Text classifiers, trained, kept, recorded and asked about new texts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.classify import predict
from experiments.classify.prepare import Prepared, prepare
from experiments.classify.results import largest_class, of_classes, write
from experiments.classify.saved_model import about, classifier_of, save
from experiments.classify.settings import Options
from experiments.classify.training import make_program, train
from experiments.shared.command_line import Given
from experiments.shared.fit import resumable
from experiments.shared.one_writer import one_writer
from experiments.shared.recorded import check_recorded
from experiments.shared.settings import as_words
from experiments.shared.tensorboard import board_at


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Prepare, train a classifier for each seed, record and classify where asked; or classify alone."""
    options, settings = given.options, given.settings
    if given.command == "predict":
        predict.run(console, options)
        return
    check_recorded(options.out)
    label = " ".join([given.preset, *as_words(given.changed)])
    prepared = prepare(settings, options.data_dir)
    sizes = {name: len(part.labels) for name, part in prepared.parts.items()}
    console.print(
        f"{label}: {sizes['train']:,} training, {sizes['validation']:,} validation, {sizes['test']:,} test texts, "
        f"{prepared.vocabulary.size:,} ids, padded to {', '.join(map(str, prepared.boundaries))}; "
        f"{prepared.seconds:.1f} s of preparation",
        markup=False,
    )
    largest = largest_class(prepared)
    board = board_at(options.tensorboard)
    with folders(options, prepared) as folder_of:
        program = make_program(prepared)
        console.print(f"{label}: {program.compile_seconds:.1f} s of compilation", markup=False)
        runs = []
        for seed in seeds_of(options):
            title = f"{label}, seed {seed}"
            folder, config = folder_of(seed)
            one = train(prepared, program, seed, console, title, folder, config, board)
            runs.append(one)
            test = one.scores["test"]
            console.print(
                f"{title}: test accuracy {test.accuracy:.4f}, loss {test.loss:.4f} ({test.count:,} texts, of which "
                f"{test.share(largest):.4f} are {prepared.classes[largest]!r}, the largest class in training); "
                f"{one.fitted.seconds:.1f} s of training",
                markup=False,
            )
            console.print("\n".join(of_classes(prepared.classes, test)), markup=False)
        if options.model:
            console.print(f"kept: {', '.join(str(folder_of(seed)[0]) for seed in seeds_of(options))}", markup=False)
        if options.out:
            console.print(f"recorded: {write(options.out, label, prepared, program, runs, argv)}", markup=False)
    if options.text:
        found = classifier_of(prepared, runs[0].params).probabilities(options.text)
        for text, one in zip(options.text, found, strict=True):
            console.print(f"{prepared.classes[one.argmax()]} ({one.max():.0%}): {text}", markup=False)


def seeds_of(options: Options) -> range:
    return range(options.first_seed, options.first_seed + options.seeds)


@contextmanager
def folders(options: Options, prepared: Prepared) -> Iterator[Callable[[int], tuple[Path, dict[str, Any]]]]:
    """Where the training of each seed goes, and what it is: into --model to stay, or into the cache until it is done.

    Raises:
      ValueError: a folder that holds another training, or that another process writes.
    """
    if options.model is None:
        with resumable("classify", about(prepared)) as folder_of:
            yield lambda seed: (folder_of(seed), about(prepared, seed))
        return
    seeds = seeds_of(options)
    names = {seed: options.model / f"seed-{seed}" if len(seeds) > 1 else options.model for seed in seeds}
    with one_writer(options.model):
        kept = {seed: (folder, save(folder, prepared, seed)) for seed, folder in names.items()}
        yield kept.__getitem__
