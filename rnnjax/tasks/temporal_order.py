"""Temporal order: in which order did a few X and Y come, far apart among distractors?"""

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

ALPHABET = "abcdXYEB"  # one-hot of 8 in this order
NUM_DISTRACTORS = 4  # a b c d
X, E, B = (ALPHABET.index(symbol) for symbol in "XEB")  # Y is X + 1

TWO_WINDOWS = ((10, 20), (50, 60))  # first and last position of each X or Y at T = 100
THREE_WINDOWS = ((10, 20), (33, 43), (66, 76))


def temporal_order(seq_len: int) -> Task:
    """Task 6a: two relevant symbols, four classes XX, XY, YX, YY (the paper's Q R S U) = 0 .. 3.

        length ~ U{T .. T + T/10};  t1 ~ U{10 .. 20},  t2 ~ U{50 .. 60}  times T/100
        symbol 0 is E, the last is B, those at t1 and t2 are X or Y, the others are of a b c d

    Positions count from 0 (the paper does not say), bounds are inclusive, and for T other than 100
    they are scaled by T/100 and rounded down. The loss is the cross-entropy of a softmax at the
    last step (the paper: squared error of logistic outputs, right when all are within 0.3).

    Chance: ln 4, and one in 4 is right.

    Reference: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 5.6 (experiment 6a).
    """
    return _order("temporal_order", seq_len, TWO_WINDOWS)


def temporal_order_3(seq_len: int) -> Task:
    """Task 6b: three relevant symbols, eight classes XXX, XXY, .. YYY (Q R S U V A B C) = 0 .. 7.

        as 6a, with t1 ~ U{10 .. 20},  t2 ~ U{33 .. 43},  t3 ~ U{66 .. 76}  times T/100

    Chance: ln 8, and one in 8 is right.

    Reference: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 5.6 (experiment 6b).
    """
    return _order("temporal_order_3", seq_len, THREE_WINDOWS)


def _order(name: str, seq_len: int, windows) -> Task:
    T = check_seq_len(name, seq_len, 10)  # below it the first window would reach the E
    num_steps, num_classes = T + T // 10, 2 ** len(windows)
    steps = jnp.arange(num_steps)
    lows, highs = (jnp.array(bounds) * T // 100 for bounds in zip(*windows, strict=True))

    def sample(key):
        key_length, key_times, key_orders, key_noise = jax.random.split(key, 4)
        length = jax.random.randint(key_length, (), T, num_steps + 1)
        times = jax.random.randint(key_times, lows.shape, lows, highs + 1)
        is_y = jax.random.randint(key_orders, lows.shape, 0, 2)
        tokens = jax.random.randint(key_noise, (num_steps,), 0, NUM_DISTRACTORS)
        tokens = tokens.at[times].set(X + is_y).at[0].set(E).at[length - 1].set(B)
        inputs = jax.nn.one_hot(tokens, len(ALPHABET)) * (steps < length)[:, None]
        place = 2 ** jnp.arange(len(windows))[::-1]  # the first symbol weighs most
        return Example(inputs, jnp.sum(is_y * place), length)

    return Task(
        name=name,
        seq_len=T,
        num_steps=num_steps,
        input_size=len(ALPHABET),
        output_size=num_classes,
        outputs="last",
        sample=sample,
        loss=cross_entropy,
        correct=share_right,
        chance_loss=math.log(num_classes),
        chance_accuracy=1 / num_classes,
        criterion=CLASSIFICATION_CRITERION,
        solved=fewer_than_1_percent_wrong,
    )
