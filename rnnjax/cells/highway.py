"""Recurrent highway networks: several gated layers within one step of time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.initializers import Bias, Initializer, Uniform, bias as init_bias, check_bias, per_gate, symmetric_uniform

sigmoid = jax.nn.sigmoid
narrow = symmetric_uniform(0.04)


class RHNParams(NamedTuple):
    W: Array  # [I, G*H] into the first layer
    U: tuple[Array, ...]  # L times [H, G*H]
    b: tuple[Array, ...]  # L times [G*H]


@shown
def rhn(
    hidden_size: int,
    *,
    depth: int = 4,
    coupled: bool = True,
    transform_bias: Bias = -2.0,
    kernel_init: Initializer = narrow,
    recurrent_init: Initializer = narrow,
) -> Cell:
    """Recurrent highway network: L highway layers between one state and the next.

        aˡ = tanh(Uˡ_h sˡ⁻¹ + bˡ_h [+ W_h xₜ])
        tˡ = σ(Uˡ_t sˡ⁻¹ + bˡ_t [+ W_t xₜ])                      t = 1 transforms
        cˡ = 1 − tˡ,  or σ(Uˡ_c sˡ⁻¹ + bˡ_c [+ W_c xₜ])          c = 1 keeps
        sˡ = aˡ ⊙ tˡ + sˡ⁻¹ ⊙ cˡ,   l = 1..L,   s⁰ = hₜ₋₁,   hₜ = sᴸ

    The input, in brackets, enters the first layer alone. `coupled=False` gives the carry gate c its own weights.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: a, t, and c unless coupled. Parameters: GH(I + L(H + 1)), G = 2
    coupled, else 3.
    Init: matrices and b_h uniform in ±0.04; b_t = −2, so that the layers begin by keeping; b_c = −b_t.
    Differs from the paper: nothing; initial values are those of the authors' program for word PTB, which has no
    separate carry gate, so that b_c is ours.
    Reference: Zilly et al. 2017, arXiv:1607.03474, equations 6 to 9; github.com/jzilly/RecurrentHighwayNetworks.

    Raises:
      ValueError: sizes or depth below 1.
    """
    H, num_gates = hidden_size, 2 if coupled else 3
    check_size(hidden_size=H, depth=depth)
    check_bias(transform_bias=transform_bias)

    def init(key: Array, input_size: int) -> RHNParams:
        key_W, *keys = jax.random.split(key, 1 + depth)
        U, b = zip(*(init_layer(k) for k in keys), strict=True)
        return RHNParams(per_gate(kernel_init, key_W, input_size, H, num_gates), U, b)

    def init_layer(key: Array) -> tuple[Array, Array]:
        key_U, key_h, key_t = jax.random.split(key, 3)
        b_t = init_bias(transform_bias, key_t, H)
        biases = [init_bias(Uniform(-0.04, 0.04), key_h, H), b_t, -b_t]
        return per_gate(recurrent_init, key_U, H, H, num_gates), jnp.concatenate(biases[:num_gates])

    def project(p: RHNParams, x: Array) -> Array:
        return dense(x, p.W) + p.b[0]

    def step(p: RHNParams, s: Array, z: Array) -> tuple[Array, Array]:
        for U, from_below in zip(p.U, (z, *p.b[1:]), strict=True):
            a, t, *rest = split(name(from_below + recur(s, U), "preactivation"), num_gates)
            t = name(sigmoid(t), "transform_gate")
            c = name(1 - t if coupled else sigmoid(rest[0]), "carry_gate")
            s = jnp.tanh(a) * t + s * c
        return s, s

    return Cell(H, init, zero_carry(H), project, step)
