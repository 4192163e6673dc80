"""Which class texts are of, by a model that was kept: a table of them in, a table of probabilities out."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console

from experiments.classify.saved_model import Classifier, load
from experiments.classify.settings import PredictOptions
from rnnjax.data.tables import TABLES, decode, read_table, read_texts
from rnnjax.files import write_whole


def run(console: Console, options: PredictOptions) -> None:
    """A CSV with a row a text, in their order: the class, its probability, that of every class, the text."""
    classifier = load(options.model, lambda text: print(text, file=sys.stderr), options.trust_code)
    texts = texts_of(options, classifier)
    if texts is None:
        answer(console.file, classifier, ([line] for line in lines_of(sys.stdin.buffer, options.encoding)))
    elif options.out is None:
        answer(console.file, classifier, [texts])
    else:
        written = io.StringIO()
        counts = answer(written, classifier, [texts])
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.out, written.getvalue())
        found = ", ".join(f"{counts[name]:,} {name}" for name in classifier.classes)
        console.print(f"{len(texts):,} texts: {found}; written to {options.out}", markup=False)


def lines_of(file: Iterable[bytes], encoding: str) -> Iterator[str]:
    """The lines that are not blank, each as soon as it has ended."""
    for number, line in enumerate(file, 1):
        text = decode(f"standard input, line {number}", line, encoding).rstrip("\r\n")
        if text.strip():
            yield text


def texts_of(options: PredictOptions, classifier: Classifier) -> list[str] | None:
    """Those that the command line names; None for standard input.

    Raises:
      FileNotFoundError, ValueError: what `read_table` raises.
    """
    if options.text:
        return list(options.text)
    if options.file is None:
        return None
    if options.text_column is None and Path(options.file).suffix.lower() not in TABLES:
        return read_texts([options.file], "lines", encoding=options.encoding)
    table = read_table(options.file, sep=options.sep, heading=options.heading, encoding=options.encoding)
    return table.texts(options.text_column or classifier.settings.text_column)


def answer(file: IO[str], classifier: Classifier, batches: Iterable[Sequence[str]]) -> Counter[str]:
    """Write the table, every batch as soon as it is read; how many texts each class has."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["class", "probability", *(f"p({name})" for name in classifier.classes), "text"])
    file.flush()
    counts: Counter[str] = Counter()
    for name, row in classified(classifier, batches):
        counts[name] += 1
        rows.writerow([name, *row])
        file.flush()
    return counts


def classified(classifier: Classifier, batches: Iterable[Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
    """The class of each text, and what stands after it in a row."""
    for texts in batches:
        for text, one in zip(texts, classifier.probabilities(texts), strict=True):
            shown = [f"{value:.6g}" for value in (one.max(), *one)]
            yield classifier.classes[one.argmax()], [*shown, text]
