"""Cells of published text classifiers that begin otherwise than those of the library."""

import jax
from jax import Array

from rnnjax.cell import Cell
from rnnjax.cells import LSTMParams, elman, lstm
from rnnjax.initializers import Normal, Uniform, glorot_uniform, orthogonal


def elman_by_hand(hidden_size: int) -> Cell:
    """Elman network with Glorot matrices and biases from N(0, 1)."""
    return elman(hidden_size, recurrent_init=glorot_uniform, bias=Normal(1.0))


def elman_torch(hidden_size: int) -> Cell:
    """Elman network with all initial values uniform(-1/sqrt(H), 1/sqrt(H)), the default of PyTorch's nn.RNN."""
    bound = hidden_size**-0.5

    def init(key: Array, shape: tuple[int, ...], dtype) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return elman(hidden_size, kernel_init=init, recurrent_init=init, bias=Uniform(-bound, bound))


def lstm_keras(hidden_size: int) -> Cell:
    """LSTM with Keras' initial values: one Glorot matrix [I, 4H] and one orthogonal [H, 4H], not one for each gate."""
    cell = lstm(hidden_size)

    def init(key: Array, input_size: int) -> LSTMParams:
        key_W, key_U = jax.random.split(key)
        params = cell.init(key, input_size)
        W = glorot_uniform(key_W, params.W.shape, params.W.dtype)
        return params._replace(W=W, U=orthogonal(key_U, params.U.shape, params.U.dtype))

    return cell._replace(init=init)
