"""Layer, weight and spectral normalisation of any cell."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell, check_positive, intercept_recur, shown
from rnnjax.jaxprs import recurrent_leaves
from rnnjax.leaves import joint_norm
from rnnjax.wrappers.probe import square_recurrent, try_one_step


class WeightNormed(NamedTuple):
    """Parameters of a cell in `weight_norm`; `gains` is like `cell`, with None wherever nothing is normalised."""

    cell: Any
    gains: Any


@shown
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


class Normed(NamedTuple):
    """Parameters of a cell in `layer_norm`, and a gain [N] for each of its recurrent products."""

    cell: Any
    gains: tuple[Array, ...]


@shown
def layer_norm(cell: Cell, *, epsilon: float = 1e-5) -> Cell:
    """Layer normalisation of every recurrent product, before input and bias are added to it.

        a = U hₜ₋₁,   U hₜ₋₁ becomes g ⊙ (a − mean(a)) / √(var(a) + ε),   mean and variance over the N entries of a

    All gates of one packed product are normalised together, as in the paper's LSTM. Parameters: those of the cell, and
    one gain of N numbers for each product in its step. Init: gains one.
    Differs from the paper: the input's product is left as it is, and no bias is added (the cell has its own).
    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450, section 3.1 and equations 20 to 22.
    """

    def init(key: Array, input_size: int) -> Normed:
        params = cell.init(key, input_size)
        widths: list[int] = []

        def note(product, h, U):
            widths.append(U.shape[-1])
            return product(h, U)

        with intercept_recur(note):
            try_one_step(cell, params, cell.prepare(params, None, (input_size,)), (input_size,))
        return Normed(params, tuple(jnp.ones(width, jnp.float32) for width in widths))

    def prepare(params: Normed, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> Normed:
        return params._replace(cell=cell.prepare(params.cell, key, input_shape))

    def step(p: Normed, carry, z):
        gains = iter(p.gains)

        def normalised(product, h, U):
            a = product(h, U)
            a = a - jnp.mean(a, axis=-1, keepdims=True)
            return next(gains) * a * jax.lax.rsqrt(jnp.mean(a**2, axis=-1, keepdims=True) + epsilon)

        with intercept_recur(normalised):
            return cell.step(p.cell, carry, z)

    return Cell(
        output_size=cell.output_size,
        init=init,
        initial_carry=lambda params, batch_shape=(): cell.initial_carry(params.cell, batch_shape),
        project=lambda p, x: cell.project(p.cell, x),
        step=step,
        prepare=prepare,
    )


SQUARINGS = 12  # of UᵀU: 2¹² steps of power iteration


@shown
def spectral_norm(cell: Cell, limit: float = 1.0) -> Cell:
    """Spectral norm control: every square recurrent matrix rescaled to a largest singular value of `limit`.

        U becomes limit · U / σ₁(U),   once per sequence, differentiated through

    A matrix that packs several gates side by side is rescaled block by block; one that is not made of square blocks is
    left as it is. σ₁ is found by 4,096 steps of power iteration, as 12 squarings of UᵀU, from no particular start and
    keeping no state. Which parameters those are is found by tracing a step, as for `weight_norm`. Parameters and carry
    are the cell's.
    Source: Miyato, Kataoka, Koyama & Yoshida 2018, arXiv:1802.05957, section 2.1 (there one step of power iteration for
    each step of training).

    Raises:
      ValueError: a limit that is not above 0; at initialisation, a cell whose state meets no square matrix.
    """
    check_positive(limit=limit)

    def init(key: Array, input_size: int) -> Any:
        params = cell.init(key, input_size)
        square_recurrent("spectral_norm", cell, params, input_size)
        return params

    def prepare(params: Any, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> Any:
        leaves, structure = jax.tree.flatten(params)
        chosen = square_recurrent("spectral_norm", cell, params, input_shape[-1])
        scaled = [_rescaled(leaf, limit) if is_chosen else leaf for leaf, is_chosen in zip(leaves, chosen, strict=True)]
        return cell.prepare(jax.tree.unflatten(structure, scaled), key, input_shape)

    return cell._replace(init=init, prepare=prepare)


def _rescaled(U: Array, limit: float) -> Array:
    blocks = jnp.moveaxis(U.reshape(U.shape[0], -1, U.shape[0]), 1, 0)  # [G, H, H]
    scaled = limit * blocks / jnp.maximum(_largest_singular_value(blocks), jnp.finfo(U.dtype).tiny)[:, None, None]
    return jnp.moveaxis(scaled, 0, 1).reshape(U.shape)


def _largest_singular_value(U: Array) -> Array:
    """σ₁ of U [G, H, H] as ‖U v‖, v the leading right singular vector, which is a constant to the derivative."""
    fixed = lax.stop_gradient(U)

    def normalised(power: Array) -> Array:
        return power / jnp.maximum(jnp.max(jnp.abs(power), axis=(1, 2), keepdims=True), jnp.finfo(U.dtype).tiny)

    power = normalised(jnp.swapaxes(fixed, 1, 2) @ fixed)
    power = lax.fori_loop(0, SQUARINGS, lambda _, power: normalised(power @ power), power)
    longest = jnp.argmax(jnp.sum(power**2, axis=1), axis=-1)  # its columns all point along v
    v = jnp.take_along_axis(power, longest[:, None, None], axis=2)
    v = v / jnp.maximum(jnp.linalg.norm(v, axis=1, keepdims=True), jnp.finfo(U.dtype).tiny)
    return joint_norm([U @ v], 1)
