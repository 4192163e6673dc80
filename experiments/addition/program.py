"""Networks that add binary numbers, trained and evaluated with all seeds side by side, recorded and asked to add."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.addition.settings import Options
from experiments.shared.cells import build_cell, variant
from experiments.shared.memory import check_memory
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.results import record
from rnnjax.models.model import Model, make_model
from rnnjax.tasks.base import Example, Task
from rnnjax.tasks.binary_addition import binary_addition, bit_logits
from rnnjax.training.optimizers import Hyper
from rnnjax.training.train import Data, Trainer, make_data, make_trainer

MAX_EXACT_BITS = 9  # up to words of this length all pairs are evaluated, 65,536; beyond, random ones
NUM_RANDOM = 4096
LONG_BITS = 16  # every network is also evaluated on words at least this long, and twice as long as its own
EVAL_BATCH_SIZE = 4096


class Trained(NamedTuple):
    """Networks of all seeds; arrays lead with an axis of seeds."""

    params: Any  # those with the lowest validation loss
    validation_loss: np.ndarray  # the lowest
    exact: np.ndarray  # [chunks, seeds], share of pairs right in every bit by the parameters after each chunk
    run_seconds: float  # of training and evaluation, compilation left out


class Network(NamedTuple):
    task: Task
    model: Model
    trainer: Trainer
    width: int  # units
    batch_size: int


# --- numbers and bits -------------------------------------------------------------------------------------------------


def to_bits(numbers: Sequence[int], num_bits: int) -> np.ndarray:
    """The bits of whole numbers of any size, least significant first: [len(numbers), num_bits]."""
    return np.array([[int(number) >> t & 1 for t in range(num_bits)] for number in numbers], np.int32)


def to_number(bits: np.ndarray) -> int:
    """The whole number of bits [T], least significant first."""
    return sum(int(bit) << t for t, bit in enumerate(bits))


def examples(pairs: Sequence[tuple[int, int]], num_bits: int) -> Example:
    """Pairs as a batch of the task, over num_bits steps."""
    first, second = zip(*pairs, strict=True)
    inputs = np.stack([to_bits(first, num_bits), to_bits(second, num_bits)], axis=-1).astype(np.float32)
    return Example(inputs, to_bits([a + b for a, b in pairs], num_bits))


def all_pairs(num_bits: int) -> Example:
    """Every pair of numbers below 2^(num_bits - 1)."""
    limit = 2 ** (num_bits - 1)
    return examples([(a, b) for a in range(limit) for b in range(limit)], num_bits)


def random_pairs(num_bits: int, count: int = NUM_RANDOM, seed: int = 0) -> Example:
    """Pairs of numbers below 2^(num_bits - 1), drawn uniformly."""
    operands = np.random.default_rng(seed).integers(0, 2, (count, 2, num_bits - 1))
    return examples([(to_number(a), to_number(b)) for a, b in operands], num_bits)


# --- training ---------------------------------------------------------------------------------------------------------


def make_network(
    cell: str, num_bits: int, hidden_size: int, optimizer: str, batch_size: int, steps_per_chunk: int
) -> Network:
    """Task, model and trainer of a cell's text.

    Raises:
      ValueError: a cell, size or optimizer that does not exist.
    """
    task = binary_addition(num_bits - 1)
    network = build_cell(cell, hidden_size, task.num_steps)
    sizes = {"batch_size": batch_size, "steps_per_chunk": steps_per_chunk, "eval_batch_size": EVAL_BATCH_SIZE}
    trainer = make_trainer(task, network, optimizer=optimizer, **sizes)
    return Network(task, make_model(network, task.output_size, outputs=task.outputs), trainer, hidden_size, batch_size)


def evaluation_pairs(num_bits: int) -> tuple[str, Example]:
    """The pairs a network is judged on, and what they are: all there are, or random ones where these are too many."""
    if num_bits <= MAX_EXACT_BITS:
        return "all pairs", all_pairs(num_bits)
    return "random pairs", random_pairs(num_bits)


def train(
    network: Network,
    seeds: Sequence[int],
    learning_rate: float,
    num_chunks: int,
    pairs: Example,
    tell: Callable[[int, np.ndarray], None] = lambda done, exact: None,
) -> Trained:
    """Train a network per seed, all in one program; `tell(chunks done, share of pairs right by seed)` after each chunk.

    Parameters are chosen by 1,000 random validation pairs; `pairs` choose nothing.
    """
    task, trainer = network.task, network.trainer
    recurrent, batch_size = network.width, network.batch_size
    check_memory(
        trainer.init,
        lambda params: trainer.start(params).optimizer,
        num_steps=task.num_steps,
        batch_size=batch_size,
        width=recurrent,
        networks=len(seeds),
        together=len(seeds),
        options={"--hidden-size": recurrent, "--batch-size": batch_size, "--bits": task.num_steps, "seeds": len(seeds)},
    )
    data = make_data(task, num_test=1)
    keys = jax.vmap(jax.random.key)(jnp.array(seeds))
    hyper = Hyper(learning_rate)

    def chunk(state, key, data: Data, pairs: Example):
        state, _ = trainer.chunk(state, key, hyper, data)
        return state, trainer.evaluate(state.params, pairs)[1]

    state = jax.vmap(lambda key: trainer.start(trainer.init(key)))(keys)
    run = jax.jit(jax.vmap(chunk, (0, 0, None, None))).lower(state, keys, data, pairs).compile()
    start = time.perf_counter()
    exact = []
    for done in range(1, num_chunks + 1):
        state, share = run(state, keys, data, pairs)
        exact.append(np.asarray(share))
        tell(done, exact[-1])
    return Trained(state.best_params, np.asarray(state.best_loss), np.stack(exact), time.perf_counter() - start)


def score(network: Network, params: Any, pairs: Example) -> np.ndarray:
    """By seed, the share of pairs whose sum is right in every bit."""
    evaluate = jax.jit(jax.vmap(lambda params, pairs: network.trainer.evaluate(params, pairs)[1], (0, None)))
    return np.asarray(evaluate(params, pairs))


def num_params(params: Any) -> int:
    """Of one seed's network."""
    return sum(leaf[0].size for leaf in jax.tree.leaves(params))


def first_solved(exact: np.ndarray, every: int) -> np.ndarray:
    """By seed, the first measured step at which all pairs are right, NaN where there is none. exact: [times, seeds]."""
    solved = exact == 1
    return np.where(solved.any(axis=0), (solved.argmax(axis=0) + 1.0) * every, np.nan)


# --- adding -----------------------------------------------------------------------------------------------------------


def add(network: Network, params: Any, pairs: Sequence[tuple[int, int]], num_bits: int = 1) -> list[np.ndarray]:
    """The bits of each sum as one network has them, as many as the sum needs and num_bits at least.

    All pairs run together over the longest: what comes after a pair's own bits cannot change them.
    """
    lengths = [max(num_bits, (a + b).bit_length()) for a, b in pairs]
    xs = jnp.moveaxis(examples(pairs, max(lengths)).inputs, 0, 1)
    bits = np.asarray(bit_logits(jax.jit(network.model.apply)(params, xs)) > 0).astype(int)
    return [bits[:length, i] for i, length in enumerate(lengths)]


def describe(pair: tuple[int, int], bits: np.ndarray) -> str:
    """Bits, most significant first as one writes them, and "a + b = c", and whether it is right."""
    a, b = pair
    predicted = to_number(bits)
    lines = [
        f"predicted  {predicted:0{len(bits)}b}",
        f"true       {a + b:0{len(bits)}b}",
        f"{a} + {b} = {predicted}" + ("   right" if predicted == a + b else f"   wrong, it is {a + b}"),
    ]
    return "\n".join(lines)


# --- the program ------------------------------------------------------------------------------------------------------


def progress(console: Console, title: str, num_chunks: int, every: int) -> tuple[Any, Callable]:
    """A bar with the time left, and the `tell` that moves it; where nothing can be drawn, a line per tenth."""
    texts = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    bar = Bar(*texts, TimeRemainingColumn(), console=console)
    task = bar.add_task(title, total=num_chunks)
    first = None  # when the first chunk was through, and compilation with it

    def tell(done: int, exact: np.ndarray) -> None:
        nonlocal first
        first = first or time.perf_counter()
        text = (
            f"{title}: step {done * every}, mean share right {exact.mean():.4f}, {(exact == 1).sum()} of {len(exact)}"
        )
        bar.update(task, completed=done, description=f"{text} perfect")
        if not console.is_terminal and done * 10 // num_chunks > (done - 1) * 10 // num_chunks:
            left = (time.perf_counter() - first) / max(done - 1, 1) * (num_chunks - done)
            console.print(f"{text} perfect" + (f", left {left:.0f} s" if done > 1 else ""), markup=False)

    return (bar if console.is_terminal else nullcontext()), tell


def run(console: Console, options: Options, argv: Sequence[str]) -> None:
    """Train, evaluate, add what is asked, record where asked."""
    check_recorded(options.out)
    pairs = list(zip(options.add[::2], options.add[1::2], strict=True))
    sizes = (options.hidden_size, options.optimizer, options.batch_size, options.eval_every)
    network = make_network(options.cell, options.bits, *sizes)
    split, held_out = evaluation_pairs(options.bits)
    num_chunks = options.num_steps // options.eval_every
    drawing, tell = progress(console, variant(options.cell), num_chunks, options.eval_every)
    with drawing:
        trained = train(network, range(options.seeds), options.learning_rate, num_chunks, held_out, tell)
    long_bits = max(LONG_BITS, 2 * options.bits)
    shares = {
        (options.bits, split): score(network, trained.params, held_out),
        (long_bits, "random pairs"): score(network, trained.params, random_pairs(long_bits)),
    }
    count = len(held_out.inputs)
    for (num_bits, which), share in shares.items():
        size = count if num_bits == options.bits else NUM_RANDOM
        console.print(
            f"words of {num_bits} bits, {which} ({size:,}): mean share right {share.mean():.4f}, "
            f"every pair right for {(share == 1).sum()} of {options.seeds} seeds"
        )
    if options.out:
        rows = [
            {
                "preset": f"{options.bits} bits",
                "dataset": f"binary_addition, {num_bits} bits",
                "cell": variant(options.cell),
                "metric": "share of pairs right",
                "split": which,
                "value": float(share[seed]),
                "chance": 2.0 ** (1 - num_bits),
                "seed": seed,
                "num_params": num_params(trained.params),
                "num_train": options.num_steps * options.batch_size,
                "num_test": count if num_bits == options.bits else NUM_RANDOM,
                "wall_seconds": round(trained.run_seconds / options.seeds, 3),
                "hidden_size": options.hidden_size,
                "optimizer": options.optimizer,
                "learning_rate": options.learning_rate,
                "batch_size": options.batch_size,
                **provenance("experiments.addition", argv),
            }
            for (num_bits, which), share in shares.items()
            for seed in range(options.seeds)
        ]
        console.print(f"recorded: {record(options.out, rows, title='Binary addition', text=TEXT)}")
    if pairs:
        best = int(np.argmin(np.nan_to_num(trained.validation_loss, nan=np.inf)))
        params = jax.tree.map(lambda leaf: leaf[best], trained.params)
        console.print(f"seed {best}, which validated best, adds:")
        for pair, bits in zip(pairs, add(network, params, pairs, options.bits), strict=True):
            console.print(describe(pair, bits), markup=False)


TEXT = """Networks learn to add binary numbers of one length and are evaluated on all pairs of that length and on longer
words, never seen in training. Parameters are those with the lowest loss on 1,000 random pairs of the training length.
Seeds ran side by side in one program; its seconds are shared out evenly."""
