"""One gate shares the state between what was and a candidate that sees both the input and the state."""

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, recur, shown, split, zero_carry
from rnnjax.initializers import Bias, GateParams, Initializer, check_bias, gate_params, glorot_uniform, orthogonal

sigmoid = jax.nn.sigmoid


@shown
def janet(
    hidden_size: int,
    *,
    beta: float = 1.0,
    forget_bias: Bias = 1.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """JANET: a long short-term memory with its forget gate alone.

        sₜ = W_f xₜ + U_f cₜ₋₁ + b_f
        c̃ₜ = tanh(W_c xₜ + U_c cₜ₋₁ + b_c)
        cₜ = σ(sₜ) ⊙ cₜ₋₁ + (1 − σ(sₜ − β)) ⊙ c̃ₜ                 σ(s) = 1 keeps, and writes little
        hₜ = cₜ

    With β > 0 a little more is written than is forgotten.
    Carry: c [*B, H]. Output: hₜ = cₜ [*B, H]. Packing: f, c. Parameters: 2H(I + H + 1).
    Init: W glorot uniform, U orthogonal per gate, b_f = 1, b_c = 0. The paper's results are with
    `forget_bias=Chrono(t_max)`, t_max the longest dependency there is, which only the task can tell.
    Differs from the paper: nothing. The code published with it has β = 1 built in.
    Reference: van der Westhuizen & Lasenby 2018, "The unreasonable effectiveness of the forget gate", arXiv:1804.04849.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> GateParams:
        return gate_params(key, input_size, H, [forget_bias, 0.0], kernel_init, recurrent_init)

    def step(p: GateParams, c: Array, z: Array) -> tuple[Array, Array]:
        s, z_c = split(name(z + recur(c, p.U), "preactivation"), 2)
        forget = name(sigmoid(s), "forget_gate")
        write = name(1 - sigmoid(s - beta), "input_gate")
        c = forget * c + write * jnp.tanh(z_c)
        return c, c

    return Cell(H, init, zero_carry(H), affine, step)


@shown
def ugrnn(
    hidden_size: int,
    *,
    forget_bias: Bias = 1.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Update gate RNN: a gated recurrent unit without the reset gate.

        cₜ = tanh(W_c xₜ + U_c hₜ₋₁ + b_c)
        gₜ = σ(W_g xₜ + U_g hₜ₋₁ + b_g)                          g = 1 keeps
        hₜ = gₜ ⊙ hₜ₋₁ + (1 − gₜ) ⊙ cₜ

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: g, c. Parameters: 2H(I + H + 1).
    Init: W glorot uniform, U orthogonal per gate, b_g = forget_bias, b_c = 0.
    Differs from the paper: its constant b^fg, added to b_g and tuned there, is the initial b_g here, which is the same
    function. 1 is the value of TensorFlow's cell of this name.
    Reference: Collins, Sohl-Dickstein & Sussillo 2017, "Capacity and trainability in recurrent neural networks",
    arXiv:1611.09913.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias)

    def init(key: Array, input_size: int) -> GateParams:
        return gate_params(key, input_size, H, [forget_bias, 0.0], kernel_init, recurrent_init)

    def step(p: GateParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_g, z_c = split(name(z + recur(h, p.U), "preactivation"), 2)
        g = name(sigmoid(z_g), "update_gate")
        h = g * h + (1 - g) * jnp.tanh(z_c)
        return h, h

    return Cell(H, init, zero_carry(H), affine, step)


@shown
def ligru(
    hidden_size: int,
    *,
    update_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Light gated recurrent unit: no reset gate, a rectified candidate.

        zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)                          z = 1 keeps
        h̃ₜ = max(0, W_h xₜ + U_h hₜ₋₁ + b_h)
        hₜ = zₜ ⊙ hₜ₋₁ + (1 − zₜ) ⊙ h̃ₜ

    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: z, h. Parameters: 2H(I + H + 1).
    Init: W glorot uniform, U orthogonal per gate, b_z = update_bias, b_h = 0.
    Differs from the paper: no batch normalisation of W x, whose shifts are the biases here. The candidate is unbounded,
    and the paper keeps it in bounds by that normalisation: clip gradients, or normalise with `layer_norm`.
    Reference: Ravanelli, Brakel, Omologo & Bengio 2018, "Light gated recurrent units for speech recognition",
    arXiv:1803.10225.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(update_bias=update_bias)

    def init(key: Array, input_size: int) -> GateParams:
        return gate_params(key, input_size, H, [update_bias, 0.0], kernel_init, recurrent_init)

    def step(p: GateParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_z, z_h = split(name(z + recur(h, p.U), "preactivation"), 2)
        z = name(sigmoid(z_z), "update_gate")
        h = z * h + (1 - z) * jax.nn.relu(z_h)
        return h, h

    return Cell(H, init, zero_carry(H), affine, step)
