"""python -m experiments.bench.sweep: the wall time of a sweep, 8 seeds by 3 learning rates, beside PyTorch's.

An LSTM learns the adding task, on batches drawn anew at every step, evaluated on held-out examples now and then. Ours
is what `python -m experiments.sweep` runs, from import to runs.csv: one program over all trials, spread over a device
for each core. PyTorch's are the same runs one after the other in as many processes as there are cores, of one thread
each. The time is from the start of the processes to the last result. DIR/sweep.csv is made anew.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from experiments.bench import report as bench_report
from experiments.bench.systems import PEERS, versions
from experiments.bench.work import REFERENCE, num_cores, start_jax
from experiments.bench.worker import Worker

SYSTEMS = (REFERENCE, "torch")
INPUT_SIZE = 2  # of the adding task
HOW = {REFERENCE: "one program, {} devices", "torch": "{} processes of one thread"}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m experiments.bench.sweep", description=__doc__, allow_abbrev=False)
    p.add_argument("--systems", nargs="+", default=list(SYSTEMS), metavar="NAME", help=f"of: {', '.join(SYSTEMS)}")
    p.add_argument("--steps", type=int, default=2000, metavar="N", help="of training, each run (default 2000)")
    p.add_argument("--seeds", type=int, default=8, metavar="N", help="seeds 0..N-1 (default 8)")
    p.add_argument("--learning-rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2], metavar="RATE")
    p.add_argument("--seq-len", type=int, default=192, metavar="T")
    p.add_argument("--batch-size", type=int, default=32, metavar="B")
    p.add_argument("--hidden-size", type=int, default=64, metavar="H")
    p.add_argument("--eval-every", type=int, default=200, metavar="N", help="steps between evaluations (default 200)")
    p.add_argument("--examples", type=int, default=500, metavar="N", help="held out (default 500)")
    p.add_argument("--rounds", type=int, default=1, metavar="N", help="of each system in turn (default 1)")
    p.add_argument("--out", metavar="DIR", default="results/bench")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    from experiments.shared.start import start

    return start(compare, parser(), argv)


def compare(console: Console, args: argparse.Namespace, argv: list[str]) -> None:
    from experiments.bench.main import is_installed, provenance
    from experiments.shared.one_writer import one_writer
    from rnnjax.errors import unknown

    for name in args.systems:
        if name not in SYSTEMS:
            raise ValueError(unknown("system", name, SYSTEMS))
    what = {
        name: getattr(args, name)
        for name in ("seq_len", "batch_size", "hidden_size", "steps", "eval_every", "examples")
    }
    for name, value in {**what, "seeds": args.seeds, "rounds": args.rounds}.items():
        if value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value} must be at least 1")
    if args.steps % args.eval_every:
        raise ValueError(f"--steps {args.steps} must be a multiple of --eval-every {args.eval_every}")
    runs = [(seed, rate) for seed in range(args.seeds) for rate in args.learning_rates]
    rates = ", ".join(f"{rate:g}" for rate in args.learning_rates)
    shared = {"runs": len(runs), "seeds": args.seeds, "learning_rates": rates, **what}
    shared |= provenance("experiments.bench.sweep", argv)
    folder = Path(args.out)
    with one_writer(folder):
        rows: list[dict[str, Any]] = []
        for i in range(args.rounds):
            for system in args.systems:
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
    from experiments.sweep.folder import Folder
    from experiments.sweep.plan import plan
    from experiments.sweep.run import run as run_sweep
    from experiments.sweep.spec import Sweep, Trial

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


if __name__ == "__main__":
    sys.exit(main())
