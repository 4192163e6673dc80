"""Minimal gated units: gates of the input alone, so that the state is linear in itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, shown, split, zeros
from rnnjax.initializers import Bias, Chrono, Initializer, bias as init_bias, check_bias, glorot_uniform, per_gate
from rnnjax.linear import advance

sigmoid, log_sigmoid = jax.nn.sigmoid, jax.nn.log_sigmoid


class InputParams(NamedTuple):
    W: Array  # [I, G*H]
    b: Array  # [G*H]


def input_params(key: Array, input_size: int, hidden_size: int, biases: list[Bias], kernel_init: Initializer):
    """W and b of as many gates as there are biases, each gate's matrix drawn independently."""
    key_W, *keys_b = jax.random.split(key, 1 + len(biases))
    return InputParams(
        W=per_gate(kernel_init, key_W, input_size, hidden_size, len(biases)),
        b=jnp.concatenate([init_bias(value, k, hidden_size) for value, k in zip(biases, keys_b, strict=True)]),
    )


def positive_part(z: Array) -> Array:
    """g of Feng et al.: z + 1/2 where z >= 0, sigma(z) below; continuous, increasing, above 0."""
    return jnp.where(z >= 0, z + 0.5, sigmoid(z))


@shown
def mingru(
    hidden_size: int,
    *,
    positive: bool = False,
    keep_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """Minimal GRU: the update gate and the candidate of a GRU, without the past in either.

        zₜ = σ(W_z xₜ + b_z)                                     z = 1 writes
        h̃ₜ = W_h xₜ + b_h
        hₜ = (1 − zₜ) ⊙ hₜ₋₁ + zₜ ⊙ h̃ₜ

    positive: h̃ₜ = g(W_h xₜ + b_h), g(a) = a + ½ for a ≥ 0 and σ(a) below, and h₀ = g(0) = ½, as in the paper's
    computation in logarithms, where the state has to be positive.
    Linear in time: `unroll(method=Associative())`.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: z, h̃. Parameters: 2H(I + 1).
    Init: W glorot uniform per gate, b_h = 0, b_z = −keep_bias, so that a positive `keep_bias`, or `Chrono(t_max)`,
    keeps; the paper states none.
    Differs from the paper: with `positive`, the same numbers come without logarithms, for a mean of positive numbers
    with weights between 0 and 1 neither overflows nor cancels.
    Reference: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv:2410.01201, section
    3.1 and appendix B.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(keep_bias=keep_bias)
    candidate = positive_part if positive else lambda z: z

    def init(key: Array, input_size: int) -> InputParams:
        params = input_params(key, input_size, H, [keep_bias, 0.0], kernel_init)
        return params._replace(b=-params.b)

    def step(p: InputParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_z, z_h = split(name(z, "preactivation"), 2)
        z = name(sigmoid(z_z), "update_gate")
        h = advance(h, 1 - z, z * candidate(z_h))
        return h, h

    return Cell(H, init, _initial_carry(H, positive), affine, step, linear=True)


@shown
def minlstm(
    hidden_size: int,
    *,
    positive: bool = False,
    forget_bias: Bias = 0.0,
    input_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """Minimal LSTM: forget and input gates without the past, scaled to add up to 1; no output gate, no cell beside h.

        fₜ = σ(W_f xₜ + b_f)
        iₜ = σ(W_i xₜ + b_i)
        f′ₜ = fₜ / (fₜ + iₜ),  i′ₜ = iₜ / (fₜ + iₜ)               f′ = 1 keeps, i′ = 1 writes
        h̃ₜ = W_h xₜ + b_h
        hₜ = f′ₜ ⊙ hₜ₋₁ + i′ₜ ⊙ h̃ₜ

    positive: as in `mingru`.
    Linear in time: `unroll(method=Associative())`.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: f, i, h̃. Parameters: 3H(I + 1).
    Init: W glorot uniform per gate, biases zero or as given, a `Chrono` input bias as in `lstm`; the paper states none,
    and tries larger b_f in its appendix.
    Differs from the paper: f′ = σ(ln fₜ − ln iₜ), the same number, which holds where both gates vanish; with
    `positive`, as `mingru`.
    Reference: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv:2410.01201, section
    3.2 and appendix B.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias, input_bias=input_bias)
    candidate = positive_part if positive else lambda z: z

    def init(key: Array, input_size: int) -> InputParams:
        params = input_params(key, input_size, H, [forget_bias, input_bias, 0.0], kernel_init)
        if not isinstance(input_bias, Chrono):
            return params
        b_f, b_i, b_h = split(params.b, 3)  # a chrono input gate starts shut
        return params._replace(b=jnp.concatenate([b_f, -b_f if input_bias == forget_bias else -b_i, b_h]))

    def step(p: InputParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_f, z_i, z_h = split(name(z, "preactivation"), 3)
        odds = log_sigmoid(z_f) - log_sigmoid(z_i)
        f = name(sigmoid(odds), "forget_gate")
        i = name(sigmoid(-odds), "input_gate")
        h = advance(h, f, i * candidate(z_h))
        return h, h

    return Cell(H, init, _initial_carry(H, positive), affine, step, linear=True)


def _initial_carry(hidden_size: int, positive: bool):
    def initial_carry(params: InputParams, batch_shape: tuple[int, ...] = ()) -> Array:
        h = zeros(params, *batch_shape, hidden_size)
        return positive_part(h) if positive else h

    return initial_carry
