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
# which generate all of S5: the first two change places; each moves on by one, the last to the front
GENERATORS = np.array([PERMUTATIONS.tolist().index(p) for p in ([1, 0, 2, 3, 4], [1, 2, 3, 4, 0])], np.int32)


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

    return _tracking(name, T, sample, 2, 2, chance_loss=math.log(2), chance_accuracy=0.5)


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
    return _word_problem("s5_products", seq_len, np.arange(len(PRODUCT)))


def s5_words(seq_len: int) -> Task:
    """As `s5_products`, with elements drawn from two that generate S5: a swap of two things and a turn of all five.

        x_1 .. x_T ~ U{(1 2), (1 2 3 4 5)}
        inputs  x_t, one-hot of 2;   target  x_1 x_2 .. x_t, one of 120, at every step

    As hard in the long run, since a few of these make any element, and learnt much sooner: two rules instead of 120.

    Chance: at step t a product p has a probability P_t(p) that a walk through the group gives exactly. The best that
    does not look at the input answers with P_t: the loss is the mean over steps of its entropy, the accuracy that of
    its largest value. From two products at the first step they come near to ln 120 and one in 120.

    Reference: as `s5_products`; fewer elements as in Grazzi et al. 2025, arXiv:2411.12537, section 5.2, where they are
    the swaps, or four; these two are this project's own.
    """
    return _word_problem("s5_words", seq_len, GENERATORS)


def _word_problem(name: str, seq_len: int, alphabet: np.ndarray) -> Task:
    """The running products of elements drawn from an alphabet, [n] indices of S5."""
    T = check_seq_len(name, seq_len, 1)
    product, elements = jnp.asarray(PRODUCT), jnp.asarray(alphabet)

    def sample(key):
        symbols = jax.random.randint(key, (T,), 0, len(alphabet))
        products = lax.associative_scan(lambda a, b: product[a, b], elements[symbols])
        return Example(jax.nn.one_hot(symbols, len(alphabet)), products)

    walk = walk_distribution(alphabet, T)
    entropy = -np.sum(walk * np.log(np.where(walk > 0, walk, 1.0)), axis=1)
    return _tracking(name, T, sample, len(alphabet), len(PRODUCT), entropy.mean(), walk.max(axis=1).mean())


def walk_distribution(alphabet: np.ndarray, num_steps: int) -> np.ndarray:
    """How probable each product [T, 120] of the first t of uniform elements of an alphabet is."""
    before = np.arange(len(PRODUCT))[:, None]
    step = np.zeros(PRODUCT.shape)
    step[before, PRODUCT[:, alphabet]] = 1 / len(alphabet)
    distributions = [np.eye(len(PRODUCT))[0]]  # the identity
    for _ in range(num_steps):
        distributions.append(distributions[-1] @ step)
    return np.stack(distributions[1:])


def _tracking(name, num_steps, sample, num_symbols, num_states, chance_loss, chance_accuracy) -> Task:
    """A task that wants the state at every step."""
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
        chance_loss=float(chance_loss),
        chance_accuracy=float(chance_accuracy),
        criterion=CRITERION,
        solved=fewer_than_1_percent_wrong,
    )
