"""The state meets a matrix only in the gates: what is added to it comes from the input alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.cells.lstm import LSTMCarry
from rnnjax.initializers import (
    Bias,
    Initializer,
    bias as init_bias,
    check_bias,
    glorot_uniform,
    input_bias as init_input_bias,
    orthogonal,
    per_gate,
    symmetric_uniform,
)

sigmoid = jax.nn.sigmoid


class AdditiveParams(NamedTuple):
    W: Array  # [I, K*H] gates, then the candidate
    U: Array  # [H, G*H] gates
    b: Array | None = None  # [G*H] gates, or [K*H] where the candidate has a bias too


class MinimalRNNParams(NamedTuple):
    W_z: Array  # [I, H]
    U_z: Array  # [H, H]
    U_h: Array  # [H, H]
    b_z: Array  # [H]
    b_u: Array  # [H]


def product(p: AdditiveParams, x: Array) -> Array:
    """W x for all gates and the candidate; the biases come in the step."""
    return dense(x, p.W)


def forget_and_input_bias(key: Array, size: int, forget: Bias, write: Bias | None, default: float) -> Array:
    """b_f and b_i [2 * size]; b_i = −b_f for a `Chrono` forget bias unless an input bias is given."""
    key_f, key_i = jax.random.split(key)
    b_f = init_bias(forget, key_f, size)
    return jnp.concatenate([b_f, init_input_bias(write, key_i, size, default=default, forget=(forget, b_f))])


@shown
def ran(
    hidden_size: int,
    *,
    activation: Callable[[Array], Array] | None = jnp.tanh,
    forget_bias: Bias = 0.0,
    input_bias: Bias | None = None,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Recurrent additive network: the state is a gated sum of the inputs, each seen through one linear map.

        fₜ = σ(W_f xₜ + U_f hₜ₋₁ + b_f)                          f = 1 keeps
        iₜ = σ(W_i xₜ + U_i hₜ₋₁ + b_i)                          i = 1 writes
        cₜ = iₜ ⊙ (W_c xₜ) + fₜ ⊙ cₜ₋₁
        hₜ = tanh(cₜ)

    `activation=None` is the paper's other form, hₜ = cₜ.
    Carry: LSTMCarry(h [*B, H], c [*B, H]). Output: hₜ [*B, H]. Packing: f, i, c. Parameters: 3HI + 2H(H + 1).
    Init: W glorot uniform, U orthogonal per gate, biases zero or as given; a `Chrono` forget bias sets b_i = −b_f as
    well, unless `input_bias` is given.
    Differs from the paper: nothing.
    Reference: Lee, Levy & Zettlemoyer 2017, "Recurrent additive networks", arXiv:1705.07393.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)
    if input_bias is not None:
        check_bias(input_bias=input_bias)

    def init(key: Array, input_size: int) -> AdditiveParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        return AdditiveParams(
            W=per_gate(kernel_init, key_W, input_size, H, 3),
            U=per_gate(recurrent_init, key_U, H, H, 2),
            b=forget_and_input_bias(key_b, H, forget_bias, input_bias, default=0.0),
        )

    def step(p: AdditiveParams, carry: LSTMCarry, z: Array) -> tuple[LSTMCarry, Array]:
        h, c, _ = carry
        z_gates, content = jnp.split(z, [2 * H], axis=-1)
        f, i = split(sigmoid(name(z_gates + recur(h, p.U) + p.b, "preactivation")), 2)
        c = name(i, "input_gate") * name(content, "preactivation") + name(f, "forget_gate") * c
        h = activation(c) if activation else c
        return LSTMCarry(h, c), h

    return Cell(H, init, zero_carry(LSTMCarry, h=H, c=H), product, step)


@shown
def cfn(
    hidden_size: int,
    *,
    forget_bias: Bias = 1.0,
    input_bias: Bias | None = None,
    weight_scale: float = 0.07,
) -> Cell:
    """Chaos-free network: without an input every state decays to zero, whatever the weights.

        θₜ = σ(U_θ hₜ₋₁ + V_θ xₜ + b_θ)                          θ = 1 keeps
        ηₜ = σ(U_η hₜ₋₁ + V_η xₜ + b_η)                          η = 1 writes
        hₜ = θₜ ⊙ tanh(hₜ₋₁) + ηₜ ⊙ tanh(W xₜ)

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: θ, η, then W. Parameters: 3HI + 2H(H + 1).
    Init: all matrices uniform in ±weight_scale, b_θ = 1, b_η = −1, as in the paper; a `Chrono` forget bias sets
    b_η = −b_θ, unless `input_bias` is given.
    Differs from the paper: nothing.
    Reference: Laurent & von Brecht 2017, "A recurrent neural network without chaos", arXiv:1612.06212.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)
    if input_bias is not None:
        check_bias(input_bias=input_bias)
    draw = symmetric_uniform(weight_scale)

    def init(key: Array, input_size: int) -> AdditiveParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        return AdditiveParams(
            W=draw(key_W, (input_size, 3 * H), jnp.float32),
            U=draw(key_U, (H, 2 * H), jnp.float32),
            b=forget_and_input_bias(key_b, H, forget_bias, input_bias, default=-1.0),
        )

    def step(p: AdditiveParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_gates, z_x = jnp.split(z, [2 * H], axis=-1)
        theta, eta = split(sigmoid(name(z_gates + recur(h, p.U) + p.b, "preactivation")), 2)
        written = name(eta, "input_gate") * jnp.tanh(name(z_x, "preactivation"))
        h = name(theta, "forget_gate") * jnp.tanh(h) + written
        return h, h

    return Cell(H, init, zero_carry(H), product, step)


@shown
def atr(
    hidden_size: int, *, kernel_init: Initializer = glorot_uniform, recurrent_init: Initializer = orthogonal
) -> Cell:
    """Addition-subtraction twin-gated network: two gates from two matrices in all.

        pₜ = W xₜ,  qₜ = U hₜ₋₁
        iₜ = σ(pₜ + qₜ)                                          i = 1 writes
        fₜ = σ(pₜ − qₜ)                                          f = 1 keeps
        hₜ = iₜ ⊙ pₜ + fₜ ⊙ hₜ₋₁

    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + H), no biases.
    Init: W glorot uniform, U orthogonal.
    Differs from the paper: nothing.
    Reference: Zhang, Xiong, Su, Lin & Zhang 2018, "Simplifying neural machine translation with addition-subtraction
    twin-gated recurrent networks", arXiv:1810.12546.
    """
    H = hidden_size
    check_size(hidden_size=H)

    def init(key: Array, input_size: int) -> AdditiveParams:
        key_W, key_U = jax.random.split(key)
        return AdditiveParams(
            W=kernel_init(key_W, (input_size, H), jnp.float32), U=recurrent_init(key_U, (H, H), jnp.float32)
        )

    def step(params: AdditiveParams, h: Array, z: Array) -> tuple[Array, Array]:
        p = name(z, "preactivation")
        q = name(recur(h, params.U), "preactivation")
        i = name(sigmoid(p + q), "input_gate")
        f = name(sigmoid(p - q), "forget_gate")
        h = i * p + f * h
        return h, h

    return Cell(H, init, zero_carry(H), product, step)


@shown
def sgrn(
    hidden_size: int,
    *,
    forget_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Simple gated recurrent network: one gate, and one map of the input for the gate and for what is written.

        fₜ = σ(W xₜ + U hₜ₋₁ + b)                                f = 1 keeps
        hₜ = tanh((1 − fₜ) ⊙ (W xₜ) + fₜ ⊙ hₜ₋₁)

    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + H + 1).
    Init: W glorot uniform, U orthogonal, b = forget_bias.
    Differs from the paper: nothing known.
    Reference: Zu & Wei 2020, "A simple gated recurrent network for detection of power quality disturbances", IET
    Generation, Transmission & Distribution 15(4), doi:10.1049/gtd2.12056.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> AdditiveParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        return AdditiveParams(
            W=kernel_init(key_W, (input_size, H), jnp.float32),
            U=recurrent_init(key_U, (H, H), jnp.float32),
            b=init_bias(forget_bias, key_b, H),
        )

    def step(p: AdditiveParams, h: Array, z: Array) -> tuple[Array, Array]:
        z = name(z, "preactivation")
        f = name(sigmoid(name(z + recur(h, p.U) + p.b, "preactivation")), "forget_gate")
        h = jnp.tanh((1 - f) * z + f * h)
        return h, h

    return Cell(H, init, zero_carry(H), product, step)


@shown
def star(
    hidden_size: int,
    *,
    keep_bias: Bias = 1.0,
    kernel_init: Initializer = orthogonal,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """STAR: a stackable recurrent cell, whose gradients keep their size from layer to layer.

        zₜ = tanh(W_z xₜ + b_z)
        kₜ = σ(W_x xₜ + W_h hₜ₋₁ + b_k)                          k = 1 writes
        hₜ = tanh((1 − kₜ) ⊙ hₜ₋₁ + kₜ ⊙ zₜ)

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: k, z. Parameters: H(2I + H + 2).
    Init: all matrices orthogonal, b_z = 0, b_k = −keep_bias, so that a positive `keep_bias`, or `Chrono(t_max)` as in
    the authors' code for pixels, keeps.
    Differs from the paper: nothing. The authors' code for pixels, unlike the paper, takes the two sides of the gate
    from sigmoids shifted by 1, as `janet` does.
    Reference: Turkoglu, D'Aronco, Wegner & Schindler 2019, "Gating revisited: deep multi-layer RNNs that can be
    trained", arXiv:1911.11033.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(keep_bias=keep_bias)

    def init(key: Array, input_size: int) -> AdditiveParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        return AdditiveParams(
            W=per_gate(kernel_init, key_W, input_size, H, 2),
            U=recurrent_init(key_U, (H, H), jnp.float32),
            b=jnp.concatenate([-init_bias(keep_bias, key_b, H), jnp.zeros(H, jnp.float32)]),
        )

    def step(p: AdditiveParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_k, z_z = split(z, 2)
        k = name(sigmoid(name(z_k + recur(h, p.U), "preactivation")), "update_gate")
        h = jnp.tanh((1 - k) * h + k * jnp.tanh(name(z_z, "preactivation")))
        return h, h

    return Cell(H, init, zero_carry(H), affine, step)


@shown
def minimal_rnn(
    hidden_size: int,
    *,
    update_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """MinimalRNN: the input is mapped into the state space, and the state moves only between such points.

        zₜ = tanh(W_z xₜ + b_z)
        uₜ = σ(U_h hₜ₋₁ + U_z zₜ + b_u)                          u = 1 keeps
        hₜ = uₜ ⊙ hₜ₋₁ + (1 − uₜ) ⊙ zₜ

    Carry: h [*B, H]. Output: hₜ [*B, H]. Parameters: H(I + 2H + 2).
    Init: W_z glorot uniform, U_h and U_z orthogonal, b_z = 0, b_u = update_bias.
    Differs from the paper: nothing; its map from x to z is any network, and in its experiments this one.
    Reference: Chen 2017, "MinimalRNN: toward more interpretable and trainable recurrent neural networks",
    arXiv:1711.06788.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(update_bias=update_bias)

    def init(key: Array, input_size: int) -> MinimalRNNParams:
        key_W, key_z, key_h, key_b = jax.random.split(key, 4)
        return MinimalRNNParams(
            W_z=kernel_init(key_W, (input_size, H), jnp.float32),
            U_z=recurrent_init(key_z, (H, H), jnp.float32),
            U_h=recurrent_init(key_h, (H, H), jnp.float32),
            b_z=jnp.zeros(H, jnp.float32),
            b_u=init_bias(update_bias, key_b, H),
        )

    def project(p: MinimalRNNParams, x: Array) -> tuple[Array, Array]:
        z_z = name(dense(x, p.W_z) + p.b_z, "preactivation")
        return z_z, dense(jnp.tanh(z_z), p.U_z) + p.b_u

    def step(p: MinimalRNNParams, h: Array, z: Any) -> tuple[Array, Array]:
        z_z, z_u = z
        u = name(sigmoid(name(z_u + recur(h, p.U_h), "preactivation")), "update_gate")
        h = u * h + (1 - u) * jnp.tanh(z_z)
        return h, h

    return Cell(H, init, zero_carry(H), project, step)
