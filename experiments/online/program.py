"""Networks of all seeds learn side by side until each has ended or is given up; their figures are told and recorded."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from experiments.online.learning import NUM_TEST, TOLERANCE, Learning, make_online, side_by_side
from experiments.online.settings import Settings
from experiments.shared.cells import variant
from experiments.shared.command_line import Given
from experiments.shared.memory import check_memory
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.results import record
from rnnjax.tasks import make_task

CHUNK = 1000  # sequences between two looks
LEARNT = "sequences until it ended"
WRONG = f"wrong of {NUM_TEST:,}"
ERROR = "mean squared error"


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Train a network per seed until it is right, test, record where asked."""
    settings, options = given.settings, given.options
    check_recorded(options.out)
    begin = time.perf_counter()
    of_one = make_online(settings)
    check_memory(
        lambda key: of_one.start(key).params,
        lambda params: (),
        num_steps=settings.lag,
        batch_size=1,
        width=settings.hidden_size,
        networks=options.seeds,
        together=options.seeds,
        copies=0,
        options={"--hidden-size": settings.hidden_size, "--seeds": options.seeds, "--lag": settings.lag},
    )
    online = side_by_side(of_one)
    keys = jax.vmap(jax.random.key)(jnp.arange(options.seeds))
    train_keys, test_keys = (jax.vmap(lambda key, n=n: jax.random.fold_in(key, n))(keys) for n in (2, 3))
    state = learn(console, given.preset, settings, online.start(keys), online.run, train_keys)
    wrong, error = jax.device_get(online.test(state.params, test_keys))
    ended, sequences = np.asarray(state.ended), np.asarray(state.sequences)
    values = {
        (LEARNT, "train"): np.where(ended, sequences, np.nan),
        (WRONG, "test"): np.where(np.isfinite(error), wrong, NUM_TEST),
        (ERROR, "test"): error,
    }
    console.print(table(given.preset, settings, values))
    if options.out:
        seconds = round((time.perf_counter() - begin) / options.seeds, 2)
        num_params = sum(leaf[0].size for leaf in jax.tree.leaves(state.params))
        rows = rows_of(given, argv, values, sequences, seconds, num_params)
        console.print(f"recorded: {record(options.out, rows, title='Online learning', text=TEXT)}")


def learn(console: Console, preset: str, settings: Settings, state: Learning, run: Any, keys: jax.Array) -> Learning:
    """Go on until all have ended, or have seen as many sequences as there may be."""
    texts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "at most left")
    with Progress(*texts, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(preset, total=settings.max_sequences)
        told = 0
        for seen in range(0, settings.max_sequences, CHUNK):
            count = min(CHUNK, settings.max_sequences - seen)
            state = run(state, keys, jnp.int32(count))
            ended = int(state.ended.sum())
            text = f"{preset}: {ended} of {len(state.ended)} have ended"
            bar.update(task, completed=seen + count, description=text)
            if not console.is_terminal and (tenth := (seen + count) * 10 // settings.max_sequences) > told:
                told = tenth
                console.print(f"{text} after {seen + count:,} sequences", markup=False)
            if ended == len(state.ended):
                break
    return state


def table(preset: str, settings: Settings, values: dict[tuple[str, str], np.ndarray]) -> Table:
    """A line a seed."""
    shown = Table("seed", *(metric for metric, _ in values), title=f"{preset}: {variant(settings.cell)}")
    for seed, (sequences, wrong, error) in enumerate(zip(*values.values(), strict=True)):
        learnt = "not within " + f"{settings.max_sequences:,}" if np.isnan(sequences) else f"{int(sequences):,}"
        shown.add_row(str(seed), learnt, str(int(wrong)), f"{error:.2g}")
    return shown


def by_chance(settings: Settings) -> dict[str, float]:
    """What outputs that never look at the input make of it: the best constants for the squared error.

    Adding: the mean. Temporal order: 1/C for each of C classes, whose squared errors add up to 1 - 1/C, and which is
    never right.
    """
    task = make_task(settings.task, settings.lag)
    if task.output_size == 1:
        return {WRONG: round((1 - task.chance_accuracy) * NUM_TEST), ERROR: task.chance_loss}
    return {WRONG: NUM_TEST, ERROR: 1 - 1 / task.output_size}


def rows_of(
    given: Given,
    argv: Sequence[str],
    values: dict[tuple[str, str], np.ndarray],
    sequences: np.ndarray,
    seconds: float,
    size: int,
) -> list[dict[str, Any]]:
    """A row per metric and seed."""
    settings = given.settings
    chance = by_chance(settings)
    return [
        {
            "preset": given.label_but_cell,
            "dataset": f"{settings.task}, T = {settings.lag}",
            "cell": variant(settings.cell),
            "metric": metric,
            "split": split,
            "value": float(by_seed[seed]),
            "chance": chance.get(metric, np.nan),
            "seed": seed,
            "num_params": size,
            "num_train": int(sequences[seed]),
            "num_test": NUM_TEST,
            "wall_seconds": seconds,
            "hidden_size": settings.hidden_size,
            "learning_rate": settings.learning_rate,
            "tolerance": TOLERANCE[settings.task],
            "in_a_row": settings.in_a_row,
            "error_below": settings.error_below,
            "max_sequences": settings.max_sequences,
            **provenance("experiments.online", argv),
        }
        for (metric, split), by_seed in values.items()
        for seed in range(len(by_seed))
    ]


TEXT = f"""One sequence, one step of plain gradient descent, every sequence drawn anew (Hochreiter & Schmidhuber 1997,
Neural Computation 9(8), sections 5.4 and 5.6). By the rule of that paper training ends where the last `in_a_row`
sequences were all right and their mean squared error is below `error_below`; "{LEARNT}" has no value where a network
did not get there within `max_sequences`. The test is on {NUM_TEST:,} fresh sequences, with the weights at the end. A
sequence is right where every output is off by less than `tolerance`. Outputs are logistic units, the readout begins at
uniform(-0.1, 0.1). The paper does not say whether its error is squared; here it is. Seeds ran side by side in one
program; its seconds are shared out evenly."""
