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
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell, check_size
from rnnjax.chunks import flipped, in_chunks
from rnnjax.errors import unknown
from rnnjax.methods import Recurrence
from rnnjax.trajectory import Record, Trajectory
from rnnjax.unrolling import unroll

JACOBIAN = ("full", "diagonal")


class NotConverged(RuntimeError):
    """Newton's method did not find a trajectory, and no scan was to take its place."""


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

    Products in a narrow dtype (`matmul_dtype`) make steps of stairs, on which the iteration ends late: with bfloat16
    after about half of 60 steps. Numbers are those of a scan all the same, as residuals are taken on the same stairs.

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

    def check(self, cell: Cell) -> None:
        """Every cell; what a carry must be is seen once it is there."""

    def projects_before(self) -> bool:
        """The step is evaluated again and again, for all times at once."""
        return True

    def run(self, recurrence: Recurrence, carry: Any, inputs: Any, num_steps: int, reverse: bool) -> tuple[Any, Any]:
        options: dict[str, Any] = {"reverse": reverse, "batch_shape": recurrence.batch_shape, "method": self}
        carry, ys, _ = scan(recurrence.step, carry, inputs, num_steps, **options)
        return carry, ys


@dataclasses.dataclass(frozen=True)
class _Recorded(Newton):
    """Newton's method that hands the record on beside the carry."""

    def run(self, recurrence: Recurrence, carry: Any, inputs: Any, num_steps: int, reverse: bool) -> tuple[Any, Any]:
        options: dict[str, Any] = {"reverse": reverse, "batch_shape": recurrence.batch_shape, "method": self}
        carry, ys, record = scan(recurrence.step, carry, inputs, num_steps, **options)
        return (carry, record), ys


def solve(
    cell: Cell, params: Any, xs: Array, carry: Any = None, *, method: Newton | None = None, **options: Any
) -> Solved:
    """`unroll(cell, params, xs, carry, method=method, **options)`, and what happened."""
    recorded = _Recorded(**dataclasses.asdict(method or Newton()))
    (carry, record), ys = unroll(cell, params, xs, carry, method=recorded, **options)
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
    recurrence = Trajectory(step, carry, inputs, len(batch_shape))
    nothing = jnp.zeros((), recurrence.dtype)
    record = Record(jnp.int32(0), nothing, nothing, jnp.bool_(True))
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
