"""The tangent space of a carry: its real coordinates."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell, dtype_of


class Coordinates(NamedTuple):
    """Real coordinates of one carry without batch axes.

    All real leaves joined, a complex leaf as its real and imaginary parts; integer leaves have no tangent and no
    coordinate.
    """

    size: int  # D
    to_vector: Callable[[Any], Array]  # carry -> [D]
    from_vector: Callable[[Array, Any], Any]  # ([D], carry) -> carry; leaves without coordinates are those of `carry`


def coordinates(carry: Any) -> Coordinates:
    """Coordinates of carries shaped like this one.

    Raises:
      ValueError: a carry without a single real or complex entry.
    """
    leaves, structure = jax.tree.flatten(carry)
    chosen = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    twice = {i: jnp.issubdtype(leaves[i].dtype, jnp.complexfloating) for i in chosen}
    sizes = [leaves[i].size * (2 if twice[i] else 1) for i in chosen]
    if not sum(sizes):
        raise ValueError("the carry of this cell has no real entry, so nothing a gradient could travel through")
    dtype = jnp.result_type(*(_real_dtype(leaves[i]) for i in chosen))

    def to_vector(carry: Any) -> Array:
        leaves = jax.tree.leaves(carry)
        parts = [
            part.ravel().astype(dtype)
            for i in chosen
            for part in ((leaves[i].real, leaves[i].imag) if twice[i] else (leaves[i],))
        ]
        return jnp.concatenate(parts)

    def from_vector(vector: Array, carry: Any) -> Any:
        leaves = jax.tree.leaves(carry)
        start = 0
        for i, size in zip(chosen, sizes, strict=True):
            part = vector[start : start + size].astype(_real_dtype(leaves[i]))
            start += size
            if twice[i]:
                real, imaginary = jnp.split(part, 2)
                part = lax.complex(real, imaginary)
            leaves[i] = part.reshape(leaves[i].shape)
        return jax.tree.unflatten(structure, leaves)

    return Coordinates(sum(sizes), to_vector, from_vector)


def state_size(cell: Cell, params: Any) -> int:
    """D, the real entries of one example's carry: as many singular values and Lyapunov exponents as a cell has."""
    return coordinates(jax.eval_shape(lambda params: cell.initial_carry(params, ()), params)).size


def has_tangent(leaf: Array) -> bool:
    """Whether a leaf of a carry has a gradient: real and complex numbers do, integers do not."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def inexact(tree: Any) -> tuple[list[Array], Callable[[list[Array]], Any]]:
    """The leaves of a tree that have a gradient, and the function that puts them back among the others."""
    leaves, structure = jax.tree.flatten(tree)
    where = [i for i, leaf in enumerate(leaves) if has_tangent(leaf)]

    def rebuild(chosen: list[Array]) -> Any:
        whole = list(leaves)
        for i, leaf in zip(where, chosen, strict=True):
            whole[i] = leaf
        return jax.tree.unflatten(structure, whole)

    return [leaves[i] for i in where], rebuild


def _real_dtype(leaf: Any) -> Any:
    return jnp.finfo(leaf.dtype).dtype


def as_map(cell: Cell, p: Any, space: Coordinates, carry: Any, x: Array) -> Callable[[Array], tuple[Array, Any]]:
    """One step from a carry as a map of its coordinates, [D] -> ([D], new carry), to be differentiated with has_aux."""

    def step(vector: Array) -> tuple[Array, Any]:
        new, _ = cell.step(p, space.from_vector(vector, carry), cell.project(p, x))
        return space.to_vector(new), new

    return step


class OneByOne(NamedTuple):
    """A cell over xs, taken apart into examples without batch axes."""

    p: Any  # prepared parameters
    xs: Array  # [T, N, I], all batch axes in one
    carries: Any  # leaves [N, ...], to start from
    space: Coordinates
    batch_shape: tuple[int, ...]

    def each(self, function: Callable[[Any, Array], Any]) -> Any:
        """function(carry, xs [T, I]) of every example, results [*B, ...]."""
        results = jax.vmap(function, (0, 1))(self.carries, self.xs)
        return jax.tree.map(lambda a: a.reshape(*self.batch_shape, *a.shape[1:]), results)


def one_by_one(cell: Cell, params: Any, xs: Array, carry: Any) -> OneByOne:
    """xs [T, *B, I] and a carry [*B, ...] (None: the initial one), ready for `OneByOne.each`; evaluation."""
    xs = jnp.asarray(xs)
    if not isinstance(cell, Cell):
        raise ValueError(f"a Jacobian is of a Cell, such as lstm(64) or a stack of cells; got {cell!r}")
    if xs.ndim < 2:
        raise ValueError(f"xs must be [T, *batch, input_size], got shape {xs.shape}")
    if jnp.issubdtype(xs.dtype, jnp.floating):
        xs = xs.astype(dtype_of(params))
    batch_shape = xs.shape[1:-1]
    one = jax.eval_shape(lambda params: cell.initial_carry(params, ()), params)
    if carry is None:
        carry = cell.initial_carry(params, batch_shape)
    flat = jax.tree.map(lambda leaf, like: jnp.reshape(leaf, (math.prod(batch_shape), *like.shape)), carry, one)
    p = cell.prepare(params, None, xs.shape[-1:])
    return OneByOne(p, xs.reshape(xs.shape[0], -1, xs.shape[-1]), flat, coordinates(one), batch_shape)


def check_count(what: str, count: int, size: int) -> None:
    """Raise ValueError for a number of directions that does not fit a tangent space of `size` dimensions."""
    if not isinstance(count, int) or not 1 <= count <= size:
        raise ValueError(f"{what}={count!r} must be a whole number from 1 to {size}, the real entries of the carry")
