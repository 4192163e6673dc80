"""A sweep as each system runs it, and how long that takes; what goes on within the processes is in sweep_work.py."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from experiments.bench import report as bench_report
from experiments.bench.asking import Worker
from experiments.bench.program import check_size, is_installed, provenance
from experiments.bench.settings import SweepOptions
from experiments.bench.sweep_work import INPUT_SIZE
from experiments.bench.systems import PEERS, versions
from experiments.bench.work import REFERENCE, Work, num_cores
from experiments.shared.one_writer import one_writer

HOW = {REFERENCE: "one program, {} devices", "torch": "{} processes of one thread"}


def compare(console: Console, options: SweepOptions, argv: Sequence[str]) -> None:
    """Time each system in turn, and write the report."""
    names = ("seq_len", "batch_size", "hidden_size", "steps", "eval_every", "examples")
    what = {name: getattr(options, name) for name in names}
    runs = [(seed, rate) for seed in range(options.seeds) for rate in options.learning_rates]
    rates = ", ".join(f"{rate:g}" for rate in options.learning_rates)
    shared = {"runs": len(runs), "seeds": options.seeds, "learning_rates": rates, **what}
    shared |= provenance("experiments.bench.sweep", argv)
    check_size(Work("train", "lstm", options.seq_len, options.batch_size, INPUT_SIZE, options.hidden_size))
    folder = options.out
    with one_writer(folder):
        rows: list[dict[str, Any]] = []
        for i in range(options.rounds):
            for system in options.systems:
                if not is_installed(system):
                    how = f"pip install '{PEERS[system]}'"
                    console.print(f"{system} is not installed and left out: {how}", markup=False)
                    continue
                row = timed(system, runs, what)
                rows.append({"system": system, "round": i, **row, "versions": versions(system), **shared})
                bench_report.write_table(folder / bench_report.SWEEP, pd.DataFrame(rows))
                console.print(f"{system}, {row['how']}: {row['wall_seconds']:.1f} s", markup=False)
        console.print(f"{bench_report.write_report(folder)}")


def timed(system: str, runs: Sequence[tuple[int, float]], what: dict[str, Any]) -> dict[str, Any]:
    """The seconds one system takes for these runs (seed, learning rate).

    Raises:
      ValueError: it failed.
    """
    cores = num_cores()
    parts = [runs] if system == REFERENCE else [runs[i::cores] for i in range(cores)]
    begin = time.perf_counter()
    with ExitStack() as stack:
        workers = [stack.enter_context(closing(Worker(system))) for _ in parts]
        for worker, part in zip(workers, parts, strict=True):
            worker.send("sweep", runs=part, **what)
        answers = [worker.answer() for worker in workers]
        seconds = time.perf_counter() - begin
    for answer in answers:
        if "error" in answer:
            raise ValueError(f"{system}: {answer['error']}")
    return {
        "how": HOW[system].format(cores),
        "wall_seconds": seconds,
        "compile_seconds": max(answer["compile_seconds"] for answer in answers),
        "loss": float(np.median([loss for answer in answers for loss in answer["losses"]])),
    }
