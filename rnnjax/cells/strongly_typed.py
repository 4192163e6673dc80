"""Strongly typed cells: no matrix meets the state, so that each of its units keeps one meaning over time.

They are linear in their state, and so run in parallel over time too.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, dense, name, recur, shown, split, zero_carry, zeros
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, glorot_uniform, per_gate
from rnnjax.linear import advance, delayed

sigmoid = jax.nn.sigmoid


class TRNNParams(NamedTuple):
    W: Array  # [I, 2*H]
    b: Array  # [H] of the gate


class TypedParams(NamedTuple):
    W: Array  # [I, 3*H] from this input
    V: Array  # [I, 3*H] from the input before
    b: Array  # [3*H]


class TypedCarry(NamedTuple):
    c: Array  # [*B, H]
    x: Array  # [*B, I] the input before


@shown
def t_rnn(hidden_size: int, *, forget_bias: Bias = 0.0, kernel_init: Initializer = glorot_uniform) -> Cell:
    """Strongly typed recurrent network: a moving average of the input whose speed the input sets.

        zₜ = W xₜ
        fₜ = σ(V xₜ + b)                                         f = 1 keeps
        hₜ = fₜ ⊙ hₜ₋₁ + (1 − fₜ) ⊙ zₜ

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: z, f. Parameters: 2HI + H.
    Init: W and V glorot uniform, b zero or as given.
    Differs from the paper: initial values are the usual ones of today.
    Reference: Balduzzi & Ghifary 2016, arXiv:1602.02218, section 3.2.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> TRNNParams:
        key_W, key_b = jax.random.split(key)
        return TRNNParams(per_gate(kernel_init, key_W, input_size, H, 2), init_bias(forget_bias, key_b, H))

    def project(p: TRNNParams, x: Array) -> tuple[Array, Array]:
        z, f = split(name(dense(x, p.W), "preactivation"), 2)
        return z, f + p.b

    def step(p: TRNNParams, h: Array, z: Any) -> tuple[Array, Array]:
        z, f = z
        f = name(sigmoid(f), "forget_gate")
        h = advance(h, f, (1 - f) * z)
        return h, h

    return Cell(H, init, zero_carry(H), project, step, linear=True)


@shown
def t_gru(
    hidden_size: int,
    *,
    forget_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = glorot_uniform,
) -> Cell:
    """Strongly typed gated recurrent unit.

        zₜ = W_z xₜ + V_z xₜ₋₁ + b_z
        fₜ = σ(W_f xₜ + V_f xₜ₋₁ + b_f)                          f = 1 keeps
        oₜ = tanh(W_o xₜ + V_o xₜ₋₁ + b_o)                       the size and sign of what is added
        hₜ = fₜ ⊙ hₜ₋₁ + zₜ ⊙ oₜ

    Carry: TypedCarry(c = h [*B, H], x [*B, I] the input before, zero at first). Output: hₜ [*B, H]. Packing: z, f, o.
    Parameters: 3H(2I + 1).
    Init: W and V glorot uniform per gate, biases zero or as given.
    Differs from the paper: initial values are the usual ones of today; its nonlinearity τ is tanh.
    Reference: Balduzzi & Ghifary 2016, arXiv:1602.02218, section 3.3.
    """

    def update(h: Array, z: Array, f: Array, o: Array) -> tuple[Array, Array]:
        h = advance(h, f, z * o)
        return h, h

    return _typed(hidden_size, forget_bias, kernel_init, recurrent_init, update)


@shown
def t_lstm(
    hidden_size: int,
    *,
    forget_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = glorot_uniform,
) -> Cell:
    """Strongly typed LSTM.

        zₜ = W_z xₜ + V_z xₜ₋₁ + b_z
        fₜ = σ(W_f xₜ + V_f xₜ₋₁ + b_f)                          f = 1 keeps
        oₜ = tanh(W_o xₜ + V_o xₜ₋₁ + b_o)                       the size and sign of what is shown
        cₜ = fₜ ⊙ cₜ₋₁ + (1 − fₜ) ⊙ zₜ
        hₜ = cₜ ⊙ oₜ

    Carry: TypedCarry(c [*B, H], x [*B, I] the input before, zero at first). Output: hₜ [*B, H]. Packing: z, f, o.
    Parameters: 3H(2I + 1).
    Init: W and V glorot uniform per gate, biases zero or as given.
    Differs from the paper: initial values are the usual ones of today; its nonlinearity τ is tanh.
    Reference: Balduzzi & Ghifary 2016, arXiv:1602.02218, section 3.3.
    """

    def update(c: Array, z: Array, f: Array, o: Array) -> tuple[Array, Array]:
        c = advance(c, f, (1 - f) * z)
        return c, c * o

    return _typed(hidden_size, forget_bias, kernel_init, recurrent_init, update)


def _typed(hidden_size: int, forget_bias: Bias, kernel_init: Initializer, recurrent_init: Initializer, update) -> Cell:
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> TypedParams:
        key_W, key_V, key_b = jax.random.split(key, 3)
        nothing = jnp.zeros(H, jnp.float32)
        return TypedParams(
            W=per_gate(kernel_init, key_W, input_size, H, 3),
            V=per_gate(recurrent_init, key_V, input_size, H, 3),
            b=jnp.concatenate([nothing, init_bias(forget_bias, key_b, H), nothing]),
        )

    def initial_carry(params: TypedParams, batch_shape: tuple[int, ...] = ()) -> TypedCarry:
        return TypedCarry(zeros(params, *batch_shape, H), zeros(params, *batch_shape, params.V.shape[0]))

    def project(p: TypedParams, x: Array) -> tuple[Array, Array]:
        return affine(p, x), x

    def step(p: TypedParams, carry: TypedCarry, z: Any) -> tuple[TypedCarry, Array]:
        z, x = z
        z, f, o = split(name(z + recur(delayed(carry.x, x), p.V), "preactivation"), 3)
        c, h = update(carry.c, z, name(sigmoid(f), "forget_gate"), name(jnp.tanh(o), "output_gate"))
        return TypedCarry(c, x), h

    return Cell(H, init, initial_carry, project, step, linear=True)
