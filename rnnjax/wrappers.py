"""Cell -> Cell: zoneout, residual connection, dilation in time, weight normalisation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Var

from rnnjax.cell import Array, Cell, check_size, intercept_recur


class Zoned(NamedTuple):
    """Prepared parameters, and a key for each example [*B]; without keys nothing is random."""

    p: Any
    keys: Array | None


class ZoneoutCarry(NamedTuple):
    cell: Any
    t: Array  # [*B], steps so far: with the key they give each step its mask


def zoneout(cell: Cell, rates: Any = 0.1) -> Cell:
    """Zoneout: at each step each unit of the carry keeps its former value with some probability.

        cₜ = d ⊙ cₜ₋₁ + (1 − d) ⊙ c̃ₜ,   d ~ Bernoulli(rate), new for every step, example and unit

    where c̃ₜ is what the cell makes of cₜ₋₁. Without a key (evaluation) d is its mean, the rate. `rates` is one number
    for all of the carry, or one for each leaf, in the shape of the carry: LSTMCarry(h=0.05, c=0.5). Whole numbers in a
    carry (a counter) are left alone, and so should be what stands for scale: rate 0 for the m of `slstm`.
    Where the cell's output is a leaf of its carry, as an LSTM's h is, the output is that leaf after zoneout, as in the
    paper; so zoneout goes next to the cell, with other wrappers around it. After a reset the masks begin anew.
    Carry: ZoneoutCarry(the cell's, steps so far [*B] int32). Parameters: those of the cell.
    Source: Krueger et al. 2017, arXiv:1606.01305, section 3, equations of section 3.2 for the LSTM.

    Raises:
      ValueError: a rate outside [0, 1]; rates that do not have the shape of the carry.
    """
    for rate in jax.tree.leaves(rates):
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"zoneout rate {rate} must lie in [0, 1]")

    def initial_carry(params: Any, batch_shape: tuple[int, ...] = ()) -> ZoneoutCarry:
        carry = cell.initial_carry(params, batch_shape)
        jax.tree.broadcast(rates, carry)  # raises where they do not fit
        return ZoneoutCarry(carry, jnp.zeros(batch_shape, jnp.int32))

    def prepare(params: Any, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> Zoned:
        if key is None:
            return Zoned(cell.prepare(params, None, input_shape), None)
        key_cell, key_zones = jax.random.split(key)
        return Zoned(cell.prepare(params, key_cell, input_shape), jax.random.split(key_zones, input_shape[:-1]))

    def project(p: Zoned, x: Array) -> Any:
        return cell.project(p.p, x)

    def step(p: Zoned, carry: ZoneoutCarry, z: Any) -> tuple[ZoneoutCarry, Array]:
        made, y = cell.step(p.p, carry.cell, z)
        output, zoned = y, []
        kept, structure = jax.tree.flatten(carry.cell)
        each = zip(kept, jax.tree.leaves(made), jax.tree.leaves(jax.tree.broadcast(rates, made)), strict=True)
        for number, (old, new, rate) in enumerate(each):
            if not rate or not jnp.issubdtype(new.dtype, jnp.inexact):
                mixed = new
            elif p.keys is None:
                mixed = rate * old + (1 - rate) * new
            else:
                mixed = jnp.where(_mask(p.keys, carry.t, number, rate, new.shape), old, new)
            zoned.append(mixed)
            if new is y:
                output = mixed
        return ZoneoutCarry(jax.tree.unflatten(structure, zoned), carry.t + 1), output

    return Cell(cell.output_size, cell.init, initial_carry, project, step, prepare)


def _mask(keys: Array, t: Array, number: int, rate: float, shape: tuple[int, ...]) -> Array:
    """True with probability `rate`, [*B, ...]: drawn from each example's key, its time and the number of the leaf."""

    def draw(key: Array, t: Array) -> Array:
        return jax.random.bernoulli(jax.random.fold_in(jax.random.fold_in(key, t), number), rate, shape[keys.ndim :])

    for _ in range(keys.ndim):
        draw = jax.vmap(draw)
    return draw(keys, t)


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


class WeightNormed(NamedTuple):
    """Parameters of a cell in `weight_norm`; `gains` is like `cell`, with None wherever nothing is normalised."""

    cell: Any
    gains: Any


def weight_norm(cell: Cell) -> Cell:
    """Weight normalisation of the recurrent matrices: the length and the direction of each unit's weights apart.

        u = g v / ‖v‖,   for each column u of a matrix that the state meets, once per sequence

    Which matrices those are is found by tracing a step; one that is made of others (the factors of a low rank) is
    normalised in its parts. Parameters: those of the cell, the v, and one g for each column.
    Init: g = ‖v‖, so that the cell starts as it would without. A matrix that starts at zero has no direction: give such
    a cell another recurrent_init.
    Differs from the paper: input weights are left as they are; no initial values from data.
    Source: Salimans & Kingma 2016, arXiv:1602.07868, section 2, equation 2.

    Raises:
      ValueError: at initialisation, a cell whose state meets no matrix.
    """

    def init(key: Array, input_size: int) -> WeightNormed:
        params = cell.init(key, input_size)
        leaves, structure = jax.tree.flatten(params)
        gains = [
            jnp.linalg.norm(leaf, axis=-2) if is_recurrent and leaf.ndim > 1 else None
            for leaf, is_recurrent in zip(leaves, recurrent_leaves(cell, params, input_size), strict=True)
        ]
        if all(gain is None for gain in gains):
            raise ValueError("weight_norm: the state of this cell meets no matrix")
        return WeightNormed(params, jax.tree.unflatten(structure, gains))

    def normalised(gain: Array | None, v: Array) -> Array:
        return v if gain is None else gain[..., None, :] * v / jnp.linalg.norm(v, axis=-2, keepdims=True)

    def prepare(params: WeightNormed, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> Any:
        matrices = jax.tree.map(normalised, params.gains, params.cell, is_leaf=lambda leaf: leaf is None)
        return cell.prepare(matrices, key, input_shape)

    def initial_carry(params: WeightNormed, batch_shape: tuple[int, ...] = ()) -> Any:
        return cell.initial_carry(params.cell, batch_shape)

    return cell._replace(init=init, initial_carry=initial_carry, prepare=prepare)


def recurrent_leaves(cell: Cell, params: Any, input_size: int) -> list[bool]:
    """For each leaf of the parameters, whether a matrix that meets the state in a step is made of it."""

    def matrices(params: Any) -> list[Array]:
        seen: list[Array] = []

        def note(product: Callable, h: Array, U: Array) -> Array:
            seen.append(U)
            return product(h, U)

        with intercept_recur(note):
            p = cell.prepare(params, None, (input_size,))
            cell.step(p, cell.initial_carry(params), cell.project(p, jnp.zeros(input_size, jnp.float32)))
        return seen

    jaxpr = jax.make_jaxpr(matrices)(params).jaxpr
    needed = {atom for atom in jaxpr.outvars if isinstance(atom, Var)}
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(equation.outvars):
            needed.update(atom for atom in equation.invars if isinstance(atom, Var))
    return [var in needed for var in jaxpr.invars]
