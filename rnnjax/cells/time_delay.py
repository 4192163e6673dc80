"""The time-delay network: a layer that sees the last few inputs at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, zeros
from rnnjax.initializers import Initializer, glorot_uniform


class TimeDelayParams(NamedTuple):
    W: Array  # [I, H] for the input of this step
    W_past: Array  # [(n - 1) * I, H] for those before, the last one first
    b: Array  # [H]


@shown
def time_delay(
    hidden_size: int,
    *,
    window: int = 3,
    activation: Callable[[Array], Array] = jax.nn.sigmoid,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """Time-delay layer: the same weights over a sliding window of n inputs, a convolution over time.

        yₜ = σ(W₀ xₜ + W₁ xₜ₋₁ + … + W₍ₙ₋₁₎ xₜ₋₍ₙ₋₁₎ + b)                      n = window

    Nothing is fed back: what lies n steps behind is gone, exactly. A time-delay network is a stack of such layers, as
    in stack(time_delay(8, window=3), time_delay(3, window=5)), the two hidden layers of Waibel et al.
    Carry: the last n − 1 inputs side by side, the last one first [*B, (n − 1) I]; zeros before the first.
    Output: yₜ [*B, H]. Parameters: H(n I + 1).
    Init: all W as one matrix [n I, H], glorot uniform, b zero.
    Differs from the paper: nothing.
    References: Waibel, Hanazawa, Hinton, Shikano & Lang 1989, "Phoneme recognition using time-delay neural networks",
    IEEE Transactions on Acoustics, Speech, and Signal Processing 37(3); Lang & Hinton 1988, technical report
    CMU-CS-88-152.
    """
    H = hidden_size
    check_size(hidden_size=H, window=window)

    def init(key: Array, input_size: int) -> TimeDelayParams:
        W = kernel_init(key, (window * input_size, H), jnp.float32)
        return TimeDelayParams(W[:input_size], W[input_size:], jnp.zeros(H, jnp.float32))

    def initial_carry(params: TimeDelayParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(params, *batch_shape, params.W_past.shape[0])

    def project(p: TimeDelayParams, x: Array) -> tuple[Array, Array]:
        return x, dense(x, p.W) + p.b

    def step(p: TimeDelayParams, past: Array, z: Any) -> tuple[Array, Array]:
        x, z = z
        y = activation(name(z + recur(past, p.W_past), "preactivation"))
        return jnp.concatenate([x, past], axis=-1)[..., : past.shape[-1]], y

    return Cell(H, init, initial_carry, project, step)
