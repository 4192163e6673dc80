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


def check_params(params: Any, wanted: Any, whose: str) -> None:
    """Raise ValueError for params of another structure or of other shapes than those `whose` init returns."""
    structures: Any = jax.tree.structure(params), jax.tree.structure(wanted)
    given, needed = structures
    if given != needed:
        raise ValueError(f"the params have the structure {given}, but those of {whose} have {needed}")
    leaves = jax.tree.leaves_with_path(wanted)
    for array, (path, leaf) in zip(jax.tree.leaves(params), leaves, strict=True):
        if jnp.shape(array) != leaf.shape:
            where = jax.tree_util.keystr(path)
            raise ValueError(f"params{where} has shape {jnp.shape(array)}, but {whose} needs {leaf.shape}")
