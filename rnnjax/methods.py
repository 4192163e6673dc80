"""Ways to go through time: what `unroll` is given as `method`, as data.

A method is an object whose fields are checked where it is made. Frozen ones can be told apart and compared, as
`jax.jit(unroll, static_argnames="method")` needs. `unroll` knows only what stands in `Method`, so a method of one's own
needs three functions and no leave from here.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Cell, check_size
from rnnjax.chunks import checkpoint_interval, chunk_size, in_chunks
from rnnjax.engine.scan import deferred_scan
from rnnjax.errors import unknown

SAVE = ("preactivations", "nothing", "chunks", "everything")
ENGINE = ("auto", "plain", "deferred")
PROJECT = ("auto", "inside", "before")
STRETCHES_SAVE = ("preactivations", "nothing", "everything")
# Where "auto" defers weight gradients on a CPU, see Scan: up to so many sequences, if the largest parameter has at
# least so many rows and columns.
DEFERRED = ((16, 64), (256, 128))
LINEAR_KINDS = (
    "minimal gated units (mingru, minlstm), quasi-recurrent (qrnn, sru), strongly typed (t_rnn, t_gru, t_lstm), "
    "linear recurrent units (lru, rg_lru), state space models (s4d, s5, selective_ssm, ssd, longhorn, linear_lmu), "
    "oscillators (linoss_im, linoss_imex, d_linoss), matrix memories "
    "(linear_attention, gated_linear_attention, hgrn2, mlstm)"
)


class Recurrence(NamedTuple):
    """A cell at work, as `unroll` hands it to a method: lengths, resets and the projection of inputs are within.

    An `inputs` is a pytree whose leaves lead with time; its content is an affair of these functions.
    """

    step: Callable[[Any, Any], tuple[Any, Any]]  # (carry, inputs of one step) -> (carry, y [*B, O])
    stretch: Callable[[Any, Any], tuple[Any, Any]]  # (carry, inputs of C steps) -> (carry, ys [C, *B, O]); linear cells
    params: Any  # as the cell's `init` returned them
    batch_shape: tuple[int, ...]


@runtime_checkable
class Method(Protocol):
    """A way to go through time."""

    def check(self, cell: Cell) -> None:
        """Raise ValueError for a cell that this method is not for."""

    def projects_before(self) -> bool:
        """Whether inputs are to meet W for all steps at once; else it is done within `step` and `stretch`."""

    def run(self, recurrence: Recurrence, carry: Any, inputs: Any, num_steps: int, reverse: bool) -> tuple[Any, Any]:
        """What `lax.scan(recurrence.step, carry, inputs, num_steps, reverse=reverse)` returns: (carry, ys)."""


@dataclass(frozen=True)
class Scan:
    """Step by step.

    Attributes:
      save: what the forward pass keeps for the backward pass beside the carries. "preactivations" (the values so named
        by the cell; the elementwise rest is recomputed), "nothing" (each step is recomputed), "chunks" (one carry per
        about sqrt(T) steps, for very long sequences: memory grows as sqrt(T) at the price of one more forward pass), or
        "everything" (plain automatic differentiation).
      engine: how derivatives are taken. "plain" is automatic differentiation of the scan as it stands; "deferred" forms
        weight gradients outside the backward scan, for several steps at once (rnnjax/engine/), and does not go with
        save="everything". Both give the same numbers up to rounding, in every mode of differentiation. "auto" takes
        the faster one: on a CPU, "deferred" for few sequences and weights that are not small.
      project: where inputs meet W. "before" the scan in one large product (best on accelerators), "inside" the step
        (best on CPUs, where writing and re-reading [T, B, G*H] costs more than it saves), or "auto": by backend.

    Raises:
      ValueError: a field that is none of these, or two that do not go together.
    """

    save: str = "preactivations"
    engine: str = "auto"
    project: str = "auto"

    def __post_init__(self) -> None:
        _check_option("save", self.save, SAVE)
        _check_option("engine", self.engine, ENGINE)
        _check_option("project", self.project, PROJECT)
        if self.engine == "deferred" and self.save == "everything":
            raise ValueError("save='everything' is plain automatic differentiation: it needs engine='plain' or 'auto'")

    def check(self, cell: Cell) -> None:
        """Every cell goes step by step."""

    def projects_before(self) -> bool:
        return jax.default_backend() != "cpu" if self.project == "auto" else self.project == "before"

    def run(self, recurrence: Recurrence, carry: Any, inputs: Any, num_steps: int, reverse: bool) -> tuple[Any, Any]:
        step = recurrence.step
        if self.engine_for(recurrence.params, recurrence.batch_shape) == "deferred":
            return deferred_scan(step, carry, inputs, num_steps, reverse, self.save)
        if self.save == "everything":
            return lax.scan(step, carry, inputs, num_steps, reverse=reverse)
        # Inside a scan nothing can be merged across steps, so the barrier against common subexpressions only costs.
        lean_step = jax.checkpoint(step, policy=_policy(self.save), prevent_cse=False)
        if self.save != "chunks":
            return lax.scan(lean_step, carry, inputs, num_steps, reverse=reverse)

        @jax.checkpoint
        def chunk(carry: Any, part: Any) -> tuple[Any, Any]:
            return lax.scan(lean_step, carry, part, reverse=reverse)

        return in_chunks(chunk, carry, inputs, num_steps, checkpoint_interval(num_steps), reverse)

    def engine_for(self, params: Any, batch_shape: tuple[int, ...]) -> str:
        """The engine, or the one that "auto" stands for.

        Each step of a plain backward scan reads and writes the whole gradient of U, which costs about as much as
        multiplying a few dozen rows by it. So few sequences gain from deferral; small weights stay in the cache either
        way. Deferral also stores less, as the outputs serve as the carries they are. Its time over that of plain, for
        tanh RNN, GRU and LSTM on one core: 0.6 to 0.7 with 4 sequences of 64 units, 0.8 to 1.1 with 16 and 0.8 to 1.3
        with 32; with 128 units 0.8 to 0.9 with 32 sequences, 0.9 to 1.1 with 64 to 256; with 512 units 0.8 to 1.0. On
        accelerators it has not been measured, and the plain scan stays.
        """
        if self.engine != "auto":
            return self.engine
        if self.save == "everything" or jax.default_backend() != "cpu":
            return "plain"
        largest = max(map(jnp.shape, jax.tree.leaves(params)), key=math.prod, default=())
        rows, size = math.prod(batch_shape), min(largest, default=0)
        return "deferred" if any(rows <= most and size >= least for most, least in DEFERRED) else "plain"


@dataclass(frozen=True)
class Associative:
    """Stretches of steps at once by a parallel scan, and stretch after stretch, for cells linear in their carry.

    That is those with `Cell.linear` (rnnjax/linear.py). It gives the numbers of `Scan` up to rounding, in few long
    operations in place of many short ones.

    Attributes:
      chunk: the number of steps of a stretch, by default about sqrt(T) or 128, the larger. Memory for the stretch being
        worked on grows with it, and that for the carries kept with T / chunk.
      save: what the forward pass keeps for the backward pass beside one carry for each stretch: "preactivations" of all
        steps, "nothing" (each stretch is recomputed), or "everything" (plain automatic differentiation).
      project: as in `Scan`; "auto" is "inside", for whole stretches are projected at once wherever it is done.

    Raises:
      ValueError: a field that is none of these.
    """

    chunk: int | None = None
    save: str = "preactivations"
    project: str = "auto"

    def __post_init__(self) -> None:
        if self.chunk is not None:
            check_size(chunk=self.chunk)
        _check_option("save", self.save, STRETCHES_SAVE)
        _check_option("project", self.project, PROJECT)

    def check(self, cell: Cell) -> None:
        if not cell.linear:
            raise ValueError(
                "Associative needs a cell that is linear in its carry, and this one is not. Those that are: "
                f"{LINEAR_KINDS}. In a stack, layer(cell, method=Associative()) serves the linear ones among the others"
            )

    def projects_before(self) -> bool:
        return self.project == "before"

    def run(self, recurrence: Recurrence, carry: Any, inputs: Any, num_steps: int, reverse: bool) -> tuple[Any, Any]:
        def forward(carry: Any, part: Any) -> tuple[Any, Any]:
            if not reverse:
                return recurrence.stretch(carry, part)
            carry, ys = recurrence.stretch(carry, _flipped(part))
            return carry, _flipped(ys)

        if self.save != "everything":
            forward = jax.checkpoint(forward, policy=_policy(self.save), prevent_cse=False)
        size = self.chunk or chunk_size(num_steps, max(128, math.isqrt(num_steps)))
        return in_chunks(forward, carry, inputs, num_steps, size, reverse)


def check_method(method: Any) -> None:
    """Raise ValueError for what is not a method, such as the name of one or its class."""
    if isinstance(method, type) or not isinstance(method, Method):
        asked = method.__name__ if isinstance(method, type) else str(method)
        one = "Associative" if asked.lower() == "associative" else "Scan"
        raise ValueError(f"method={method!r}: a method is an object such as {one}(); from rnnjax import {one}")


def _check_option(label: str, given: Any, allowed: Iterable[str]) -> None:
    if given not in allowed:
        raise ValueError(unknown(label, given, allowed))


def _policy(save: str) -> Callable:
    """What a recomputed step or stretch keeps all the same."""
    policies = jax.checkpoint_policies
    return policies.save_only_these_names("preactivation") if save == "preactivations" else policies.nothing_saveable


def _flipped(values: Any) -> Any:
    return jax.tree.map(lambda a: jnp.flip(a, axis=0), values)
