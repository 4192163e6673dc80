"""Text classifiers, trained, kept, recorded and asked about new texts."""

from collections.abc import Sequence

from rich.console import Console

from experiments.classify import predict
from experiments.classify.prepare import prepare
from experiments.classify.results import largest_class, of_classes, write
from experiments.classify.saved_model import about, classifier_of, save
from experiments.classify.training import make_program, train
from experiments.shared.command_line import Given
from experiments.shared.kept_model import seed_folders
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
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with seed_folders("classify", options.model, seeds, about(prepared)) as folder_of:
        configs = {seed: about(prepared, seed) for seed in seeds}
        if options.model:  # before anything is compiled, where the folder holds another model
            configs = {seed: save(folder_of(seed), prepared, seed) for seed in seeds}
        program = make_program(prepared)
        console.print(f"{label}: {program.compile_seconds:.1f} s of compilation", markup=False)
        runs = []
        for seed, config in configs.items():
            title = f"{label}, seed {seed}"
            one = train(prepared, program, seed, console, title, folder_of(seed), config, board)
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
            console.print(f"kept: {', '.join(str(folder_of(seed)) for seed in seeds)}", markup=False)
        if options.out:
            console.print(f"recorded: {write(options.out, label, prepared, program, runs, argv)}", markup=False)
    if options.text:
        found = classifier_of(prepared, runs[0].params).probabilities(options.text)
        for text, one in zip(options.text, found, strict=True):
            console.print(f"{prepared.classes[one.argmax()]} ({one.max():.0%}): {text}", markup=False)
