"""Networks out of cells: stacks, both directions, dropout, layer norm. Cell -> Cell where a step suffices, else Layer.

A Layer is what needs the whole sequence:

    init(key, input_size)                                      -> params
    apply(params, xs [T, *B, I], carry=None, *, lengths=None, resets=None, key=None) -> (carry, ys [T, *B, O])
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, shown
from rnnjax.errors import unknown
from rnnjax.methods import Scan, check_method
from rnnjax.unrolling import needs_a_cell, unroll

OF_A_METHOD = tuple(Scan.__dataclass_fields__)  # save, engine, project


class Layer(NamedTuple):
    """A map from sequences to sequences; see the module's docstring."""

    output_size: int
    init: Callable[..., Any]
    apply: Callable[..., Any]
    text: str = ""  # the call that made it

    def __repr__(self) -> str:
        return self.text or f"layer of {self.output_size} outputs"


@shown
def layer(cell: Cell | Layer, **options) -> Layer:
    """A cell as a Layer: its `unroll`, with options of `unroll` (method, reverse, matmul_dtype) fixed here.

    Raises:
      ValueError: an option that is none of these, a method that does not fit, or any of them for what is a Layer.
    """
    if isinstance(cell, Layer):
        if options:
            raise ValueError(f"{', '.join(options)}: options of unroll belong to cells, this is a Layer already")
        return cell
    _check_options("layer", (cell,), options, ("method", "reverse", "matmul_dtype"))

    def apply(params, xs, carry=None, *, lengths=None, resets=None, key=None):
        return unroll(cell, params, xs, carry, lengths=lengths, resets=resets, key=key, **options)

    return Layer(cell.output_size, cell.init, apply)


@shown
def bidirectional(forward: Cell, backward: Cell | None = None, **options) -> Layer:
    """One cell over the sequence in each direction; outputs side by side, [T, *B, O_forward + O_backward].

    The backward cell (by default the same, with parameters of its own) starts at each sequence's own last step. The
    carry returned is the pair of final carries; none can be given, for the backward one would come from the future. A
    reset at t parts step t from t - 1 in both directions, so that what a reset parts is read as if run alone.
    Source: Schuster & Paliwal 1997, IEEE Transactions on Signal Processing 45(11).
    """
    cells = (forward, forward if backward is None else backward)
    _check_options("bidirectional", cells, options, ("method", "matmul_dtype"))

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


@shown
def stack(*layers: Cell | Layer | Sequence[Cell | Layer], skip: bool = False) -> Any:
    """Layers on top of each other: a Cell when all are cells (it decodes step by step), else a Layer.

    They may be given one by one or as a list, stack(a, b) or stack([a, b]).

    With `skip`, every layer but the first also sees the input of the stack, and the output is that of all layers side
    by side: the gradient has a short way in and out of each layer (Graves 2013, arXiv:1308.0850, section 2).
    Params and carry are tuples, one entry a layer.
    """
    given: Any = layers
    if len(given) == 1 and not isinstance(given[0], Cell | Layer) and isinstance(given[0], list | tuple):
        given = tuple(given[0])
    return _stack(given, skip)


def _stack(layers: tuple[Cell | Layer, ...], skip: bool) -> Any:
    if not layers:
        raise ValueError("stack needs at least one cell or layer")
    for one in layers:
        if not isinstance(one, Cell | Layer):
            raise ValueError(f"stack needs cells or layers, such as lstm(64), got {one!r}")
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

    cells = [one for one in layers if isinstance(one, Cell)]
    if len(cells) < len(layers):
        return _stack_of_layers([layer(one) for one in layers], output_size, init, see, joined)

    def initial_carry(params, batch_shape: tuple[int, ...] = ()):
        return tuple(c.initial_carry(p, batch_shape) for c, p in zip(cells, params, strict=True))

    def prepare(params, key: Array | None = None, input_shape: tuple[int, ...] = ()):
        shapes = [(*input_shape[:-1], size) for size in input_sizes(*input_shape[-1:] or (0,))]
        return tuple(
            c.prepare(p, k, shape) for c, p, k, shape in zip(cells, params, _keys(key, cells), shapes, strict=True)
        )

    def project(p, x: Array):
        return cells[0].project(p[0], x), x if skip else None

    def step(p, carry, z):
        z, x = z
        carries, ys = [], []
        for cell, p_cell, carry_cell in zip(cells, p, carry, strict=True):
            if ys:
                z = cell.project(p_cell, see(x, ys[-1]))
            new, y = cell.step(p_cell, carry_cell, z)
            carries.append(new)
            ys.append(y)
        return tuple(carries), joined(ys)

    linear = all(c.linear for c in cells)
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


def _check_options(name: str, cells: Sequence[Cell], options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise ValueError for what is no cell, or an option of unroll that could not be fixed here."""
    for cell in cells:
        if not isinstance(cell, Cell):
            raise ValueError(needs_a_cell(name, cell))
    for option in options:
        if option in OF_A_METHOD:
            raise ValueError(f"{name} takes no {option}: it belongs to the method, as in method=Scan({option}=...)")
        if option not in known:
            raise ValueError(unknown(f"option of {name}", option, known))
    if "method" in options:
        check_method(options["method"])
        for cell in cells:
            options["method"].check(cell)


def _keys(key: Array | None, layers) -> list[Array | None]:
    return [None] * len(layers) if key is None else list(jax.random.split(key, len(layers)))
