"""Cells of equal numbers of parameters, so that what is compared is what they do with them."""

from functools import cache

import jax

from experiments.shared.cells import build_cell

LARGEST = 256  # hidden units


@cache
def num_params(cell: str, hidden_size: int, input_size: int) -> int:
    """The parameters of a cell by its name; ValueError where it cannot have this many units."""
    made = build_cell(cell, hidden_size, LARGEST)
    shapes = jax.eval_shape(lambda: made.init(jax.random.key(0), input_size))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def equal_size(cell: str, input_size: int, wanted: int) -> int:
    """The hidden_size that brings a cell nearest to the wanted number of parameters.

    Sizes that a cell refuses (an odd number of units, say) are passed over. Parameters grow with the size, no faster
    than its square, so each guess is scaled by the root of what is missing.
    """

    def count(size: int) -> tuple[int, int]:
        """The next size the cell takes, and its parameters."""
        refused = None
        for allowed in range(size, 2 * LARGEST):
            try:
                return allowed, num_params(cell, allowed, input_size)
            except ValueError as error:
                refused = refused or error
        raise ValueError(f"no hidden_size from {size} to {2 * LARGEST} will do: {refused}") from refused

    below, above = (0, 0), None
    guess, ceiling = 16, LARGEST  # from the ceiling on, all sizes are too large
    while below[0] + 1 < ceiling:
        size, number = count(guess)
        if number <= wanted:
            below = size, number
        else:
            above, ceiling = (size, number), guess
        guess = min(max(below[0] + 1, round(size * (wanted / number) ** 0.5)), ceiling - 1)
    return min((below, above or below), key=lambda sized: abs(sized[1] - wanted))[0]
