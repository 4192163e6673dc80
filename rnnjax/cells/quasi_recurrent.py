"""The quasi-recurrent network: a convolution over time makes the gates, a recurrent pooling does the rest."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, split, zeros
from rnnjax.errors import unknown
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, glorot_uniform, per_gate
from rnnjax.linear import advance, delayed

sigmoid = jax.nn.sigmoid
POOLINGS = ("f", "fo", "ifo")


class QRNNParams(NamedTuple):
    W: Array  # [I, G*H] for the input of this step
    W_past: Array | None  # [(n - 1) * I, G*H] for those before, the last one first
    b: Array  # [G*H]


class QRNNCarry(NamedTuple):
    c: Array  # [*B, H]
    past: tuple[Array, ...]  # n - 1 inputs [*B, I], the last one first


@shown
def qrnn(
    hidden_size: int,
    *,
    window: int = 2,
    pooling: str = "fo",
    forget_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
) -> Cell:
    """Quasi-recurrent network: gates and candidates from the last n inputs, and no matrix between states.

        zₜ = tanh(Σⱼ W_zⱼ xₜ₋ⱼ + b_z),  j = 0..n−1               n = window
        fₜ = σ(Σⱼ W_fⱼ xₜ₋ⱼ + b_f)                                f = 1 keeps
        iₜ, oₜ = σ(the same with W_i, b_i and with W_o, b_o)      i = 1 writes, o = 1 shows

        pooling "f"     cₜ = fₜ ⊙ cₜ₋₁ + (1 − fₜ) ⊙ zₜ,  hₜ = cₜ
        pooling "fo"    cₜ = fₜ ⊙ cₜ₋₁ + (1 − fₜ) ⊙ zₜ,  hₜ = oₜ ⊙ cₜ
        pooling "ifo"   cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ zₜ,        hₜ = oₜ ⊙ cₜ

    Linear in time: `unroll(method=Associative())`.
    Carry: QRNNCarry(c [*B, H], past: the n − 1 last inputs [*B, I], zeros before the first). Output: hₜ [*B, H].
    Packing: z, f, then i, o where they are. Parameters: GH(nI + 1), G = 2, 3, 4 for "f", "fo", "ifo".
    Init: the matrices of a gate as one [n I, H], glorot uniform, biases zero or as given; the paper states none.
    Differs from the paper: biases; no zoneout, dense connections or attention, which the paper adds around the layer.
    Reference: Bradbury, Merity, Xiong & Socher 2017, "Quasi-recurrent neural networks", arXiv:1611.01576, section 2,
    equations 1 to 5.

    Raises:
      ValueError: sizes below 1, an unknown pooling.
    """
    H = hidden_size
    check_size(hidden_size=H, window=window)
    check_bias(forget_bias=forget_bias)
    if pooling not in POOLINGS:
        raise ValueError(unknown("pooling", pooling, POOLINGS))
    num_gates = 1 + len(pooling)

    def init(key: Array, input_size: int) -> QRNNParams:
        key_W, key_b = jax.random.split(key)
        W = per_gate(kernel_init, key_W, window * input_size, H, num_gates)
        b = jnp.zeros(num_gates * H, jnp.float32).at[H : 2 * H].set(init_bias(forget_bias, key_b, H))
        return QRNNParams(W[:input_size], W[input_size:] if window > 1 else None, b)

    def initial_carry(params: QRNNParams, batch_shape: tuple[int, ...] = ()) -> QRNNCarry:
        x = zeros(params, *batch_shape, params.W.shape[0])
        return QRNNCarry(zeros(params, *batch_shape, H), (x,) * (window - 1))

    def project(p: QRNNParams, x: Array) -> tuple[Array, Array]:
        return x, dense(x, p.W) + p.b

    def step(p: QRNNParams, carry: QRNNCarry, z: Any) -> tuple[QRNNCarry, Array]:
        x, z = z
        inputs = [x]
        for held in carry.past:
            inputs.append(delayed(held, inputs[-1]))
        if window > 1:
            z = z + recur(jnp.concatenate(inputs[1:], axis=-1), p.W_past)
        z, z_f, *gates = split(name(z, "preactivation"), num_gates)
        z = jnp.tanh(z)
        f = name(sigmoid(z_f), "forget_gate")
        i = name(sigmoid(gates[0]), "input_gate") if pooling == "ifo" else 1 - f
        c = advance(carry.c, f, i * z)
        h = c if pooling == "f" else name(sigmoid(gates[-1]), "output_gate") * c
        return QRNNCarry(c, tuple(inputs[:-1])), h

    return Cell(H, init, initial_carry, project, step, linear=True)
