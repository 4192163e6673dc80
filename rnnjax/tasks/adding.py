"""The adding problem: sum two marked numbers of a long sequence of numbers. Three versions.

Inputs [T, 2]: a random value and a marker. The target is a (scaled) sum of the two marked values,
the loss the squared error of the readout at the last step. The versions differ in where the markers
stand and in the range of the values; figures of one are not figures of another.

A sequence is right when its error is below 4 % of the target's range: 0.04 for a target in [0, 1]
(Hochreiter & Schmidhuber 1997, section 5.4), hence 0.08 for a sum in [0, 2].
"""

import jax
import jax.numpy as jnp

from rnnjax.tasks.base import (
    Example,
    Task,
    check_seq_len,
    fewer_than_1_percent_wrong,
    right_within,
    squared_error,
)

CRITERION = (
    "fewer than 1 % of the held-out sequences off by {tolerance} or more, 4 % of the target's "
    "range (4 %: Hochreiter & Schmidhuber 1997, section 5.4; 1 %: Pascanu, Mikolov & Bengio 2013)"
)


def adding(seq_len: int) -> Task:
    """One marker in each half of the sequence.

        values ~ U[0, 1];  i ~ U{0 .. T/2 - 1},  j ~ U{T/2 .. T - 1}
        marker = 1 at i and j, 0 elsewhere;  target = value_i + value_j

    Chance: the best constant for the squared error is the mean, 1, and its loss is the variance of
    a sum of two uniforms, 2/12 = 1/6. The sum has density 1 - |s - 1| on [0, 2], so the constant 1
    is right with probability 1 - (1 - 0.08)^2 = 0.1536, and no other constant more often.

    Reference: Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, section 5.2 (one marker per half);
    Le, Jaitly & Hinton 2015, arXiv:1504.00941, section 4.1.
    """
    T = check_seq_len("adding", seq_len, 2)

    def positions(key):
        key_first, key_second = jax.random.split(key)
        first = jax.random.randint(key_first, (), 0, T // 2)
        return first, jax.random.randint(key_second, (), T // 2, T)

    return _sum_of_two("adding", T, positions)


def adding_anywhere(seq_len: int) -> Task:
    """Both markers anywhere, at two different positions.

        values ~ U[0, 1];  {i, j} a uniform pair of distinct positions
        marker = 1 at i and j, 0 elsewhere;  target = value_i + value_j

    Chance: as for one marker per half, 1/6 and 0.1536.

    Reference: Bai, Kolter & Koltun 2018, arXiv:1803.01271, section 5 (and its published code).
    """
    T = check_seq_len("adding_anywhere", seq_len, 2)

    def positions(key):
        key_first, key_second = jax.random.split(key)
        first = jax.random.randint(key_first, (), 0, T)
        return first, _skip(jax.random.randint(key_second, (), 0, T - 1), first)

    return _sum_of_two("adding_anywhere", T, positions)


def adding_1997(seq_len: int) -> Task:
    """The original adding problem: random length, signed values, both markers in the first half.

        length ~ U{T .. T + T/10};  values ~ U[-1, 1]
        i ~ uniform among the first 10 pairs
        j ~ uniform among the first M = T/2 - 1 pairs still unmarked
        marker = 1 at i and j, else -1 at the first and the last pair, else 0
        target = 0.5 + (X1 + X2)/4,  X1 = value_i, X2 = value_j

    A first pair that gets marked has its value set to zero. (The paper says so of X1; here it holds
    for X2 as well. The zero is in the input too, so the target is always the sum of what is
    marked, and that pair keeps the marker 1.) T/2 and T/10 are rounded down.

    Chance: X1 and X2 are symmetric and uncorrelated, each with variance 1/3 unless it is the zeroed
    one. With q = 1/10 + (9/10)/M the probability that the first pair is marked, the best constant
    is 0.5 and its loss (2 - q)/3/16, near 0.0392 for large T. It is right where |X1 + X2| < 0.16:
    with probability 1 - (1 - 0.08)^2 = 0.1536 for two values, 0.16 for one.

    Reference: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 5.4 (experiment 4).
    """
    name, tolerance = "adding_1997", 0.04
    T = check_seq_len(name, seq_len, 11)  # below it a marker could fall on the last pair
    num_steps, num_second = T + T // 10, T // 2 - 1
    steps = jnp.arange(num_steps)

    def sample(key):
        key_values, key_length, key_first, key_second = jax.random.split(key, 4)
        length = jax.random.randint(key_length, (), T, num_steps + 1)
        first = jax.random.randint(key_first, (), 0, 10)
        second = _skip(jax.random.randint(key_second, (), 0, num_second), first)
        marked = (steps == first) | (steps == second)
        ends = (steps == 0) | (steps == length - 1)
        markers = jnp.where(marked, 1.0, jnp.where(ends, -1.0, 0.0))
        values = jax.random.uniform(key_values, (num_steps,), minval=-1.0, maxval=1.0)
        values = jnp.where(marked & (steps == 0), 0.0, values)
        inputs = jnp.stack([values, markers], axis=-1) * (steps < length)[:, None]
        return Example(inputs, 0.5 + jnp.sum(values, where=marked) / 4, length)

    one_zero = 1 / 10 + (9 / 10) / num_second
    return Task(
        name=name,
        seq_len=T,
        num_steps=num_steps,
        input_size=2,
        output_size=1,
        outputs="last",
        sample=sample,
        loss=squared_error,
        correct=right_within(tolerance),
        chance_loss=(2 - one_zero) / 3 / 16,
        chance_accuracy=(1 - one_zero) * (1 - (1 - 2 * tolerance) ** 2) + one_zero * 4 * tolerance,
        criterion=CRITERION.format(tolerance=tolerance),
        solved=fewer_than_1_percent_wrong,
    )


def _skip(index, taken):
    """The index-th of the positions 0, 1, 2, ... without `taken`."""
    return index + (index >= taken)


def _sum_of_two(name: str, T: int, positions) -> Task:
    """Values U[0, 1] and 0/1 markers at the two `positions(key)`; target their plain sum."""
    steps, tolerance = jnp.arange(T), 0.08

    def sample(key):
        key_values, key_positions = jax.random.split(key)
        values = jax.random.uniform(key_values, (T,))
        first, second = positions(key_positions)
        marked = (steps == first) | (steps == second)
        inputs = jnp.stack([values, marked.astype(values.dtype)], axis=-1)
        return Example(inputs, jnp.sum(values, where=marked))

    return Task(
        name=name,
        seq_len=T,
        num_steps=T,
        input_size=2,
        output_size=1,
        outputs="last",
        sample=sample,
        loss=squared_error,
        correct=right_within(tolerance),
        chance_loss=1 / 6,
        chance_accuracy=1 - (1 - tolerance) ** 2,
        criterion=CRITERION.format(tolerance=tolerance),
        solved=fewer_than_1_percent_wrong,
    )
