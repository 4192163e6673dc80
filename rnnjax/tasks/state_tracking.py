"""State tracking: name the state at every step of a machine that each symbol moves on, of two states or of 120."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.tasks.base import (
    Example,
    Task,
    check_seq_len,
    cross_entropy,
    fewer_than_1_percent_wrong,
    share_right,
)

# the elements of S5, in lexicographic order: 0 is the identity, and PERMUTATIONS[a, i] is where a puts i
PERMUTATIONS = np.array(list(itertools.permutations(range(5))), np.int32)

CRITERION = (
    "fewer than 1 % of the states of the held-out sequences wrong (the 1 % of Pascanu, Mikolov & Bengio 2013, counted "
    "by step)"
)


def group_table(permutations: np.ndarray) -> np.ndarray:
    """The products [n, n] of n permutations [n, m] in lexicographic order: at (a, b) the index of "a, then b"."""
    place = permutations.shape[1] ** np.arange(permutations.shape[1])[::-1]
    composed = np.stack([permutations[:, a] for a in permutations])  # [a, b, i]: where b puts a(i)
    return np.searchsorted(permutations @ place, composed @ place).astype(np.int32)


PRODUCT = group_table(PERMUTATIONS)


def parity(seq_len: int) -> Task:
    """T bits; after each, is the number of ones so far odd?

        x_1 .. x_T ~ U{0, 1}
        inputs  x_t, one-hot of 2;   target  (x_1 + .. + x_t) mod 2, at every step

    A state of one bit is enough. Yet with finitely many digits no recurrence hₜ = A(xₜ) hₜ₋₁ + b(xₜ) solves it at all
    lengths whose matrices A(x) have eigenvalues that are real and not negative (Grazzi et al. 2025, theorem 1).
    Loss and accuracy: over all T steps.

    Chance: the parity of any number of fair coins is one: ln 2, and half of the steps are right.

    Reference: Grazzi, Siems, Zela, Franke, Hutter & Pontil 2025, arXiv:2411.12537, sections 4.1 and 5.1 (theory; there
    the answer is wanted at the end alone, and lengths are mixed). A target at every step: Merrill, Petty & Sabharwal
    2024, arXiv:2404.08819, section 5, for any group; this one is Z2.
    """
    name = "parity"
    T = check_seq_len(name, seq_len, 1)

    def sample(key):
        bits = jax.random.bernoulli(key, shape=(T,)).astype(jnp.int32)
        return Example(jax.nn.one_hot(bits, 2), jnp.cumsum(bits) % 2)

    return _tracking(name, T, sample, num_symbols=2, num_states=2)


def s5_products(seq_len: int) -> Task:
    """T permutations of five things; after each, which permutation have they made together?

        x_1 .. x_T ~ U{the 120 elements of S5}
        inputs  x_t, one-hot of 120;   target  x_1 x_2 .. x_t, one of 120, at every step

    In a product the left factor acts first; elements are numbered in lexicographic order. The word problem of S5 is
    complete for NC¹, and recurrences that are linear in their state with diagonal matrices, or with matrices that do
    not depend on the input, stay within TC⁰, which is thought to be smaller (Merrill et al. 2024, section 4); a
    nonlinear network needs one layer.
    Loss and accuracy: over all T steps, the paper's accuracy by token.

    Chance: whatever came before, the product with a uniform element is uniform: ln 120, and one in 120 is right.

    Reference: Merrill, Petty & Sabharwal 2024, "The illusion of state in state-space models", arXiv:2404.08819,
    sections 4 and 5 (there trained on A5, A4 × Z5 and Z60, all of 60 elements; layout as there).
    """
    name = "s5_products"
    T = check_seq_len(name, seq_len, 1)
    product = jnp.asarray(PRODUCT)

    def sample(key):
        elements = jax.random.randint(key, (T,), 0, len(PRODUCT))
        products = lax.associative_scan(lambda a, b: product[a, b], elements)
        return Example(jax.nn.one_hot(elements, len(PRODUCT)), products)

    return _tracking(name, T, sample, num_symbols=len(PRODUCT), num_states=len(PRODUCT))


def _tracking(name, num_steps, sample, num_symbols, num_states) -> Task:
    """A task whose state is uniform at every step and wanted at every step."""
    return Task(
        name=name,
        seq_len=num_steps,
        num_steps=num_steps,
        input_size=num_symbols,
        output_size=num_states,
        outputs="all",
        sample=sample,
        loss=cross_entropy,
        correct=share_right,
        chance_loss=math.log(num_states),
        chance_accuracy=1 / num_states,
        criterion=CRITERION,
        solved=fewer_than_1_percent_wrong,
    )
