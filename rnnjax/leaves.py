"""Leaves of a carry: the real and complex ones among others, and their norm together."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def inexact_leaves(tree: Any) -> tuple[list[Array], Callable[[list[Array]], Any]]:
    """The real and complex leaves, and the way back: with others in their place, whole numbers as they were."""
    leaves, structure = jax.tree.flatten(tree)
    places = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]

    def rebuild(others: list[Array]) -> Any:
        given = dict(zip(places, others, strict=True))
        return jax.tree.unflatten(structure, [given.get(i, leaf) for i, leaf in enumerate(leaves)])

    return [leaves[i] for i in places], rebuild


def followed(y: Array, leaves: list[Array], replaced: list[Array]) -> Array:
    """The output, or, where it is one of the leaves, what has replaced that leaf."""
    return next((new for old, new in zip(leaves, replaced, strict=True) if old is y), y)


def flat(leaf: Array, axes: int) -> Array:
    return leaf.reshape(*leaf.shape[:axes], -1)


def joint_norm(leaves: list[Array], axes: int) -> Array:
    """The norm over all but the first axes, of all leaves together; its derivative at zero is zero."""
    square = sum(jnp.sum(flat(jnp.abs(leaf) ** 2, axes), axis=-1) for leaf in leaves)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
