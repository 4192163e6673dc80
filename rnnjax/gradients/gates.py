"""Gates at work: what their values are, how many are stuck, and how long what they keep is kept."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell
from rnnjax.gradients.tangents import as_map, one_by_one
from rnnjax.harvesting import harvest

STUCK = 0.1  # a gate below this, or above 1 - this, is saturated
CLEAR = 0.5  # the least correlation by which a gate is said to keep


def gates(cell: Cell, params: Any, xs: Array, **options: Any) -> dict[str, Array]:
    """Every named gate at every step, {label: [T, *B, ...]}: what `harvest` finds, pre-activations left out.

    The arguments are those of `unroll`. Whatever a cell names counts, so values need not lie in [0, 1].
    """
    found = harvest(cell, params, xs, **options)
    return {label: values for label, values in found.items() if label.split("/")[0] != "preactivation"}


class Saturation(NamedTuple):
    """Shares of the time and of the examples, by unit."""

    low: Array  # below 0.1: shut
    high: Array  # above 0.9: open


def saturation(values: Array) -> Saturation:
    """How often each unit of a gate [T, *B, H] is shut or open, [H].

    Source: Karpathy, Johnson & Fei-Fei 2015, arXiv:1506.02078, section 4.2 (left- and right-saturated gates).
    """
    axes = tuple(range(values.ndim - 1))
    return Saturation(jnp.mean(values < STUCK, axis=axes), jnp.mean(values > 1 - STUCK, axis=axes))


def histogram(values: Array, bins: int = 20) -> tuple[Array, Array]:
    """(shares [bins], edges [bins + 1]) of a gate's values over time, examples and units, within [0, 1]."""
    counts, edges = jnp.histogram(jnp.clip(values, 0, 1), bins=bins, range=(0.0, 1.0))
    return counts / jnp.maximum(values.size, 1), edges


def time_constants(values: Array, keeps: bool = True) -> Array:
    """How many steps each unit [H] keeps what it holds, 1 / (1 - f), from a gate's values [T, *B, H].

    f is the geometric mean over time and examples, for over many steps a path is the product of its gates. Where the
    gate writes instead, as the update gate of some cells does (1 - f keeps), say keeps=False. Infinite where f = 1.
    Source: Tallec & Ollivier 2018, arXiv:1804.11188, section 2.
    """
    kept = values if keeps else 1 - values
    f = jnp.exp(jnp.mean(jnp.log(jnp.maximum(kept, 0)), axis=tuple(range(values.ndim - 1))))
    return 1 / (1 - f)


class Keeping(NamedTuple):
    """A gate that decides what a state keeps of itself."""

    label: str
    keeps: bool  # 1 keeps; otherwise 1 writes, and 1 - gate keeps
    correlation: float  # by which this was told


def keeping_gates(cell: Cell, params: Any, xs: Array, *, carry: Any = None) -> list[Keeping]:
    """Which of a cell's gates keep, and which way round: found by measurement, whatever they are called.

    Unit by unit, the derivative of a new carry by the old one, ∂c_t/∂c_{t-1} on the diagonal, follows the gate that
    keeps: of an LSTM without peepholes it is the forget gate. For every leaf of the carry and every gate of its width,
    both are taken at every step and correlated over time and examples, each unit's own means left out. A gate counts
    from a correlation of ±0.5; of several that follow the same leaf, the clearest.

    The diagonal takes one Jacobian a step, so a few dozen steps and examples are enough, and all that should be given.
    A gate that never moves has no correlation and is not found. None is found where no leaf has a gate's width.
    """
    values = gates(cell, params, xs, carry=carry)
    examples = one_by_one(cell, params, xs, carry)
    space = examples.space

    def diagonals(carry: Any, xs: Array) -> Array:
        def step(carry, x):
            vector = space.to_vector(carry)
            jacobian, new = jax.jacfwd(as_map(cell, examples.p, space, carry, x), has_aux=True)(vector)
            return new, jnp.diagonal(jacobian)

        return jax.lax.scan(step, carry, xs)[1]

    diagonal = jnp.moveaxis(examples.each(diagonals), len(examples.batch_shape), 0)  # [T, *B, D]
    found: dict[str, Keeping] = {}
    start = 0
    one = jax.eval_shape(lambda: cell.initial_carry(params, ()))
    for leaf in jax.tree.leaves(one):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            continue
        size = leaf.size * (2 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else 1)
        own = diagonal[..., start : start + size]
        start += size
        close = [
            (label, float(_correlation(own, gate.reshape(*diagonal.shape[:-1], -1))))
            for label, gate in values.items()
            if gate.size == own.size
        ]
        clear = [(label, r) for label, r in close if abs(r) >= CLEAR]
        if clear:
            label, r = max(clear, key=lambda pair: abs(pair[1]))
            if label not in found or abs(r) > abs(found[label].correlation):
                found[label] = Keeping(label, r > 0, r)
    return list(found.values())


def _correlation(a: Array, b: Array) -> Array:
    axes = tuple(range(a.ndim - 1))
    a, b = (x - jnp.mean(x, axis=axes, keepdims=True) for x in (a, b))
    size = jnp.linalg.norm(a) * jnp.linalg.norm(b)
    return jnp.where(size > 0, jnp.sum(a * b) / jnp.where(size > 0, size, 1), 0.0)
