"""A network that foretells the next frame of a piano roll, its training and scores, and how it goes on with a piece.

    p_t = σ(W h_t + b),   loss = −1/N Σ_t Σ_k [x_{t+1,k} ln p_{t,k} + (1 − x_{t+1,k}) ln(1 − p_{t,k})]

over the keys k of each frame and all N predicted frames, which are all of every piece but its first. Two things make
up for the fact that so few keys are down: inputs are INPUT_SCALE or 0, and b begins at the log-odds of each key.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.music.settings import Settings
from experiments.shared.cells import build_cell
from experiments.shared.memory import check_memory
from rnnjax.cell import Array, Cell
from rnnjax.compiling import run_once_options
from rnnjax.data.piano_rolls import KEYS, Batch, Pieces, make_batches
from rnnjax.data.ragged import make_buckets
from rnnjax.models.model import Model, make_model
from rnnjax.training.learner import Learner, Measured, local_mesh, make_evaluate, make_learner
from rnnjax.training.optimizers import Hyper, make_optimizer, make_schedule
from rnnjax.wrappers.dropout import dropout
from rnnjax.wrappers.layers import stack

INPUT_SCALE = 5.0  # one over the standard deviation of a key that is down in 4 of 88 cases
NATS, NATS_BY_PIECE = "nats per frame", "nats per frame, mean over pieces"
NUM_WIDTHS = 2  # how many shapes of training batches are compiled
EVAL_BATCH_SIZE = 20


class Program(NamedTuple):
    """Compiled training and evaluation of one setting."""

    model: Model
    learner: Learner
    evaluate: Callable[..., tuple[Any, Any]]


def make_network(settings: Settings, num_steps: int) -> Cell:
    """A stack of cells, each in variational dropout.

    Raises:
      ValueError: an unknown cell, a size or a rate that is not allowed.
    """
    cell = build_cell(settings.cell, settings.hidden_size, num_steps)
    one = dropout(cell, outputs=settings.dropout, recurrent=settings.recurrent_dropout)
    return stack(*[one] * settings.num_layers)


def make_music_model(settings: Settings, num_steps: int) -> Model:
    """Frames [T, B, 88] -> log-odds of the keys in the next ones, [T, B, 88].

    Raises:
      ValueError: what `make_network` raises.
    """
    return make_model(make_network(settings, num_steps), KEYS, outputs="all")


def make_program(settings: Settings, num_pieces: int, num_steps: int) -> Program:
    """Everything that is compiled, for so many training pieces, the longest of num_steps."""
    model = make_music_model(settings, num_steps)

    def objective(params, carry, batch, key, data):
        return nats(model, params, batch, key).sum(), (batch.lengths.sum().astype(jnp.float32), carry)

    def measure(params, carry, batch, data):
        total, frames = nats(model, params, batch), batch.lengths.astype(jnp.float32)
        return (total.sum(), frames.sum(), (total / jnp.maximum(frames, 1)).sum(), (frames > 0).sum()), carry

    num_updates = settings.epochs * -(-num_pieces // settings.batch_size)
    rate = make_schedule("cosine", settings.learning_rate, num_updates)
    optimizer = make_optimizer(settings.optimizer, Hyper(rate, settings.clip_norm))
    check_memory(
        lambda key: model.init(key, KEYS),
        optimizer.init,
        num_steps=num_steps,
        batch_size=settings.batch_size,
        width=settings.hidden_size * settings.num_layers,
        options={
            "--hidden-size": settings.hidden_size,
            "--num-layers": settings.num_layers,
            "--batch-size": settings.batch_size,
        },
    )
    learner = make_learner(objective, optimizer, local_mesh(settings.batch_size))
    return Program(model, learner, make_evaluate(measure, local_mesh(EVAL_BATCH_SIZE)))


def nats(model: Model, params: Any, batch: Batch, key: Array | None = None) -> Array:
    """The loss of each piece, summed over keys and over its own frames: [B]."""
    rolls = jnp.moveaxis(batch.rolls, 0, 1).astype(jnp.float32)
    _, logits = model.run(params, INPUT_SCALE * rolls[:-1], None, batch.lengths, key)
    each = optax.sigmoid_binary_cross_entropy(logits, rolls[1:]).sum(axis=-1)
    return jnp.where(jnp.arange(len(each))[:, None] < batch.lengths, each, 0).sum(axis=0)


def init(model: Model, key: Array, pieces: Pieces) -> Any:
    """Parameters, with the readout's bias at the log-odds of each key in these pieces."""
    frequency = key_frequencies(pieces)
    bias = jnp.asarray(np.log(frequency / (1 - frequency)), jnp.float32)
    params = jax.jit(model.init, static_argnums=1, compiler_options=run_once_options())(key, KEYS)
    return params._replace(b=bias)


def key_frequencies(pieces: Pieces) -> np.ndarray:
    """How often each key is down, [88], as if there were one more frame with half of every key."""
    frames = np.concatenate(pieces)
    return (frames.sum(axis=0) + 0.5) / (len(frames) + 1)


def blind_score(train: Pieces, pieces: Pieces) -> dict[str, float]:
    """Both averages for one who knows how often each key is down in training, and nothing else."""
    p = key_frequencies(train)
    totals = [-(piece[1:] @ np.log(p) + (1 - piece[1:]) @ np.log(1 - p)).sum() for piece in pieces]
    frames = [len(piece) - 1 for piece in pieces]
    return {NATS: sum(totals) / sum(frames), NATS_BY_PIECE: float(np.mean(np.divide(totals, frames)))}


# --- batches ----------------------------------------------------------------------------------------------------------


def frames_of(pieces: Pieces) -> list[int]:
    """The predicted frames of each piece."""
    return [len(piece) - 1 for piece in pieces]


def epoch_batches(settings: Settings, pieces: Pieces, seed: int, epoch: int) -> list[Batch]:
    """The batches of one epoch in random order; the same for the same seed and epoch."""
    rng = np.random.default_rng([seed, epoch])
    widths = make_buckets(frames_of(pieces), NUM_WIDTHS)
    batches = list(make_batches(pieces, widths, settings.batch_size, rng.permutation(len(pieces))))
    return [batches[i] for i in rng.permutation(len(batches))]


def evaluation_batches(pieces: Pieces, widths: Sequence[int]) -> list[Batch]:
    """Every piece once, in the shapes of these widths."""
    return list(make_batches(pieces, widths, EVAL_BATCH_SIZE, range(len(pieces))))


def train_epoch(program: Program, state: Any, batches: list[Batch], key: Array) -> tuple[Any, Measured]:
    """One optimizer step a batch."""
    measured = []
    for batch in batches:
        state, one = program.learner.chunk(state, one_step(batch), 1, key, ())
        measured.append(one)
    losses, norms, first = (np.array([float(value) for value in values]) for values in zip(*measured, strict=True))
    frames = [batch.lengths.sum() for batch in batches]
    return state, Measured(np.average(losses, weights=frames), norms.max(), first[0])


def score(program: Program, params: Any, batches: list[Batch]) -> dict[str, float]:
    """Nats per frame: over all frames, and the mean over pieces of each piece's average."""
    sums = np.zeros(4)
    for batch in batches:
        sums += np.array(jax.device_get(program.evaluate(params, (), one_step(batch), 1, ())[0]))
    return {NATS: float(sums[0] / sums[1]), NATS_BY_PIECE: float(sums[2] / sums[3])}


def one_step(batch: Batch) -> Batch:
    """A batch as the only one of a chunk."""
    return Batch(batch.rolls[None], batch.lengths[None])


# --- composing --------------------------------------------------------------------------------------------------------


def compose(model: Model, params: Any, beginning: Array, num_steps: int, key: Array, temperature: float) -> Array:
    """num_steps frames [num_steps, 88] that go on from a beginning [P, 88]: each key is drawn by its own probability.

    x_{t+1,k} ~ Bernoulli(σ(logit_{t,k} / temperature))
    """
    carry, logits = model.run(params, INPUT_SCALE * beginning.astype(jnp.float32), None)

    def step(state, key):
        carry, logits = state
        x = jax.random.bernoulli(key, jax.nn.sigmoid(logits / temperature))
        carry, logits = model.run(params, INPUT_SCALE * x[None].astype(jnp.float32), carry)
        return (carry, logits[0]), x

    return lax.scan(step, (carry, logits[-1]), jax.random.split(key, num_steps))[1]
