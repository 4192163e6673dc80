"""A cell held against its NumPy reference: float64, random parameters, random inputs, from a random carry."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.cell import Cell

T, B, I, H = 6, 3, 4, 5


def random_like(tree: Any, seed: int = 0) -> Any:
    """Normal float64 values of standard deviation 0.7 in the shapes of a tree: no zero and no identity stays."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return np.asarray(leaf)
        values = 0.7 * rng.normal(size=leaf.shape)
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            return values + 0.7j * rng.normal(size=leaf.shape)
        return values

    return jax.tree.map(draw, tree)


def agree(
    cell: Cell,
    reference: Callable[..., tuple[Any, np.ndarray]],
    *,
    params: Callable[[Any], Any] = random_like,
    carry: Any = None,
    input_size: int = I,
    atol: float = 1e-10,
) -> None:
    """Assert that the cell computes what its reference does: reference(params, xs [T, B, I], carry) -> (carry, ys).

    The reference gets NumPy arrays: the parameters as `cell.init` arranges them, but random, and the carry to start
    from. `params` makes the parameters from their shapes, for a cell that cannot take any numbers.
    """
    with jax.enable_x64(True):
        wide = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float64)
        shapes = jax.tree.map(wide, jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size)))
        p = params(shapes)
        xs = np.random.default_rng(2).normal(size=(T, B, input_size))
        start = random_like(cell.initial_carry(p, (B,)), seed=1) if carry is None else carry

        def run(p, carry, xs):
            prepared = cell.prepare(p, None, xs.shape[1:])
            return jax.lax.scan(lambda c, x: cell.step(prepared, c, cell.project(prepared, x)), carry, xs)

        program = jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})
        found = jax.device_get(program(p, start, xs))
        expected = reference(p, xs, start)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert a.dtype in (np.float64, np.complex128) or jnp.issubdtype(a.dtype, jnp.integer)
            np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def num_parameters(cell: Cell, input_size: int = I) -> int:
    """How many numbers `cell.init` draws."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    return sum(leaf.size for leaf in jax.tree.leaves(params))
