"""Weights of Keras' recurrent layers, in and out. Nothing here imports keras.

Keras keeps, in the order of `layer.get_weights()`, for SimpleRNN, LSTM and GRU alike:

    kernel           [I, G*H]     W          gates i, f, c, o (LSTM); z, r, h (GRU); one block (SimpleRNN)
    recurrent_kernel [H, G*H]     U
    bias             [G*H]        b, or of a GRU with reset_after [2, 3H]: that of the input, that of the state

A Bidirectional layer has those of its forward layer, then those of its backward layer. The gates of the LSTM are in the
order used here; those of the GRU are permuted to r, z, n.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rnnjax.cells import ElmanParams, GRUParams, LSTMParams

Params = ElmanParams | GRUParams | LSTMParams
GATES = {1: "a SimpleRNN", 3: "a GRU", 4: "an LSTM"}


def from_keras(weights: Sequence[Any], *, reset_after: bool = True) -> Any:
    """The params that give what a Keras SimpleRNN, LSTM or GRU gives, from its `get_weights()`.

    The kind is told by the shapes: recurrent_kernel has 1, 3 or 4 times as many columns as rows.

        layer.get_weights()                               gives
        SimpleRNN                                         ElmanParams, for `elman` (`elman_relu` with activation="relu")
        LSTM                                              LSTMParams, for `lstm`
        GRU                                               GRUParams, for `gru`
        GRU(reset_after=False)                            GRUParams, for `gru_reset_before`
        Bidirectional(...)                                (params, params), for `bidirectional(cell)`
        [layer.get_weights() for layer in layers]         (params, params, ...), for `stack(cell, cell, ...)`

    Layers without biases (use_bias=False) get biases of zero.

    Args:
      weights: the arrays of one layer, two or three, of one Bidirectional layer, four or six, or a list of such lists.
      reset_after: that of a GRU without biases, whose shapes do not tell; elsewhere the shape of the bias does.

    Raises:
      ValueError: another number of arrays, or shapes that fit none of the three.
    """
    weights = list(weights)
    if weights and all(isinstance(one, list | tuple) for one in weights):
        return tuple(_layer(one, f"layer {k}: ", reset_after) for k, one in enumerate(weights))
    return _layer(weights, "", reset_after)


def to_keras(params: Any, *, bidirectional: bool = False) -> list[Any]:
    """numpy arrays in the order of `get_weights()`, from params laid out as `from_keras` returns them.

    `keras_layer.set_weights(to_keras(params))` fills a built layer of the same sizes and with biases. Params of a stack
    give a list of such lists, one for each layer. Of the two biases of a GRU with reset_after, the second is zero but
    for its h block, which is b_hn.

    Params do not tell activations: the result gives the same numbers only for a cell with those of Keras.

    Args:
      params: of one cell, or a tuple of them for a stack.
      bidirectional: the params are, or for a stack each entry is, a pair (forward, backward).

    Raises:
      ValueError: the params are of a cell Keras does not have (peepholes, a projection, gates removed).
    """
    single = isinstance(params, Params) or (bidirectional and all(isinstance(p, Params) for p in params))
    layers = []
    for k, layer in enumerate((params,) if single else params):
        directions = layer if bidirectional else (layer,)
        if len(directions) != 1 + bidirectional or not all(isinstance(p, Params) for p in directions):
            wanted = "a pair (forward, backward) of them" if bidirectional else "ElmanParams, GRUParams or LSTMParams"
            raise ValueError(f"layer {k} of the params must be {wanted}, got {type(layer).__name__}")
        layers.append([array for p in directions for array in _arrays(p)])
    return layers[0] if single else layers


def _layer(weights: Sequence[Any], where: str, reset_after: bool) -> Any:
    arrays = [np.asarray(array) for array in weights]
    if len(arrays) in (2, 3):
        return _one_direction(arrays, where, reset_after)
    shapes = [array.shape for array in arrays]
    half = len(arrays) // 2
    if len(arrays) not in (4, 6) or shapes[:half] != shapes[half:]:
        raise ValueError(
            f"{where}expected 2 or 3 arrays (kernel, recurrent_kernel and maybe bias), or those of a Bidirectional "
            f"layer, twice as many of equal shapes; got {len(arrays)}, of shapes {shapes}. Several layers are given as "
            "[layer.get_weights() for layer in layers]"
        )
    return tuple(_one_direction(arrays[start : start + half], where, reset_after) for start in (0, half))


def _one_direction(arrays: list[np.ndarray], where: str, reset_after: bool) -> Params:
    W, U, *biases = arrays
    H, columns = U.shape if U.ndim == 2 else (0, 0)
    num_gates = columns // H if H else 0
    if num_gates not in GATES or columns != num_gates * H:
        raise ValueError(
            f"{where}recurrent_kernel has shape {U.shape}: it must have rows H and columns H (SimpleRNN), 3H (GRU) or "
            "4H (LSTM)"
        )
    if W.ndim != 2 or W.shape[1] != columns:
        raise ValueError(f"{where}kernel has shape {W.shape}, but {GATES[num_gates]} of {H} units needs (I, {columns})")
    allowed = [(columns,), (2, columns)] if num_gates == 3 else [(columns,)]
    b = biases[0] if biases else np.zeros(allowed[-1 if reset_after else 0], U.dtype)
    if b.shape not in allowed:
        wanted = " or ".join(map(str, allowed))
        raise ValueError(f"{where}bias has shape {b.shape}, but {GATES[num_gates]} of {H} units needs {wanted}")
    if num_gates == 3:
        return _gru(W, U, b)
    made = [jnp.asarray(array) for array in (W, U, b)]
    return ElmanParams(*made) if num_gates == 1 else LSTMParams(made[0], made[1], made[2])


def _gru(W: np.ndarray, U: np.ndarray, b: np.ndarray) -> GRUParams:
    W, U, b = _swapped(W), _swapped(U), _swapped(b)
    if b.ndim == 1:
        return GRUParams(*map(jnp.asarray, (W, U, b)))
    H = U.shape[0]
    b, b_h = b
    b_hn = b_h[2 * H :]
    b = b + np.concatenate([b_h[: 2 * H], np.zeros_like(b_hn)])
    return GRUParams(*map(jnp.asarray, (W, U, b, b_hn)))


def _swapped(array: np.ndarray) -> np.ndarray:
    """The first two of three blocks change places: z, r, h and r, z, n."""
    first, second, third = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, third], axis=-1)


def _arrays(p: Params) -> list[np.ndarray]:
    """One direction of one layer: kernel, recurrent_kernel, bias."""
    if isinstance(p, LSTMParams) and not (p.peephole is p.R is p.W_proj is None):
        raise ValueError("Keras' LSTM has no peepholes, no gate recurrence and no projection")
    W, U, b = (np.array(array) for array in (p.W, p.U, p.b))
    H, num_gates = U.shape[0], {ElmanParams: 1, GRUParams: 3, LSTMParams: 4}[type(p)]
    if U.shape[1] != num_gates * H:
        raise ValueError(
            f"Keras needs all gates: {num_gates} blocks of {H} columns in {type(p).__name__}.U, got {U.shape[1]}"
        )
    if not isinstance(p, GRUParams):
        return [W, U, b]
    if p.b_hn is not None:
        b = np.stack([b, np.concatenate([np.zeros(2 * H, b.dtype), np.asarray(p.b_hn)])])
    return [_swapped(W), _swapped(U), _swapped(b)]
