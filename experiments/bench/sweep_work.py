"""A sweep within the process of a system: ours by the machinery of sweeps, others run by run."""

import tempfile
from collections.abc import Sequence
from typing import Any

from experiments.bench.work import REFERENCE, num_cores, start_jax

INPUT_SIZE = 2  # of the adding task


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
