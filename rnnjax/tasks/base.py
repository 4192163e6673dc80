"""What a task is, and the few losses and scores that tasks share.

A task draws (or holds) sequences, says how one output is scored, what a predictor that never looks
at the input would score (the chance level, to stand beside every figure) and when it counts as
solved. Everything here is about one example without a batch axis; batches are made by vmap.
"""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Integer, Shaped


def identity(x: Any) -> Any:
    return x


Outputs = Float[Array, "*T O"]  # the readout of a sequence's last step, [O], or of every step, [T, O]
Target = Shaped[Array, "..."]  # a class [], a value [], or classes [T]
Number = Float[Array, ""]


class Example(NamedTuple):
    """One example, unbatched. A batch is the same tuple with a leading axis on every array."""

    inputs: Float[Array | np.ndarray, "T I"]  # float32
    target: Shaped[Array | np.ndarray, "..."]  # as Target
    length: Integer[Array | np.ndarray, ""] | None = None  # true steps, where they differ; inputs 0 past it


class Task(NamedTuple):
    """A task as data and pure functions.

    `outputs` is "last" (loss and correct see the readout [O] at the sequence's own last step) or
    "all" (they see the readout [T, O] of every step). A synthetic task has `sample`, a task made of
    a data set has `splits`; the other one is None.
    """

    name: str
    seq_len: int  # the T of the paper: the lag that tables are drawn over
    num_steps: int  # steps actually fed: inputs are [num_steps, input_size]
    input_size: int
    output_size: int
    outputs: str  # "last" or "all"
    sample: Callable[[Array], Example] | None  # of a key
    loss: Callable[[Outputs, Target], Number]  # of one example
    correct: Callable[[Outputs, Target], Number]  # the share of this example that is right, in [0, 1]
    chance_loss: float  # expected loss of the best predictor that is blind to the input
    chance_accuracy: float  # expected `correct` of the best such predictor
    criterion: str  # when the task counts as solved, in words, with its source
    solved: Callable[[Any, Any], Any]  # (held-out loss, held-out accuracy) -> bool, elementwise
    splits: dict[str, Example] | None = None  # "train", "validation", "test" -> numpy, batched
    prepare_inputs: Callable = identity  # applied on the device to a batch of inputs


def check_seq_len(name: str, seq_len: Any, least: int) -> int:
    """seq_len as an int, or a ValueError that names the value and the least one allowed."""
    try:
        steps = None if isinstance(seq_len, bool) else operator.index(seq_len)
    except TypeError:
        steps = None
    if steps is None or steps < least:
        raise ValueError(f"task '{name}': seq_len is {seq_len!r}; it must be an integer of at least {least}")
    return steps


def cross_entropy(logits: Outputs, target: Target) -> Number:
    """-ln softmax(logits)[target] of logits [O], target []; the mean over steps of [T, O], [T]."""
    log_probs = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_probs, target[..., None], axis=-1))


def share_right(logits: Outputs, target: Target) -> Number:
    """Share of steps whose largest logit is the target's: 0 or 1 for [O], a mean for [T, O]."""
    return jnp.mean(jnp.argmax(logits, axis=-1) == target, dtype=jnp.float32)


def squared_error(outputs: Float[Array, "1"], target: Target) -> Number:
    """(y - target)^2 with y the single output, outputs [1]."""
    return jnp.square(outputs[0] - target)


def right_within(tolerance: float) -> Callable[[Outputs, Target], Number]:
    """`correct` of a regression: 1 where |y - target| < tolerance."""

    def correct(outputs: Float[Array, "1"], target: Target) -> Number:
        return (jnp.abs(outputs[0] - target) < tolerance).astype(jnp.float32)

    return correct


def fewer_than_1_percent_wrong(loss: Any, accuracy: Any) -> Any:
    """True where the accuracy is above 99 %; at exactly 99 % false, float32 or not. NaN: false."""
    return accuracy > 0.99 + 1e-6


CLASSIFICATION_CRITERION = (
    "fewer than 1 % of the held-out sequences classified wrongly (Pascanu, Mikolov & Bengio 2013, section 4.1)"
)
