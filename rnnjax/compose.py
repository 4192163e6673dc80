"""Networks out of cells: stacks, both directions, dropout, layer norm. Cell -> Cell where a step suffices, else Layer.

A Layer is what needs the whole sequence:

    init(key, input_size)                                      -> params
    apply(params, xs [T, *B, I], carry=None, *, lengths=None, resets=None, key=None) -> (carry, ys [T, *B, O])
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, intercept_recur
from rnnjax.unroll import unroll


class Layer(NamedTuple):
    """A map from sequences to sequences; see the module's docstring."""

    output_size: int
    init: Callable[..., Any]
    apply: Callable[..., Any]


def layer(cell: Cell | Layer, **options) -> Layer:
    """A cell as a Layer: its `unroll`, with options of `unroll` (save, project, reverse, ...) fixed here."""
    if isinstance(cell, Layer):
        if options:
            raise ValueError(f"{', '.join(options)}: options of unroll belong to cells, this is a Layer already")
        return cell

    def apply(params, xs, carry=None, *, lengths=None, resets=None, key=None):
        return unroll(cell, params, xs, carry, lengths=lengths, resets=resets, key=key, **options)

    return Layer(cell.output_size, cell.init, apply)


def bidirectional(forward: Cell, backward: Cell | None = None, **options) -> Layer:
    """One cell over the sequence in each direction; outputs side by side, [T, *B, O_forward + O_backward].

    The backward cell (by default the same, with parameters of its own) starts at each sequence's own last step. The
    carry returned is the pair of final carries; none can be given, for the backward one would come from the future. A
    reset at t parts step t from t - 1 in both directions, so that what a reset parts is read as if run alone.
    Source: Schuster & Paliwal 1997, IEEE Transactions on Signal Processing 45(11).
    """
    cells = (forward, forward if backward is None else backward)

    def init(key: Array, input_size: int):
        return tuple(c.init(k, input_size) for c, k in zip(cells, jax.random.split(key), strict=True))

    def apply(params, xs, carry=None, *, lengths=None, resets=None, key=None):
        if carry is not None:
            raise ValueError("a bidirectional layer takes no carry: its backward half starts at the sequence's end")
        keys = (None, None) if key is None else jax.random.split(key)
        both = (resets, None)
        if resets is not None:  # running back, the state is reset before the last step of what lies before t
            resets = jnp.asarray(resets)
            both = (resets, jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])]))
        runs = [
            unroll(c, p, xs, lengths=lengths, resets=r, reverse=reverse, key=k, **options)
            for c, p, k, r, reverse in zip(cells, params, keys, both, (False, True), strict=True)
        ]
        return tuple(c for c, _ in runs), jnp.concatenate([ys for _, ys in runs], axis=-1)

    return Layer(sum(c.output_size for c in cells), init, apply)


def stack(*layers: Cell | Layer, skip: bool = False) -> Any:
    """Layers on top of each other: a Cell when all are cells (it decodes step by step), else a Layer.

    With `skip`, every layer but the first also sees the input of the stack, and the output is that of all layers side
    by side: the gradient has a short way in and out of each layer (Graves 2013, arXiv:1308.0850, section 2).
    Params and carry are tuples, one entry a layer.
    """
    if not layers:
        raise ValueError("stack needs at least one cell or layer")
    sizes = [one.output_size for one in layers]
    output_size = sum(sizes) if skip else sizes[-1]

    def init(key: Array, input_size: int):
        keys = jax.random.split(key, len(layers))
        return tuple(one.init(k, size) for one, k, size in zip(layers, keys, input_sizes(input_size), strict=True))

    def input_sizes(input_size: int) -> list[int]:
        return [input_size] + [input_size * skip + below for below in sizes[:-1]]

    def see(x: Array, below: Array) -> Array:
        return jnp.concatenate([x, below], axis=-1) if skip else below

    def joined(ys: list[Array]) -> Array:
        return jnp.concatenate(ys, axis=-1) if skip else ys[-1]

    if not all(isinstance(one, Cell) for one in layers):
        return _stack_of_layers([layer(one) for one in layers], output_size, init, see, joined)

    def initial_carry(params, batch_shape: tuple[int, ...] = ()):
        return tuple(c.initial_carry(p, batch_shape) for c, p in zip(layers, params, strict=True))

    def prepare(params, key: Array | None = None, input_shape: tuple[int, ...] = ()):
        shapes = [(*input_shape[:-1], size) for size in input_sizes(*input_shape[-1:] or (0,))]
        return tuple(
            c.prepare(p, k, shape) for c, p, k, shape in zip(layers, params, _keys(key, layers), shapes, strict=True)
        )

    def project(p, x: Array):
        return layers[0].project(p[0], x), x if skip else None

    def step(p, carry, z):
        z, x = z
        carries, ys = [], []
        for cell, p_cell, carry_cell in zip(layers, p, carry, strict=True):
            if ys:
                z = cell.project(p_cell, see(x, ys[-1]))
            new, y = cell.step(p_cell, carry_cell, z)
            carries.append(new)
            ys.append(y)
        return tuple(carries), joined(ys)

    linear = all(c.linear for c in layers)
    return Cell(output_size, init, initial_carry, project, step, prepare, linear)


def _stack_of_layers(layers: list[Layer], output_size: int, init: Callable, see: Callable, joined: Callable) -> Layer:
    def apply(params, xs, carry=None, *, lengths=None, resets=None, key=None):
        carries, outputs, below = [], [], xs
        given = [None] * len(layers) if carry is None else carry
        for one, p, c, k in zip(layers, params, given, _keys(key, layers), strict=True):
            new, ys = one.apply(p, below, c, lengths=lengths, resets=resets, key=k)
            carries.append(new)
            outputs.append(ys)
            below = see(xs, ys)
        return tuple(carries), joined(outputs)

    return Layer(output_size, init, apply)


def _keys(key: Array | None, layers) -> list[Array | None]:
    return [None] * len(layers) if key is None else list(jax.random.split(key, len(layers)))


class Masks(NamedTuple):
    """Prepared parameters of a cell in `dropout`, and its masks: zero or 1 / (1 - rate), None where nothing drops."""

    p: Any
    inputs: Array | None
    outputs: Array | None
    recurrent: dict[int, Array] | None  # by width of what meets a recurrent matrix


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
            widths = _recurrent_widths(cell, params, p, input_shape)
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


class Normed(NamedTuple):
    """Parameters of a cell in `layer_norm`, and a gain [N] for each of its recurrent products."""

    cell: Any
    gains: tuple[Array, ...]


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
            _one_step(cell, params, cell.prepare(params, None, (input_size,)), (input_size,))
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


def _one_step(cell: Cell, params: Any, p: Any, input_shape: tuple[int, ...]) -> None:
    """Trace one step, for what a context around it may see."""

    def one_step(params, p, x):
        return cell.step(p, cell.initial_carry(params, input_shape[:-1]), cell.project(p, x))

    jax.eval_shape(one_step, params, p, jax.ShapeDtypeStruct(input_shape, jnp.float32))


def _recurrent_widths(cell: Cell, params: Any, p: Any, input_shape: tuple[int, ...]) -> list[int]:
    """The sizes of all that meets a recurrent matrix in one step, found by tracing one."""
    widths: set[int] = set()

    def note(product, h, U):
        widths.add(h.shape[-1])
        return product(h, U)

    with intercept_recur(note):
        _one_step(cell, params, p, input_shape)
    return sorted(widths)
