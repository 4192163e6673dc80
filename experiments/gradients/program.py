"""Cells measured side by side, and what is left of it: a page, numbers, a report."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
from rich.console import Console
from rich.table import Table

from experiments.gradients.measure import OfCell, Setting, measure_cell
from experiments.gradients.plots import write_page
from experiments.gradients.report import HEADER, readme, rows_of, summary_lines, table_of
from experiments.gradients.settings import SEQ_LEN, Options
from experiments.shared.cells import build_cell
from experiments.shared.memory import check_memory
from experiments.shared.provenance import provenance
from experiments.shared.results import adding_to
from experiments.shared.start import num_cores
from rnnjax.files import write_whole
from rnnjax.tasks import OWN_SEQ_LEN, make_task

SHOWN = 8  # columns of the table that fit a terminal


def run(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Measure every cell, and write the page, the numbers and the report."""
    setting = setting_of(options)
    cells = list(dict.fromkeys(options.cells))
    for text in cells:
        cell = build_cell(text, setting.hidden_size, setting.num_steps)
        check_memory(
            lambda key, cell=cell: cell.init(key, setting.input_size),
            lambda params: (),
            num_steps=setting.num_steps,
            batch_size=setting.num_examples,
            width=setting.hidden_size,
            networks=setting.num_seeds,
            together=setting.num_seeds,
            copies=0,
            options={
                "--hidden-size": setting.hidden_size,
                "--seq-len": setting.seq_len,
                "--examples": setting.num_examples,
                "--seeds": setting.num_seeds,
            },
        )
    source = provenance("experiments.gradients", argv)  # of the code that runs, before files of its own differ
    folder = options.out
    folder.mkdir(parents=True, exist_ok=True)
    devices = jax.devices()
    found: dict[str, OfCell] = {}

    def one(position: int) -> OfCell:
        with jax.default_device(devices[position % len(devices)]):
            return measure_cell(cells[position], setting)

    with ThreadPoolExecutor(min(num_cores(), len(cells))) as workers:
        for position, of_cell in enumerate(workers.map(one, range(len(cells)))):
            found[cells[position]] = of_cell
            console.print(f"{position + 1} of {len(cells)}: {cells[position]}", markup=False)
    rows = rows_of(found, setting)
    with adding_to(folder):
        plots = write_page(folder, found, setting)
        write_whole(folder / "gradients.csv", lambda path: rows.to_csv(path, index=False, float_format="%.5g"))
        write_whole(folder / "README.md", readme(found, setting, source, plots))
    table = Table(*HEADER[:SHOWN])
    for line in table_of(found, setting):
        table.add_row(*line[:SHOWN])
    console.print(table)
    for line in summary_lines(found, setting):
        console.print(line, markup=False)
    console.print(f"plots: {folder / plots[0]}; numbers: {folder / 'gradients.csv'}; report: {folder / 'README.md'}")


def setting_of(options: Options) -> Setting:
    """The setting the options ask for.

    Raises:
      ValueError: an unknown task, or one that is not synthetic.
    """
    if options.task in OWN_SEQ_LEN:
        raise ValueError(f"--task {options.task}: only synthetic tasks can be measured here")
    seq_len = options.seq_len or SEQ_LEN
    return Setting(
        hidden_size=options.hidden_size,
        seq_len=seq_len,
        num_seeds=options.seeds,
        num_examples=options.examples,
        inputs=options.inputs or Setting.inputs,
        task=None if options.task is None else make_task(options.task, seq_len),
        trained=options.trained,
        learning_rate=options.learning_rate,
    )
