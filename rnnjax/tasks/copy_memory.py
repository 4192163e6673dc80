"""The copying memory problem: repeat ten symbols after T steps of nothing."""

import math

import jax
import jax.numpy as jnp

from rnnjax.tasks.base import (
    Example,
    Task,
    check_seq_len,
    cross_entropy,
    fewer_than_1_percent_wrong,
    share_right,
)

NUM_RECALLED = 10  # symbols to remember
NUM_SYMBOLS = 8  # they are 0 .. 7
BLANK, DELIMITER = 8, 9


def copy_memory(seq_len: int) -> Task:
    """Ten symbols, T - 1 blanks, a delimiter, ten blanks; answer the ten symbols at the end.

        inputs   s_1 .. s_10 | blank * (T - 1) | delimiter | blank * 10       one-hot of 10
        targets  blank * (T + 10)                          | s_1 .. s_10      9 classes
        s_k ~ U{0 .. 7}

    T + 20 steps. Loss: cross-entropy, the mean over all T + 20 steps. Accuracy: over the ten
    recalled symbols only, as the blanks are right from the first few updates on.

    Chance: when to answer is known without the input, so the T + 10 blanks cost nothing and each of
    the ten uniform symbols costs ln 8: 10 ln 8 / (T + 20), and one symbol in 8 is right.

    Reference: Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, section 5.1 (layout, chance level;
    10 inputs and 9 outputs as in its published code). Bai, Kolter & Koltun 2018 have the same steps
    and chance level, but their code repeats the delimiter over the last ten steps.
    """
    name = "copy_memory"
    T = check_seq_len(name, seq_len, 1)

    def sample(key):
        symbols = jax.random.randint(key, (NUM_RECALLED,), 0, NUM_SYMBOLS)
        blanks = jnp.full(T + NUM_RECALLED, BLANK)
        tokens = jnp.concatenate([symbols, blanks.at[T - 1].set(DELIMITER)])
        return Example(jax.nn.one_hot(tokens, DELIMITER + 1), jnp.concatenate([blanks, symbols]))

    def correct(outputs, target):
        return share_right(outputs[-NUM_RECALLED:], target[-NUM_RECALLED:])

    return Task(
        name=name,
        seq_len=T,
        num_steps=T + 2 * NUM_RECALLED,
        input_size=DELIMITER + 1,
        output_size=BLANK + 1,
        outputs="all",
        sample=sample,
        loss=cross_entropy,
        correct=correct,
        chance_loss=NUM_RECALLED * math.log(NUM_SYMBOLS) / (T + 2 * NUM_RECALLED),
        chance_accuracy=1 / NUM_SYMBOLS,
        criterion="fewer than 1 % of the recalled symbols of the held-out sequences wrong "
        "(the 1 % of Pascanu, Mikolov & Bengio 2013, counted by symbol)",
        solved=fewer_than_1_percent_wrong,
    )
