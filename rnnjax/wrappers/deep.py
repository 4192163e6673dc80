"""Deeper recurrent networks: layers between input and state, between state and state, between state and output.

Source: Pascanu, Gulcehre, Cho & Bengio 2014, "How to construct deep recurrent neural networks", arXiv:1312.6026,
section 3. Its networks are DT-RNN deep_transition(elman(H)), DT(S)-RNN with shortcut=True, DO-RNN
deep_output(elman(H), N), DOT(S)-RNN deep_output(deep_transition(elman(H), shortcut=True), N); `stack` makes its sRNN.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown
from rnnjax.initializers import Initializer, glorot_uniform, orthogonal

Activation = Callable[[Array], Array]


class Affine(NamedTuple):
    W: Array  # [N, M]
    b: Array  # [M]


class Deep(NamedTuple):
    """Parameters of a cell and of the layers around it."""

    cell: Any
    layers: tuple[Affine, ...]


class DeepTransition(NamedTuple):
    cell: Any
    layers: tuple[Affine, ...]  # each [O, O] and [O]
    S: Array | None  # [O, O] of the shortcut


def _init_layers(key: Array, sizes: tuple[int, ...], init: Initializer) -> tuple[Affine, ...]:
    shapes = list(pairwise(sizes))
    keys = jax.random.split(key, len(shapes))
    return tuple(
        Affine(init(k, s, jnp.float32), jnp.zeros(s[1], jnp.float32)) for k, s in zip(keys, shapes, strict=True)
    )


def _through(layers: tuple[Affine, ...], x: Array, activation: Activation) -> Array:
    for layer in layers:
        x = activation(name(dense(x, layer.W) + layer.b, "preactivation"))
    return x


def _check_sizes(sizes: tuple[int, ...]) -> None:
    if not sizes:
        raise ValueError("give the sizes of the layers, as in deep_input(cell, 64, 32)")
    for size in sizes:
        check_size(size=size)


@shown
def deep_input(
    cell: Cell, *sizes: int, activation: Activation = jnp.tanh, kernel_init: Initializer = glorot_uniform
) -> Cell:
    """Layers between the input and the cell: the cell sees φ(W_L ... φ(W₁ xₜ + b₁) ... + b_L).

    Parameters: Deep(those of the cell, which sees an input of the last size; a matrix and a bias for each layer).
    Carry: that of the cell. Init: matrices glorot uniform, biases zero.
    Source: Pascanu et al. 2014, arXiv:1312.6026, section 3.1.

    Raises:
      ValueError: no sizes, or one below 1.
    """
    _check_sizes(sizes)

    def init(key: Array, input_size: int) -> Deep:
        key_cell, key_layers = jax.random.split(key)
        return Deep(cell.init(key_cell, sizes[-1]), _init_layers(key_layers, (input_size, *sizes), kernel_init))

    def prepare(params: Deep, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> Deep:
        return params._replace(cell=cell.prepare(params.cell, key, (*input_shape[:-1], sizes[-1])))

    def project(p: Deep, x: Array) -> Any:
        return cell.project(p.cell, _through(p.layers, x, activation))

    return Cell(
        output_size=cell.output_size,
        init=init,
        initial_carry=lambda params, batch_shape=(): cell.initial_carry(params.cell, batch_shape),
        project=project,
        step=lambda p, carry, z: cell.step(p.cell, carry, z),
        prepare=prepare,
        linear=cell.linear,
    )


@shown
def deep_output(
    cell: Cell, *sizes: int, activation: Activation = jnp.tanh, kernel_init: Initializer = glorot_uniform
) -> Cell:
    """Layers after the cell, out of the recurrence: yₜ = φ(W_L ... φ(W₁ hₜ + b₁) ... + b_L).

    Parameters: Deep(those of the cell; a matrix and a bias for each layer). Carry: that of the cell. Output: [*B, the
    last size]. Init: matrices glorot uniform, biases zero.
    Source: Pascanu et al. 2014, arXiv:1312.6026, section 3.3 (its last, linear layer is a model's readout).

    Raises:
      ValueError: no sizes, or one below 1.
    """
    _check_sizes(sizes)

    def init(key: Array, input_size: int) -> Deep:
        key_cell, key_layers = jax.random.split(key)
        layers = _init_layers(key_layers, (cell.output_size, *sizes), kernel_init)
        return Deep(cell.init(key_cell, input_size), layers)

    def prepare(params: Deep, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> Deep:
        return params._replace(cell=cell.prepare(params.cell, key, input_shape))

    def step(p: Deep, carry: Any, z: Any) -> tuple[Any, Array]:
        carry, h = cell.step(p.cell, carry, z)
        return carry, _through(p.layers, h, activation)

    return Cell(
        output_size=sizes[-1],
        init=init,
        initial_carry=lambda params, batch_shape=(): cell.initial_carry(params.cell, batch_shape),
        project=lambda p, x: cell.project(p.cell, x),
        step=step,
        prepare=prepare,
        linear=cell.linear,
    )


@shown
def deep_transition(
    cell: Cell,
    *,
    layers: int = 1,
    shortcut: bool = False,
    activation: Activation = jnp.tanh,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Layers between one state and the next: what the cell makes goes through them before it recurs.

        a⁰ = cell(hₜ₋₁, xₜ),   aˡ = φ(Uˡ aˡ⁻¹ + bˡ),   l = 1..L,   hₜ = aᴸ

    With `shortcut` the last layer also sees S hₜ₋₁, so that the gradient has a short way back. For a cell whose output
    is a leaf of its carry: of an LSTM's, h goes through the layers, c does not.
    Parameters: DeepTransition(those of the cell; L times O(O + 1); O² for S). Carry: that of the cell. Output: hₜ.
    Init: matrices orthogonal, biases zero.
    Source: Pascanu et al. 2014, arXiv:1312.6026, section 3.2, for the cell `elman`: its first layer is layer one of
    their L + 1.

    Raises:
      ValueError: fewer than one layer; at initialisation, a cell whose output is not part of its carry.
    """
    check_size(layers=layers)
    size = cell.output_size

    def init(key: Array, input_size: int) -> DeepTransition:
        key_cell, key_layers, key_S = jax.random.split(key, 3)
        params = DeepTransition(
            cell=cell.init(key_cell, input_size),
            layers=_init_layers(key_layers, (size,) * (layers + 1), recurrent_init),
            S=recurrent_init(key_S, (size, size), jnp.float32) if shortcut else None,
        )
        p, x = prepare(params, None, (input_size,)), jnp.zeros(input_size, jnp.float32)
        jax.eval_shape(lambda p: step(p, initial_carry(params), project(p, x)), p)  # refuses what cannot be
        return params

    def initial_carry(params: DeepTransition, batch_shape: tuple[int, ...] = ()) -> Any:
        return cell.initial_carry(params.cell, batch_shape)

    def prepare(params: DeepTransition, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> DeepTransition:
        return params._replace(cell=cell.prepare(params.cell, key, input_shape))

    def project(p: DeepTransition, x: Array) -> Any:
        return cell.project(p.cell, x)

    def step(p: DeepTransition, carry: Any, z: Any) -> tuple[Any, Array]:
        made, a = cell.step(p.cell, carry, z)
        leaves, structure = jax.tree.flatten(made)
        places = [place for place, leaf in enumerate(leaves) if leaf is a]
        if not places:
            raise ValueError("deep_transition needs a cell whose output is a leaf of its carry, such as elman or lstm")
        past = jax.tree.leaves(carry)[places[0]]
        for number, (U, b) in enumerate(p.layers, 1):
            a = recur(a, U) + b
            if shortcut and number == layers:
                a = a + recur(past, p.S)
            a = activation(name(a, "preactivation"))
        leaves[places[0]] = a
        return jax.tree.unflatten(structure, leaves), a

    return Cell(size, init, initial_carry, project, step, prepare)
