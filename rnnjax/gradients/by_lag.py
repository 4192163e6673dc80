"""The gradient of a loss by the carry at every step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell, dtype_of, where_each
from rnnjax.intercept import intercept_unroll
from rnnjax.leaves import inexact_leaves
from rnnjax.methods import Scan
from rnnjax.unrolling import unroll

Loss = Callable[[Array], Array]


class ByLag(NamedTuple):
    """Logarithms of the gradient's norm by lag k = 1..T, -inf beyond a sequence's own length."""

    joined: Array  # [T, *B], all real leaves of the carry together, a complex leaf as two
    leaves: dict[str, Array]  # the same of every leaf alone, by its path in the carry: "h", "c", "0/h"; see `path_of`


class Run(NamedTuple):
    """One call of `unroll`, all that its backward pass needs."""

    cell: Cell
    params: Any
    xs: Array  # [T, *B, I]
    carry: Any = None  # at the start; None: the initial one
    lengths: Array | None = None
    resets: Array | None = None
    key: Array | None = None
    reverse: bool = False


def gradient_by_lag(cell: Cell, params: Any, xs: Array, loss: Loss, *, lengths: Array | None = None) -> Array:
    """log of the gradient's norm by lag, [T, *B]: entry k - 1 is log ‖∂L/∂carry‖ for lag k = 1..T.

    At lag k the carry is the one handed from step T - k to the next, T being each sequence's own last step; lag T is
    the initial carry, and lags beyond a sequence's length are -inf. The norm joins all real leaves of the carry, a
    complex leaf as two; integer leaves have no gradient.

    The gradient is carried back as a direction of norm one and the logarithm of its size, example by example, so that
    what would underflow float32 (a tanh RNN's gradient within some 120 steps) is still measured.

    Args:
      cell, params, xs, lengths: as for `unroll`; evaluation, from the initial carry.
      loss: outputs [T, *B, O] -> losses, one an example (or their sum).

    Source of the measurement: Bengio, Simard & Frasconi 1994, IEEE Transactions on Neural Networks 5(2), section III.
    """
    (found,) = gradients_by_lag(cell, params, xs, loss, lengths=lengths)
    return found.joined


def gradients_by_lag(network: Any, params: Any, xs: Array, loss: Loss, *, lengths: Array | None = None) -> list[ByLag]:
    """`gradient_by_lag` of any network, leaf by leaf: one entry for every `unroll` in it, in the order they run.

    A cell has one entry, and so has a stack of cells, whose leaves are told apart by their path: "0/h", "1/c". A stack
    of layers has one a layer, a bidirectional layer two: forward, then backward, whose lags count from the end of its
    own running, which is the sequence's beginning. Gradients that reach a layer through those above it count as well;
    between layers they are plain numbers, within each they are kept as logarithms.

    Args:
      network: a Cell, or a Layer: anything with apply(params, xs, lengths=...) -> (carry, outputs).
      params, xs, lengths, loss: as for `gradient_by_lag`.
    """
    if not isinstance(network, Cell):
        return _every_run(lambda: jnp.sum(loss(network.apply(params, xs, lengths=lengths)[1])))
    run = Run(network, params, xs, lengths=lengths)
    carry, ys = unroll(network, params, xs, lengths=lengths, method=Scan(save="nothing"))
    dys = jax.grad(lambda ys: jnp.sum(loss(ys)))(ys)
    return [backward(run, [jnp.zeros_like(leaf) for leaf in inexact_leaves(carry)[0]], dys)]


def _every_run(total: Callable[[], Array]) -> list[ByLag]:
    """The gradient of total() -> [] by the carries of every `unroll` in it."""
    shapes: list[Any] = []

    def note(run, **arguments):
        out = run(**arguments)
        shapes.append(jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), inexact_leaves(out)[0]))
        return out

    with intercept_unroll(note):
        jax.eval_shape(total)
    noted: list[tuple[Cell, bool]] = []

    def with_probes(probes: list[list[Array]]) -> tuple[Array, list[Any]]:
        """The total with something added to what every run returns, and the arrays each was given."""
        noted.clear()
        given: list[dict] = []

        def add(run, **arguments):
            leaves, rebuild = inexact_leaves(run(**arguments))
            probe = probes[len(noted)]
            noted.append((arguments["cell"], arguments["reverse"]))
            given.append({name: arguments[name] for name in Run._fields if name not in ("cell", "reverse")})
            return rebuild([leaf + plus for leaf, plus in zip(leaves, probe, strict=True)])

        with intercept_unroll(add):
            return total(), given

    zeros = [[jnp.zeros(leaf.shape, leaf.dtype) for leaf in leaves] for leaves in shapes]
    cotangents, given = jax.grad(with_probes, has_aux=True)(zeros)
    runs = [Run(cell=cell, reverse=reverse, **arrays) for (cell, reverse), arrays in zip(noted, given, strict=True)]
    # `unroll` returns the last carry and ys
    return [backward(run, some[:-1], some[-1]) for run, some in zip(runs, cotangents, strict=True)]


def backward(run: Run, dcarry: list[Array], dys: Array) -> ByLag:
    """Carry the gradients by the last carry (its inexact leaves) and by ys [T, *B, O] back through a run."""
    cell, params, xs = run.cell, run.params, run.xs
    batch_shape = xs.shape[1:-1]
    if jnp.issubdtype(xs.dtype, jnp.floating):
        xs = xs.astype(dtype_of(params))
    num_steps = len(xs)
    lengths = jnp.full(batch_shape, num_steps) if run.lengths is None else jnp.asarray(run.lengths)
    time = jnp.arange(num_steps).reshape(-1, *(1,) * len(batch_shape))
    active = jnp.broadcast_to(time < lengths, xs.shape[:-1])
    xs = where_each(active, xs, jnp.zeros_like(xs))
    resets = jnp.zeros(active.shape, bool) if run.resets is None else jnp.asarray(run.resets)
    if run.reverse:
        order = jnp.where(active, lengths - 1 - time, time)
        xs, dys, resets = (_reordered(a, order) for a in (xs, dys, resets))
    p = cell.prepare(params, run.key, xs.shape[1:])
    initial = cell.initial_carry(params, batch_shape)
    start = initial if run.carry is None else jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), run.carry, initial)

    def forward(carry, inputs):
        x, is_active, is_reset = inputs
        new, _ = cell.step(p, where_each(is_reset, initial, carry), cell.project(p, x))
        return where_each(is_active, new, carry), carry

    def back(state, inputs):
        direction, log_size, _ = state
        carry, x, dy, log_dy, is_active, is_reset = inputs
        scale = jnp.maximum(log_size, log_dy)
        scale = jnp.where(jnp.isneginf(scale), 0.0, scale)
        cotangents = _times(direction, jnp.exp(log_size - scale)), _times([dy], jnp.exp(log_dy - scale))[0]
        leaves, rebuild = inexact_leaves(carry)

        def step(leaves):
            carry = where_each(is_reset, initial, rebuild(leaves))
            carry, y = cell.step(p, carry, cell.project(p, x))
            return inexact_leaves(carry)[0], y

        (gradient,) = jax.vjp(step, leaves)[1](cotangents)
        state = where_each(is_active, _measured(gradient, scale, batch_shape), state)
        return state, state[1:]

    _, carries = lax.scan(forward, start, (xs, active, resets))
    (dys,), log_dys = _direction_and_log_norm([dys], xs.shape[:-1])
    last = _measured(dcarry, jnp.zeros(batch_shape, log_dys.dtype), batch_shape)
    inputs = (carries, xs, dys, log_dys, active, resets)
    _, logs = lax.scan(back, last, inputs, reverse=True)
    position = jnp.broadcast_to(lengths - 1 - time, active.shape)

    def by_lag(logs: Array) -> Array:
        return jnp.where(position >= 0, jnp.take_along_axis(logs, jnp.maximum(position, 0), axis=0), -jnp.inf)

    joined, leaves = jax.tree.map(by_lag, logs)
    paths = [
        path_of(path) for path, leaf in jax.tree.leaves_with_path(initial) if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    return ByLag(joined, dict(zip(paths, leaves, strict=True)))


def path_of(path: Any) -> str:
    """The name of a carry's leaf: "h", "c", "0/h"; "carry" where the leaf is all there is."""
    return jax.tree_util.keystr(path, simple=True, separator="/") or "carry"


def by_training_step(chunk: Callable, state: Any, measure: Callable[[Any], Any], num_chunks: int) -> tuple[Any, Any]:
    """What `measure` sees before training and after each of num_chunks: (the last state, leaves [num_chunks + 1, ...]).

    With `measure` a gradient by lag, the matrix of training step by lag.

    Args:
      chunk: state -> (state, anything), such as a Trainer's with its key, hyperparameters and data given.
      state: before the first chunk; it has `params`.
      measure: params -> a pytree of arrays.
    """

    def one(state, _):
        state, _ = chunk(state)
        return state, measure(state.params)

    first = measure(state.params)
    state, rest = lax.scan(one, state, length=num_chunks)
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)


def _reordered(values: Array, order: Array) -> Array:
    """values [T, *B, ...] taken along time by order [T, *B]."""
    return jnp.take_along_axis(values, order.reshape(order.shape + (1,) * (values.ndim - order.ndim)), axis=0)


def _measured(gradient: list[Array], scale: Array, batch_shape: tuple[int, ...]) -> tuple[list, Array, list[Array]]:
    """A gradient times e^scale as (direction of norm one, log of its norm, log of each leaf's norm)."""
    direction, log_norm = _direction_and_log_norm(gradient, batch_shape)
    return direction, scale + log_norm, [scale + _direction_and_log_norm([leaf], batch_shape)[1] for leaf in gradient]


def _direction_and_log_norm(leaves: list[Array], batch_shape: tuple[int, ...]) -> tuple[list[Array], Array]:
    """All leaves [*B, ...] joined, one an example: scaled to norm one, and log of their norm; zeros stay, at -inf.

    The largest entry is divided out first: squares leave float32's range long before their roots do.
    """

    def joined(reduce: Callable, leaves: list[Array]) -> Array:
        return reduce(jnp.stack([reduce(jnp.abs(leaf.reshape(*batch_shape, -1)), axis=-1) for leaf in leaves]), axis=0)

    largest = joined(jnp.max, leaves)
    leaves = _times(leaves, 1 / jnp.where(largest == 0, 1, largest))
    norm = joined(jnp.linalg.norm, leaves)
    return _times(leaves, 1 / jnp.where(norm == 0, 1, norm)), jnp.log(largest) + jnp.log(norm)


def _times(leaves: list[Array], factors: Array) -> list[Array]:
    return [leaf * factors.reshape(factors.shape + (1,) * (leaf.ndim - factors.ndim)) for leaf in leaves]
