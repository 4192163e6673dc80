"""How far does the gradient travel in these cells? Every instrument on any cells, on one page.

    python -m experiments.gradients elman lstm:forget_bias=0 lstm:forget_bias=chrono gru
    python -m experiments.gradients my_module:my_factory --inputs zeros --seq-len 200
    python -m experiments.gradients my_module:my_factory --task recall --seq-len 300
    python -m experiments.gradients lstm gru --task recall --seq-len 50 --trained 500

A cell is a name, or my_module:my_factory; options as in lstm:forget_bias=2. On a task it also says in words how far the
gradient reaches, what ends it, and what would help. Writes one page of plots, gradients.csv
(cell, time, quantity, index, mean, low, high, n) and a README.md. Three cells take under a minute on two cores,
a minute more on a task.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
from rich.console import Console
from rich.table import Table

from experiments.gradients.measure import INPUTS, LAGS, NUM_CHUNKS, OfCell, Setting, measure_cell
from experiments.gradients.plots import write_page
from experiments.gradients.report import HEADER, readme, rows_of, summary_lines, table_of
from experiments.shared.cells import build_cell
from experiments.shared.provenance import provenance
from experiments.shared.results import adding_to
from experiments.shared.start import num_cores, start
from rnnjax.errors import unknown
from rnnjax.files import write_whole
from rnnjax.tasks import OWN_SEQ_LEN, TASKS, make_task

DEFAULT_FOLDER = "results/gradients-quick"
SHOWN = 8  # columns of the table that fit a terminal


def parser() -> argparse.ArgumentParser:
    setting = Setting()
    p = argparse.ArgumentParser(
        prog="python -m experiments.gradients",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("cells", nargs="+", metavar="CELL", help="a name, or my_module:my_factory; options as in lstm:a=2")
    p.add_argument("--out", metavar="DIR", default=DEFAULT_FOLDER, help=f"results folder (default {DEFAULT_FOLDER})")
    whole = {"type": int, "metavar": "N"}
    p.add_argument("--hidden-size", **whole, default=setting.hidden_size, help="units (default %(default)s)")
    p.add_argument("--seq-len", **whole, default=None, help=f"steps (default {setting.seq_len}), or the task's lag")
    p.add_argument("--seeds", **whole, default=setting.num_seeds, help="seeds 0..N-1 (default %(default)s)")
    p.add_argument("--examples", **whole, default=setting.num_examples, help="sequences a seed (default %(default)s)")
    p.add_argument("--inputs", default=None, help=f"inputs of size 16: {', '.join(INPUTS)} (default {setting.inputs})")
    synthetic = ", ".join(name for name in TASKS if name not in OWN_SEQ_LEN)
    p.add_argument("--task", help=f"inputs and loss of a task instead: {synthetic}")
    p.add_argument("--trained", **whole, default=0, help="measure again after N training steps on the task")
    p.add_argument("--learning-rate", type=float, default=setting.learning_rate, metavar="X", help="of that training")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    return start(run, parser(), argv, threads_per_core=4)


def run(console: Console, args: argparse.Namespace, argv: Sequence[str]) -> None:
    setting = setting_of(args)
    cells = list(dict.fromkeys(args.cells))
    for text in cells:
        build_cell(text, setting.hidden_size, setting.num_steps)
    folder = Path(args.out)
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
        source = provenance("experiments.gradients", argv)
        write_whole(folder / "gradients.csv", lambda path: rows.to_csv(path, index=False, float_format="%.5g"))
        write_whole(folder / "README.md", readme(found, setting, source, plots))
    table = Table(*HEADER[:SHOWN])
    for line in table_of(found, setting):
        table.add_row(*line[:SHOWN])
    console.print(table)
    for line in summary_lines(found, setting):
        console.print(line, markup=False)
    console.print(f"plots: {folder / plots[0]}; numbers: {folder / 'gradients.csv'}; report: {folder / 'README.md'}")


def setting_of(args: argparse.Namespace) -> Setting:
    """The setting the options ask for.

    Raises:
      ValueError: a size below 1, an unknown kind of inputs or task, or options that exclude each other.
    """
    for name in ("hidden_size", "seq_len", "seeds", "examples"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value} must be at least 1")
    if args.seq_len is not None and args.seq_len < LAGS[2]:
        raise ValueError(f"--seq-len {args.seq_len} must be at least {LAGS[2]}: there is no slope in less")
    if args.inputs is not None and args.inputs not in INPUTS:
        raise ValueError(unknown("kind of inputs", args.inputs, INPUTS))
    if args.inputs is not None and args.task is not None:
        raise ValueError("--inputs and --task exclude each other: a task brings its own inputs")
    if args.task is not None and args.task in OWN_SEQ_LEN:
        raise ValueError(f"--task {args.task}: only synthetic tasks can be measured here")
    if args.trained and args.task is None:
        raise ValueError("--trained needs a --task to train on, such as --task recall")
    if args.trained and (args.trained < NUM_CHUNKS or args.trained % NUM_CHUNKS):
        raise ValueError(f"--trained {args.trained} must be a multiple of {NUM_CHUNKS}")
    if not args.learning_rate > 0:
        raise ValueError(f"--learning-rate {args.learning_rate} must be above 0")
    seq_len = args.seq_len or Setting.seq_len
    return Setting(
        hidden_size=args.hidden_size,
        seq_len=seq_len,
        num_seeds=args.seeds,
        num_examples=args.examples,
        inputs=args.inputs or Setting.inputs,
        task=None if args.task is None else make_task(args.task, seq_len),
        trained=args.trained,
        learning_rate=args.learning_rate,
    )


if __name__ == "__main__":
    sys.exit(main())
