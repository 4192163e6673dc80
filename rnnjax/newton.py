"""Any nonlinear recurrence, parallel in time: Newton's method over the whole trajectory.

A trajectory s_1, ..., s_T of s_t = f_t(s_{t-1}) is a root of the T equations r_t = f_t(s_{t-1}) - s_t = 0. With
J_t = ∂f_t/∂s_{t-1}, all of them taken at the present guess and at once, a step of Newton's method is

    δ_t = J_t δ_{t-1} + r_t,   δ_0 = 0,        s_t ← s_t + δ_t

a recurrence linear in δ, which a parallel scan runs. After i iterations the first i states are right whatever the rest
does, so T iterations always suffice; where neighbouring states draw together (a largest Lyapunov exponent below 0) a
handful do, and where they part (chaos) nearly T are needed.

Derivative. At the root s_t(θ) = f_t(s_{t-1}(θ), θ), so that ds_t = J_t ds_{t-1} + ∂f_t dθ: once more the linear
recurrence above, with r_t replaced by what θ adds at fixed states. It is what one more Newton step with J held constant
is the derivative of, and exact however the root was found. Only this tangent is given, in terms of the root and J, both
of which can be differentiated again: forward and reverse mode and their compositions are exact too. The iteration
itself is never differentiated, and the backward pass keeps the trajectory alone.

Sources: Lim et al. 2024, arXiv:2309.12252, section 3 (DEER); Gonzalez et al. 2024, arXiv:2407.19115, sections 4.1
(diagonal Jacobians) and 4.2 and appendix A.4 (damping); Gonzalez et al. 2025, arXiv:2508.16817 (Lyapunov exponents).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Var, jaxpr_as_fun

from rnnjax.cell import Array, Cell, check_size, name
from rnnjax.errors import unknown
from rnnjax.linear import all_at_once, one_by_one
from rnnjax.unroll import flipped, in_chunks, unroll

JACOBIAN = ("full", "diagonal")
ROUNDINGS = 8  # the default tolerance: at the root 1 to 5 were found, with up to 128 units, for each step rounds itself


class NotConverged(RuntimeError):
    """Newton's method did not find a trajectory, and no scan was to take its place."""


class Record(NamedTuple):
    """What happened; with chunks in all of them together."""

    iterations: Array  # [], of all chunks added up
    residual: Array  # [], the largest |f_t(s_{t-1}) - s_t|, relative as in `Newton.tolerance`
    growth: Array  # [], how many roundings it becomes when each step makes one, at the largest; see `Newton`
    converged: Array  # [], boolean; if not, the numbers are those of a scan, or NaN without `fallback`


class Solved(NamedTuple):
    """What `unroll` returns, and what happened."""

    carry: Any
    ys: Any
    record: Record


@dataclasses.dataclass(frozen=True)
class Newton:
    """A method of `unroll`: all steps at once, by Newton's method; for any cell.

    A trajectory counts as found when every step obeys the recurrence up to rounding, as those of a scan do, and when
    that says where it runs: roundings η_t = ±ε at every step, at random, grow into no more than √tolerance by
    δ_t = J_t δ_{t-1} + η_t (8,000-fold in float32). In chaos they grow without bound, and of many trajectories that
    obey the recurrence no two agree. Where none is found, the result is a scan's (`fallback`). So numbers equal those
    of a scan up to rounding in either case, and so do derivatives of every order; the price of a failure is time.

    Memory: T B D² for D real numbers in the carry of one of B sequences, several times over while J is formed.

    Attributes:
      jacobian: "full" takes all of J_t, [D, D] for each step: D³ operations in the scan. "diagonal" its diagonal only,
        found one entry at a time with memory for T B D: more iterations, each cheaper. Derivatives always take the full
        one, for with another they would be wrong.
      damping: k in [0, 1]. Far from the root the iteration takes (1 - k) J_t in place of J_t (scale-ELK), which holds
        down the growth of long products; 0 is Newton's method, 1 is Jacobi's iteration, each state from the one before.
        From a residual of √tolerance on, where a step of Newton's squares it, nothing is damped (the paper keeps k).
      tolerance: the residual |f_t(s_{t-1}) - s_t| to be reached by every entry, as a share of the largest entry of its
        leaf of the carry before and after that step; None is 8 roundings of its dtype (1e-6 in float32).
      max_iterations: of each stretch of time; T always suffice.
      chunk: solve stretches of so many steps one after the other, which bounds memory; None is all at once.
      fallback: where no trajectory is found, run a scan (under vmap one is run in any case). Without it that is
        NotConverged, or NaN in all results where values are not known yet (inside jit).

    Products in a narrow dtype (`matmul_dtype`) make steps of stairs, on which the iteration rarely ends before T.

    Raises:
      ValueError: a field outside what is said above.
    """

    jacobian: str = "full"
    damping: float = 0.0
    tolerance: float | None = None
    max_iterations: int = 100
    chunk: int | None = None
    fallback: bool = True

    def __post_init__(self) -> None:
        if self.jacobian not in JACOBIAN:
            raise ValueError(unknown("jacobian", self.jacobian, JACOBIAN))
        if not 0.0 <= self.damping <= 1.0:
            raise ValueError(f"damping must lie in [0, 1], got {self.damping!r}")
        if self.tolerance is not None and not 0.0 < self.tolerance < 1.0:
            raise ValueError(f"tolerance must lie in (0, 1), got {self.tolerance!r}")
        check_size(max_iterations=self.max_iterations, chunk=1 if self.chunk is None else self.chunk)

    def run(
        self, step: Callable, carry: Any, inputs: Any, num_steps: int, reverse: bool, batch_shape: tuple[int, ...]
    ) -> tuple[Any, Any]:
        """`lax.scan(step, carry, inputs, num_steps, reverse)`."""
        carry, ys, _ = scan(step, carry, inputs, num_steps, reverse=reverse, batch_shape=batch_shape, method=self)
        return carry, ys


@dataclasses.dataclass(frozen=True)
class _Recorded:
    """A method that hands the record on beside the carry."""

    newton: Newton

    def run(self, *args: Any) -> tuple[Any, Any]:
        *given, reverse, batch_shape = args
        carry, ys, record = scan(*given, reverse=reverse, batch_shape=batch_shape, method=self.newton)
        return (carry, record), ys


def solve(
    cell: Cell, params: Any, xs: Array, carry: Any = None, *, method: Newton | None = None, **options: Any
) -> Solved:
    """`unroll(cell, params, xs, carry, method=method, **options)`, and what happened."""
    (carry, record), ys = unroll(cell, params, xs, carry, method=_Recorded(method or Newton()), **options)
    return Solved(carry, ys, record)


def scan(
    step: Callable,
    carry: Any,
    inputs: Any,
    num_steps: int,
    *,
    reverse: bool = False,
    batch_shape: tuple[int, ...] = (),
    method: Newton | None = None,
) -> Solved:
    """`lax.scan(step, carry, inputs, num_steps, reverse=reverse)` by Newton's method.

    Args:
      step: (carry, inputs of one step) -> (carry, y), pytrees. With a batch_shape, no example may see another.
      carry: leaves [*batch_shape, ...]. Complex entries count as two real ones. Whole numbers (a counter) are run
        first, by a scan of their own, and so may not depend on the rest.
      inputs: at least one leaf; they lead with time, [T, ...].

    Raises:
      ValueError: no inputs; a carry without real or complex entries, or with others that depend on them.
      NotConverged: without `fallback`, where values are known.
    """
    method = method or Newton()
    if not jax.tree.leaves(inputs):
        raise ValueError("Newton's method needs inputs, if only the numbers of the steps: there are none")
    recurrence = _Recurrence(step, carry, inputs, len(batch_shape))
    record = Record(jnp.int32(0), *[jnp.zeros((), recurrence.dtype)] * 2, jnp.bool_(True))
    if num_steps == 0:
        return Solved(*lax.scan(step, carry, inputs, num_steps), record)

    def stretch(state: tuple, part: Any) -> tuple[tuple, Any]:
        carry, record = state
        carry, ys, new = recurrence.solve(carry, flipped(part) if reverse else part, method)
        record = Record(
            record.iterations + new.iterations,
            jnp.maximum(record.residual, new.residual),
            jnp.maximum(record.growth, new.growth),
            record.converged & new.converged,
        )
        return (carry, record), flipped(ys) if reverse else ys

    kept = jax.checkpoint_policies.save_only_these_names("trajectory")
    stretch = jax.checkpoint(stretch, policy=kept, prevent_cse=False)
    size = min(method.chunk or num_steps, num_steps)
    (carry, record), ys = in_chunks(stretch, (carry, record), inputs, num_steps, size, reverse)
    if not method.fallback:
        carry, ys = _refused((carry, ys), record, method)
    return Solved(carry, ys, record)


def _refused(results: Any, record: Record, method: Newton) -> Any:
    """An error for what was not found where that is known, else NaN in its place."""
    try:
        failed = not record.converged
    except jax.errors.ConcretizationTypeError:
        failed = False
    if failed:
        raise NotConverged(
            f"no trajectory after {record.iterations} iterations of at most {method.max_iterations} for a stretch: the "
            f"residual is {record.residual:.1e}, and roundings grow {record.growth:.1e}-fold (in chaos without bound). "
            "Damping, a shorter chunk or more iterations may help; fallback=True runs a scan instead"
        )

    def poisoned(leaf: Array) -> Array:
        return jnp.where(record.converged, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    return jax.tree.map(poisoned, results)


class _Theta(NamedTuple):
    """All that a trajectory depends on."""

    start: Array  # [*B, D]
    consts: list[Array]  # what the step closes over
    others: list[Array]  # leaves of the carry that are not real, before each step, [T, *B, ...]
    inputs: list[Array]  # [T, ...]


def _before(theta: _Theta, states: Array) -> Array:
    """s_0, ..., s_{T-1}."""
    return jnp.concatenate([theta.start[None], states[:-1]])


class _Recurrence:
    """A step as a function of vectors: s_t = f(s_{t-1}) with s [*B, D], at all times at once."""

    def __init__(self, step: Callable, carry: Any, inputs: Any, batch_axes: int) -> None:
        leaves, self.structure = jax.tree.flatten(jax.tree.map(jnp.asarray, carry))
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), inputs)
        closed, (made, self.ys) = jax.make_jaxpr(step, return_shape=True)(carry, one)
        if jax.tree.structure(made) != self.structure:
            raise ValueError(f"a step returns the carry {jax.tree.structure(made)}, but takes {self.structure}")
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
                f"{leaves[dependent[0]].dtype} is made of real ones: use method='scan'"
            )

    def _dependent(self) -> list[int]:
        """The leaves that are not real and yet follow from some that are."""
        reached = {self.jaxpr.invars[i] for i in self.chosen}
        for equation in self.jaxpr.eqns:
            if reached.intersection(atom for atom in equation.invars if isinstance(atom, Var)):
                reached.update(equation.outvars)
        return [i for i in self.rest if isinstance(self.jaxpr.outvars[i], Var) and self.jaxpr.outvars[i] in reached]

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
        out = jaxpr_as_fun(ClosedJaxpr(self.jaxpr, consts))(*self.from_vector(vector, others), *inputs)
        return self.to_vector(out, vector.shape[:-1]), out

    def at(self, theta: _Theta, states: Array) -> tuple[Array, list]:
        """f_t(s_{t-1}) [T, *B, D] for all t, and all that the steps return."""
        each = jax.vmap(lambda *args: self.one(theta.consts, *args))
        return each(_before(theta, states), theta.others, theta.inputs)

    def jacobian(self, theta: _Theta, states: Array, kind: str) -> Array:
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

    def scale(self, theta: _Theta, states: Array) -> Array:
        """The largest entry of a leaf before or after a step, [T, *B, D]: what its roundings are a share of."""
        size = jnp.maximum(_finite(jnp.abs(states)), _finite(jnp.abs(_before(theta, states))))
        parts = jnp.split(jnp.maximum(size, jnp.finfo(self.dtype).tiny), np.cumsum(self.sizes)[:-1], axis=-1)
        return jnp.concatenate(
            [jnp.broadcast_to(jnp.max(part, axis=-1, keepdims=True, initial=0), part.shape) for part in parts], axis=-1
        )

    def iterate(self, theta: _Theta, method: Newton) -> tuple[Array, Record]:
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
            moved, grown = jnp.moveaxis(
                all_at_once(J, jnp.stack([_minus(found, states), size * signs], axis=-1)), -1, 0
            )
            # Products of many Jacobians may overflow far from the root. What does is taken from the step before it.
            states = jnp.where(jnp.isfinite(states + moved), states + moved, jnp.where(jnp.isnan(found), 0, found))
            growth = jnp.max(jnp.abs(grown) / size)
            found, _ = self.at(theta, states)
            residual = jnp.max(jnp.abs(_minus(found, states)) / self.scale(theta, found))
            converged = (residual <= tolerance) & (growth <= most)  # a NaN is none
            return states, found, Record(last.iterations + 1, residual, growth, converged)

        guess = jnp.broadcast_to(
            _finite(theta.start), (len(theta.inputs[0]), *theta.start.shape)
        )  # a carry may start at -inf
        signs = jax.random.rademacher(jax.random.key(0), guess.shape, self.dtype)
        found, _ = self.at(theta, guess)
        far = jnp.array(jnp.inf, self.dtype)
        state = guess, found, Record(jnp.int32(0), far, far, jnp.bool_(False))
        states, _, record = lax.while_loop(going, iteration, state)
        if method.fallback:
            states = lax.cond(record.converged, lambda: states, lambda: self.by_steps(theta))
        return states, record

    def by_steps(self, theta: _Theta) -> Array:
        def step(before: Array, at: tuple) -> tuple[Array, Array]:
            after, _ = self.one(theta.consts, before, *at)
            return after, after

        return lax.scan(step, theta.start, (theta.others, theta.inputs))[1]

    def trajectory(self, theta: _Theta, method: Newton) -> tuple[Array, Record]:
        """The root, with the derivative that the module's docstring derives."""

        @jax.custom_jvp
        def root(theta: _Theta) -> tuple[Array, Record]:
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
            still, none = jnp.zeros_like(record.residual), np.zeros((), jax.dtypes.float0)
            return (states, record), (dstates, Record(none, still, still, none))

        return root(theta)

    def solve(self, carry: Any, inputs: Any, method: Newton) -> tuple[Any, Any, Record]:
        leaves = jax.tree.leaves(carry)
        lead = leaves[self.chosen[0]].shape[: leaves[self.chosen[0]].ndim - len(self.shapes[0])]
        start, inputs = self.to_vector(leaves, lead), jax.tree.leaves(inputs)

        def step(others: list, inputs: list) -> tuple[list, list]:
            _, out = self.one(self.consts, start, others, inputs)
            return [out[i] for i in self.rest], others

        _, others = lax.scan(step, [leaves[i] for i in self.rest], inputs) if self.rest else (None, [])
        theta = _Theta(start, self.consts, others, inputs)
        states, record = self.trajectory(theta, method)
        _, out = self.at(theta, states)
        carry = jax.tree.unflatten(self.structure, [leaf[-1] for leaf in out[: len(leaves)]])
        return carry, jax.tree.unflatten(jax.tree.structure(self.ys), out[len(leaves) :]), record


def _finite(values: Array) -> Array:
    return jnp.where(jnp.isfinite(values), values, 0)


def _minus(a: Array, b: Array) -> Array:
    """a - b, and 0 where both are the same infinity."""
    return jnp.where(a == b, 0, a - b)
