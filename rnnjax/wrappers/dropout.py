"""Dropout and zoneout: masks that are drawn once for a sequence."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, intercept_recur, shown
from rnnjax.wrappers.probe import recurrent_widths


class Zoned(NamedTuple):
    """Prepared parameters, and a key for each example [*B]; without keys nothing is random."""

    p: Any
    keys: Array | None


class ZoneoutCarry(NamedTuple):
    cell: Any
    t: Array  # [*B], steps so far: with the key they give each step its mask


@shown
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


class Masks(NamedTuple):
    """Prepared parameters of a cell in `dropout`, and its masks: zero or 1 / (1 - rate), None where nothing drops."""

    p: Any
    inputs: Array | None
    outputs: Array | None
    recurrent: dict[int, Array] | None  # by width of what meets a recurrent matrix


@shown
def dropout(cell: Cell, *, inputs: float = 0.0, outputs: float = 0.0, recurrent: float = 0.0) -> Cell:
    """Variational dropout: the same units are left out at every step of a sequence, others in each sequence.

        x̃ₜ = m_x ⊙ xₜ,   h̃ₜ₋₁ = m_h ⊙ hₜ₋₁ wherever h meets a matrix,   ỹₜ = m_y ⊙ yₜ
        m ~ Bernoulli(1 − rate) / (1 − rate)

    Masks [*B, size] are drawn from the key given to `unroll`; without one (evaluation) the cell is left as it is. The
    carry itself is not dropped, only what a recurrent matrix sees of it. One mask serves all that is of one width: the
    gates of a cell, and the layers of equal size of a stack (stack cells in dropout for masks of their own).
    Source: Gal & Ghahramani 2016, arXiv:1512.05287, section 4.2 (tied weights).

    Raises:
      ValueError: a rate outside [0, 1).
    """
    for label, rate in (("inputs", inputs), ("outputs", outputs), ("recurrent", recurrent)):
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"dropout rate {label}={rate} must lie in [0, 1)")

    def draw(key: Array, rate: float, shape: tuple[int, ...]) -> Array | None:
        return jax.random.bernoulli(key, 1.0 - rate, shape) / (1.0 - rate) if rate else None

    def prepare(params, key: Array | None = None, input_shape: tuple[int, ...] = ()):
        if key is None:
            return Masks(cell.prepare(params, None, input_shape), None, None, None)
        key_cell, key_in, key_out, key_recurrent = jax.random.split(key, 4)
        p = cell.prepare(params, key_cell, input_shape)
        batch_shape = input_shape[:-1]
        masks = None
        if recurrent:
            widths = recurrent_widths(cell, params, p, input_shape)
            keys = jax.random.split(key_recurrent, len(widths))
            masks = {w: draw(k, recurrent, (*batch_shape, w)) for w, k in zip(widths, keys, strict=True)}
        return Masks(
            p, draw(key_in, inputs, input_shape), draw(key_out, outputs, (*batch_shape, cell.output_size)), masks
        )

    def project(p: Masks, x: Array):
        return cell.project(p.p, x if p.inputs is None else x * p.inputs)

    def step(p: Masks, carry, z):
        if p.recurrent is None:
            carry, y = cell.step(p.p, carry, z)
        else:
            masks = p.recurrent
            with intercept_recur(lambda product, h, U: product(h * masks[h.shape[-1]], U)):
                carry, y = cell.step(p.p, carry, z)
        return carry, y if p.outputs is None else y * p.outputs

    return Cell(cell.output_size, cell.init, cell.initial_carry, project, step, prepare, cell.linear)
