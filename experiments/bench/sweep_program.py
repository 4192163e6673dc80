"""A sweep as each system runs it: the program that asks, and what goes on within the processes."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from experiments.bench import report as bench_report
from experiments.bench.settings import SweepOptions
from experiments.bench.systems import PEERS, versions
from experiments.bench.work import REFERENCE, num_cores, start_jax
from experiments.bench.worker import Worker
from experiments.shared.one_writer import one_writer

INPUT_SIZE = 2  # of the adding task
HOW = {REFERENCE: "one program, {} devices", "torch": "{} processes of one thread"}


def compare(console: Console, options: SweepOptions, argv: Sequence[str]) -> None:
    """Time each system in turn, and write the report."""
    from experiments.bench.program import is_installed, provenance

    names = ("seq_len", "batch_size", "hidden_size", "steps", "eval_every", "examples")
    what = {name: getattr(options, name) for name in names}
    runs = [(seed, rate) for seed in range(options.seeds) for rate in options.learning_rates]
    rates = ", ".join(f"{rate:g}" for rate in options.learning_rates)
    shared = {"runs": len(runs), "seeds": options.seeds, "learning_rates": rates, **what}
    shared |= provenance("experiments.bench.sweep", argv)
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


# --- within the processes ---------------------------------------------------------------------------------------------


def run(system: str, runs: Sequence[tuple[int, float]], **what: Any) -> dict[str, Any]:
    """{"losses": the lowest validation loss of each run, "compile_seconds"}; `what` are the sizes."""
    if system == REFERENCE:
        return run_ours(runs, **what)
    return {"losses": [train_torch(seed, rate, **what) for seed, rate in runs], "compile_seconds": float("nan")}


def run_ours(
    runs: Sequence[tuple[int, float]],
    seq_len: int,
    batch_size: int,
    hidden_size: int,
    steps: int,
    eval_every: int,
    examples: int,
) -> dict[str, Any]:
    """The machinery of the sweeps, in a folder that is thrown away."""
    start_jax(num_cores())
    from experiments.sweep.record.folder import Folder
    from experiments.sweep.run import run as run_sweep
    from experiments.sweep.spec import Sweep, Trial
    from experiments.sweep.trials.plan import plan

    base = Trial(
        task="adding",
        seq_len=seq_len,
        cell="lstm",
        hidden_size=hidden_size,
        batch_size=batch_size,
        num_steps=steps,
        eval_every=eval_every,
        num_validation=examples,
        num_test=examples,
    )
    seeds, rates = (list(dict.fromkeys(values)) for values in zip(*runs, strict=True))
    sweep = Sweep("bench", "How long does it take?", "", base, {"seed": seeds, "learning_rate": rates})
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(path)
        folder.prepare(sweep, "")
        for _ in run_sweep(plan(sweep), folder):
            pass
        rows = folder.runs()
    return {"losses": rows["validation_loss"].tolist(), "compile_seconds": float(rows["compile_seconds"].max())}


def train_torch(
    seed: int,
    learning_rate: float,
    seq_len: int,
    batch_size: int,
    hidden_size: int,
    steps: int,
    eval_every: int,
    examples: int,
) -> float:
    """One run on one thread; the lowest validation loss."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    lstm, readout = torch.nn.LSTM(INPUT_SIZE, hidden_size), torch.nn.Linear(hidden_size, 1)
    optimizer = torch.optim.Adam([*lstm.parameters(), *readout.parameters()], lr=learning_rate)

    def sample(count: int):
        values, time = torch.rand(seq_len, count), torch.arange(seq_len)[:, None]
        first, second = torch.randint(seq_len // 2, (count,)), torch.randint(seq_len // 2, seq_len, (count,))
        marked = ((time == first) | (time == second)).float()
        return torch.stack([values, marked], -1), (values * marked).sum(0)

    def loss_of(xs, targets):
        return (readout(lstm(xs)[0][-1])[:, 0] - targets).square().mean()

    held_out, lowest = sample(examples), float("inf")
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss_of(*sample(batch_size)).backward()
        optimizer.step()
        if step % eval_every == 0:
            with torch.inference_mode():
                lowest = min(lowest, loss_of(*held_out).item())
    return lowest
