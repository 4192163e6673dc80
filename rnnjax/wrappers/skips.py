"""Shorter ways through depth and time: residual, dilated, leaky and skip connections around any cell."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, intercept_recur, shown, zeros
from rnnjax.initializers import Initializer, glorot_uniform
from rnnjax.leaves import followed, inexact_leaves


@shown
def residual(cell: Cell) -> Cell:
    """The input added to the output, yₜ = xₜ + cell(xₜ): layers of one size can be stacked deep.

    Parameters and carry: those of the cell.
    Source: He et al. 2016, arXiv:1512.03385, section 3.1; between recurrent layers Wu et al. 2016, arXiv:1609.08144,
    section 3.1.

    Raises:
      ValueError: at initialisation, an input that is not of the output's size.
    """

    def init(key: Array, input_size: int) -> Any:
        if input_size != cell.output_size:
            raise ValueError(
                f"residual adds input to output: the input is of size {input_size}, the output of {cell.output_size}"
            )
        return cell.init(key, input_size)

    def project(p: Any, x: Array) -> tuple[Any, Array]:
        return cell.project(p, x), x

    def step(p: Any, carry: Any, z: tuple[Any, Array]) -> tuple[Any, Array]:
        z, x = z
        carry, y = cell.step(p, carry, z)
        return carry, x + y

    return cell._replace(init=init, project=project, step=step)


@shown
def dilated(cell: Cell, dilation: int) -> Cell:
    """A cell whose state is that of d steps before: d networks with the same parameters, taking turns.

        hₜ = cell(hₜ₋d, xₜ),   the first d steps from the initial carry

    A stack with dilations 1, 2, 4, ... reaches far back in few steps. Carry: a tuple of the last d carries, the oldest
    first. Parameters: those of the cell.
    Source: Chang et al. 2017, arXiv:1710.02224, section 2.1.

    Raises:
      ValueError: a dilation below 1.
    """
    check_size(dilation=dilation)

    def initial_carry(params: Any, batch_shape: tuple[int, ...] = ()) -> tuple:
        return (cell.initial_carry(params, batch_shape),) * dilation

    def step(p: Any, carry: tuple, z: Any) -> tuple[tuple, Array]:
        oldest, *others = carry
        newest, y = cell.step(p, oldest, z)
        return (*others, newest), y

    return cell._replace(initial_carry=initial_carry, step=step, linear=False)


@shown
def leaky_integration(cell: Cell, alpha: float) -> Cell:
    """Leaky integration: the carry moves towards what the cell makes of it, by a share α a step.

        cₜ = (1 - α) cₜ₋₁ + α c̃ₜ,   c̃ₜ = the carry after a step of the cell from cₜ₋₁

    The Jacobian gains a part (1 - α) I that no matrix or nonlinearity shrinks: a time constant of 1/α steps. Whole
    numbers in a carry (a counter) are left alone. Where the output is a leaf of the carry, it is that leaf as mixed;
    so this goes next to the cell. Parameters and carry: those of the cell.
    Source: Jaeger, Lukoševičius, Popovici & Siewert 2007, "Optimization and applications of echo state networks with
    leaky-integrator neurons", Neural Networks 20(3), section 2; Bengio, Boulanger-Lewandowski & Pascanu 2013,
    arXiv:1212.0901, section 3.2.

    Raises:
      ValueError: an α outside (0, 1].
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha={alpha!r} must lie in (0, 1]")

    def step(p: Any, carry: Any, z: Any) -> tuple[Any, Array]:
        new, y = cell.step(p, carry, z)
        old_leaves, _ = inexact_leaves(carry)
        new_leaves, rebuild = inexact_leaves(new)
        mixed = [(1 - alpha) * old + alpha * made for old, made in zip(old_leaves, new_leaves, strict=True)]
        return rebuild(mixed), followed(y, new_leaves, mixed)

    return cell._replace(step=step, linear=False)


class SkipParams(NamedTuple):
    """Parameters of a cell in `skip_through_time`, and a second matrix for each of its recurrent products."""

    cell: Any
    V: tuple[Array, ...]


class SkipCarry(NamedTuple):
    cell: Any
    past: tuple[Array, ...]  # by product, [*B, skip - 1, H]: what met its matrix in the steps before, the oldest first


@shown
def skip_through_time(cell: Cell, skip: int, *, recurrent_init: Initializer = glorot_uniform) -> Cell:
    """Skip connections through time: whatever meets a recurrent matrix also comes from `skip` steps back.

        U hₜ₋₁ becomes U hₜ₋₁ + V hₜ₋ₛ,   s = skip,   zeros before the first step

    for every recurrent product of the cell, each with a V of its own, so a gradient goes back T steps in T/s products.
    Carry: SkipCarry(the cell's, the s - 1 states before). Parameters: those of the cell, and every recurrent matrix a
    second time. Init: V glorot uniform.
    Source: Lin, Horne, Tiňo & Giles 1996, "Learning long-term dependencies in NARX recurrent neural networks", IEEE
    Transactions on Neural Networks 7(6), section IV (taps 1 and s alone); Zhang et al. 2016, arXiv:1602.08210, section
    3.3.

    Raises:
      ValueError: a skip below 2; at initialisation, a cell whose state meets no matrix, or meets it in complex numbers.
    """
    check_size(skip=skip)
    if skip < 2:
        raise ValueError("skip=1 is the recurrent connection itself; it must be at least 2")

    def init(key: Array, input_size: int) -> SkipParams:
        key_cell, key_V = jax.random.split(key)
        params = cell.init(key_cell, input_size)
        shapes: list[tuple[int, int]] = []

        def note(product, h, U):
            if jnp.iscomplexobj(h) or jnp.iscomplexobj(U):
                raise ValueError("skip_through_time: the state of this cell meets its matrices in complex numbers")
            shapes.append(U.shape)
            return product(h, U)

        def one_step(params, x):
            p = cell.prepare(params, None, x.shape)
            return cell.step(p, cell.initial_carry(params), cell.project(p, x))

        with intercept_recur(note):
            jax.eval_shape(one_step, params, jax.ShapeDtypeStruct((input_size,), jnp.float32))
        if not shapes:
            raise ValueError("skip_through_time: the state of this cell meets no matrix")
        keys = jax.random.split(key_V, len(shapes))
        return SkipParams(params, tuple(recurrent_init(k, s, jnp.float32) for k, s in zip(keys, shapes, strict=True)))

    def initial_carry(params: SkipParams, batch_shape: tuple[int, ...] = ()) -> SkipCarry:
        past = tuple(zeros(params, *batch_shape, skip - 1, V.shape[0]) for V in params.V)
        return SkipCarry(cell.initial_carry(params.cell, batch_shape), past)

    def prepare(params: SkipParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> SkipParams:
        return params._replace(cell=cell.prepare(params.cell, key, input_shape))

    def step(p: SkipParams, carry: SkipCarry, z: Any) -> tuple[SkipCarry, Array]:
        parts = zip(carry.past, p.V, strict=True)
        moved = []

        def both(product, h, U):
            past, V = next(parts)
            moved.append(jnp.concatenate([past[..., 1:, :], h[..., None, :]], axis=-2))
            return product(h, U) + product(past[..., 0, :], V)

        with intercept_recur(both):
            new, y = cell.step(p.cell, carry.cell, z)
        return SkipCarry(new, tuple(moved)), y

    def project(p: SkipParams, x: Array) -> Any:
        return cell.project(p.cell, x)

    return Cell(cell.output_size, init, initial_carry, project, step, prepare)
