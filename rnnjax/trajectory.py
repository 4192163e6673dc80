"""A step as a function of vectors at all times at once: residuals, Jacobians, and the root that Newton's method finds.

newton.py says what is solved, and when it counts as found; `method` here is its `Newton`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.cell import Array, name
from rnnjax.jaxprs import evaluate, outputs_from
from rnnjax.linear import all_at_once, one_by_one

ROUNDINGS = 8  # the default tolerance: at the root 1 to 5 were found, with up to 128 units, for each step rounds itself


class Record(NamedTuple):
    """What happened; with chunks in all of them together."""

    iterations: Array  # [], of all chunks added up
    residual: Array  # [], the largest |f_t(s_{t-1}) - s_t|, relative as in `Newton.tolerance`
    growth: Array  # [], how many roundings it becomes when each step makes one, at the largest; see `Newton`
    converged: Array  # [], boolean; if not, the numbers are those of a scan, or NaN without `fallback`


class Theta(NamedTuple):
    """All that a trajectory depends on."""

    start: Array  # [*B, D]
    consts: list[Array]  # what the step closes over
    others: list[Array]  # leaves of the carry that are not real, before each step, [T, *B, ...]
    inputs: list[Array]  # [T, ...]


def _before(theta: Theta, states: Array) -> Array:
    """s_0, ..., s_{T-1}."""
    return jnp.concatenate([theta.start[None], states[:-1]])


class Trajectory:
    """A step as a function of vectors: s_t = f(s_{t-1}) with s [*B, D], at all times at once."""

    def __init__(self, step: Callable, carry: Any, inputs: Any, batch_axes: int) -> None:
        leaves, self.structure = jax.tree.flatten(jax.tree.map(jnp.asarray, carry))
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), inputs)
        closed, (made, self.ys) = jax.make_jaxpr(step, return_shape=True)(carry, one)
        after: Any = jax.tree.structure(made)
        if after != self.structure:
            raise ValueError(f"a step returns the carry {after}, but takes {self.structure}")
        self.jaxpr, self.consts = closed.jaxpr, closed.consts
        self.chosen = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        self.rest = [i for i in range(len(leaves)) if i not in self.chosen]
        self.shapes = [leaves[i].shape[batch_axes:] for i in self.chosen]
        self.dtypes = [leaves[i].dtype for i in self.chosen]
        self.sizes = [
            math.prod(shape) * (2 if jnp.issubdtype(dtype, jnp.complexfloating) else 1)
            for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        ]
        if not sum(self.sizes):
            raise ValueError("Newton's method is for carries with real entries, and this one has none")
        self.dtype = jnp.result_type(*(jnp.finfo(dtype).dtype for dtype in self.dtypes))
        if dependent := self._dependent():
            raise ValueError(
                f"Newton's method needs derivatives by all that the carry hands on, and leaf {dependent[0]} of dtype "
                f"{leaves[dependent[0]].dtype} is made of real ones: use method=Scan()"
            )

    def _dependent(self) -> list[int]:
        """The leaves that are not real and yet follow from some that are."""
        return [i for i in outputs_from(self.jaxpr, self.chosen) if i in self.rest]

    def to_vector(self, leaves: list[Array], lead: tuple[int, ...]) -> Array:
        """The real leaves side by side, [*lead, D]."""
        parts = []
        for i in self.chosen:
            flat = leaves[i].reshape(*lead, -1)
            parts += [flat.real, flat.imag] if jnp.iscomplexobj(flat) else [flat]
        return jnp.concatenate([part.astype(self.dtype) for part in parts], axis=-1)

    def from_vector(self, vector: Array, others: list[Array]) -> list[Array]:
        """All leaves of the carry, from the real ones side by side and the others."""
        leaves = dict(zip(self.rest, others, strict=True))
        parts = jnp.split(vector, np.cumsum(self.sizes)[:-1], axis=-1)
        for i, part, shape, dtype in zip(self.chosen, parts, self.shapes, self.dtypes, strict=True):
            if jnp.issubdtype(dtype, jnp.complexfloating):
                part = lax.complex(*jnp.split(part, 2, axis=-1))
            leaves[i] = part.reshape(*vector.shape[:-1], *shape).astype(dtype)
        return [leaves[i] for i in range(len(leaves))]

    def one(self, consts: list, vector: Array, others: list, inputs: list) -> tuple[Array, list]:
        """(s_t, the others), y_t as leaves."""
        out = list(evaluate(self.jaxpr, consts, *self.from_vector(vector, others), *inputs))
        return self.to_vector(out, vector.shape[:-1]), out

    def at(self, theta: Theta, states: Array) -> tuple[Array, list]:
        """f_t(s_{t-1}) [T, *B, D] for all t, and all that the steps return."""
        each = jax.vmap(lambda *args: self.one(theta.consts, *args))
        return each(_before(theta, states), theta.others, theta.inputs)

    def jacobian(self, theta: Theta, states: Array, kind: str) -> Array:
        """J_t [T, *B, D, D], or its diagonal [T, *B, D]: one product with a tangent for each entry of s.

        As no example sees another, a tangent may move the same entry of all examples and of all times at once.
        """
        before = _before(theta, states)
        each, size = jax.vmap(lambda *args: self.one(theta.consts, *args)[0]), before.shape[-1]

        def column(entry: Array) -> Array:
            direction = jnp.broadcast_to((jnp.arange(size) == entry).astype(before.dtype), before.shape)
            return jax.jvp(lambda before: each(before, theta.others, theta.inputs), (before,), (direction,))[1]

        if kind == "full":
            return jax.vmap(column, out_axes=-1)(jnp.arange(size))
        diagonal = lax.map(lambda entry: jnp.take(column(entry), entry, axis=-1), jnp.arange(size))
        return jnp.moveaxis(diagonal, 0, -1)

    def scale(self, theta: Theta, states: Array) -> Array:
        """The largest entry of a leaf before or after a step, [T, *B, D]: what its roundings are a share of."""
        size = jnp.maximum(_finite(jnp.abs(states)), _finite(jnp.abs(_before(theta, states))))
        parts = jnp.split(jnp.maximum(size, jnp.finfo(self.dtype).tiny), np.cumsum(self.sizes)[:-1], axis=-1)
        return jnp.concatenate(
            [jnp.broadcast_to(jnp.max(part, axis=-1, keepdims=True, initial=0), part.shape) for part in parts], axis=-1
        )

    def iterate(self, theta: Theta, method: Any) -> tuple[Array, Record]:
        """A root, states [T, *B, D], from the guess that nothing changes."""
        tolerance = method.tolerance or ROUNDINGS * float(jnp.finfo(self.dtype).eps)
        most = math.sqrt(tolerance) / float(jnp.finfo(self.dtype).eps)

        going = lambda state: ~state[2].converged & (state[2].iterations < method.max_iterations)

        def iteration(state: tuple) -> tuple:
            states, found, last = state
            J = self.jacobian(theta, states, method.jacobian)
            if method.damping:
                J = jnp.where(last.residual <= math.sqrt(tolerance), J, (1 - method.damping) * J)
            size = self.scale(theta, found)
            both = all_at_once(J, jnp.stack([_minus(found, states), size * signs], axis=-1))
            moved, grown = jnp.moveaxis(both, -1, 0)
            # Products of many Jacobians may overflow far from the root. What does is taken from the step before it.
            states = jnp.where(jnp.isfinite(states + moved), states + moved, jnp.where(jnp.isnan(found), 0, found))
            growth = jnp.max(jnp.abs(grown) / size)
            found, _ = self.at(theta, states)
            residual = jnp.max(jnp.abs(_minus(found, states)) / self.scale(theta, found))
            converged = (residual <= tolerance) & (growth <= most)  # a NaN is none
            return states, found, Record(last.iterations + 1, residual, growth, converged)

        times = len(theta.inputs[0])
        guess = jnp.broadcast_to(_finite(theta.start), (times, *theta.start.shape))  # a carry may start at -inf
        signs = jax.random.rademacher(jax.random.key(0), guess.shape, self.dtype)
        found, _ = self.at(theta, guess)
        far = jnp.array(jnp.inf, self.dtype)
        state = guess, found, Record(jnp.int32(0), far, far, jnp.bool_(False))
        states, _, record = lax.while_loop(going, iteration, state)
        if method.fallback:
            states = lax.cond(record.converged, lambda: states, lambda: self.by_steps(theta))
        return states, record

    def by_steps(self, theta: Theta) -> Array:
        def step(before: Array, at: tuple) -> tuple[Array, Array]:
            after, _ = self.one(theta.consts, before, *at)
            return after, after

        return lax.scan(step, theta.start, (theta.others, theta.inputs))[1]

    def trajectory(self, theta: Theta, method: Any) -> tuple[Array, Record]:
        """The root, with the derivative that the module's docstring derives."""

        @jax.custom_jvp
        def root(theta: Theta) -> tuple[Array, Record]:
            return self.iterate(theta, method)

        @root.defjvp
        def tangent(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
            (theta,), (dtheta,) = primals, tangents
            states, record = root(theta)
            states = name(states, "trajectory")
            _, added = jax.jvp(lambda theta: self.at(theta, states)[0], (theta,), (dtheta,))
            J = self.jacobian(theta, states, "full")
            # Where Newton failed, products of Jacobians may overflow: the tangent then goes step by step as well.
            calm = jnp.where(record.converged, J, 0)
            dstates = lax.cond(
                record.converged, lambda r: all_at_once(calm, r[..., None])[..., 0], lambda r: one_by_one(J, r), added
            )
            still, none = jnp.zeros_like(record.residual), _no_tangent()
            return (states, record), (dstates, Record(none, still, still, none))

        return root(theta)

    def solve(self, carry: Any, inputs: Any, method: Any) -> tuple[Any, Any, Record]:
        leaves = jax.tree.leaves(carry)
        lead = leaves[self.chosen[0]].shape[: leaves[self.chosen[0]].ndim - len(self.shapes[0])]
        start, inputs = self.to_vector(leaves, lead), jax.tree.leaves(inputs)

        def step(others: list, inputs: list) -> tuple[list, list]:
            _, out = self.one(self.consts, start, others, inputs)
            return [out[i] for i in self.rest], others

        _, others = lax.scan(step, [leaves[i] for i in self.rest], inputs) if self.rest else (None, [])
        theta = Theta(start, self.consts, others, inputs)
        states, record = self.trajectory(theta, method)
        _, out = self.at(theta, states)
        carry = jax.tree.unflatten(self.structure, [leaf[-1] for leaf in out[: len(leaves)]])
        return carry, jax.tree.unflatten(jax.tree.structure(self.ys), out[len(leaves) :]), record


def _no_tangent() -> Any:
    return np.zeros((), jax.dtypes.float0)


def _finite(values: Array) -> Array:
    return jnp.where(jnp.isfinite(values), values, 0)


def _minus(a: Array, b: Array) -> Array:
    """a - b, and 0 where both are the same infinity."""
    return jnp.where(a == b, 0, a - b)
