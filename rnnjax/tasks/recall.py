"""Recall: name the first symbol of a sequence after T distractors."""

import math

import jax
import jax.numpy as jnp

from rnnjax.tasks.base import (
    CLASSIFICATION_CRITERION,
    Example,
    Task,
    check_seq_len,
    cross_entropy,
    fewer_than_1_percent_wrong,
    share_right,
)

NUM_SYMBOLS = 8  # to remember: 0 .. 7
NUM_DISTRACTORS = 8  # to ignore: 8 .. 15


def recall(seq_len: int) -> Task:
    """One symbol of 8, then T distractors of 8 others; which was it?

        s ~ U{0 .. 7};  d_1 .. d_T ~ U{8 .. 15}
        inputs  s d_1 .. d_T   one-hot of 16;   target  s, at the last step

    T + 1 steps, so the symbol stands exactly T steps before the answer. The alphabets are disjoint:
    what to store is plain at once, and the task measures holding it against noise, nothing else.

    Chance: ln 8, and one in 8 is right.

    The smallest member of the family of latch problems (Bengio, Simard & Frasconi 1994; Hochreiter
    & Schmidhuber 1997, section 5.2); alphabet sizes are this project's own.
    """
    name = "recall"
    T = check_seq_len(name, seq_len, 1)

    def sample(key):
        # one draw of bytes, 256 being a multiple of 8: random draws are most of what there is to compile
        drawn = jax.random.bits(key, (T + 1,), jnp.uint8) % NUM_SYMBOLS
        tokens = drawn.astype(jnp.int32).at[1:].add(NUM_SYMBOLS)
        return Example(jax.nn.one_hot(tokens, NUM_SYMBOLS + NUM_DISTRACTORS), tokens[0])

    return Task(
        name=name,
        seq_len=T,
        num_steps=T + 1,
        input_size=NUM_SYMBOLS + NUM_DISTRACTORS,
        output_size=NUM_SYMBOLS,
        outputs="last",
        sample=sample,
        loss=cross_entropy,
        correct=share_right,
        chance_loss=math.log(NUM_SYMBOLS),
        chance_accuracy=1 / NUM_SYMBOLS,
        criterion=CLASSIFICATION_CRITERION,
        solved=fewer_than_1_percent_wrong,
    )
