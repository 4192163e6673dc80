"""Gated recurrent units: the reset gate after the recurrent product (cuDNN) or before it (Cho et al. 2014)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, name, recur, shown, split, zero_carry
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, glorot_uniform, orthogonal, per_gate

sigmoid = jax.nn.sigmoid


class GRUParams(NamedTuple):
    W: Array  # [I, G*H]
    U: Array  # [H, G*H]
    b: Array  # [G*H]
    b_hn: Array | None = None  # [H] inside the reset product, where the reset comes after U


@shown
def gru(
    hidden_size: int,
    *,
    reset_gate: bool = True,
    update_gate: bool = True,
    reset_bias: Bias | None = None,
    update_bias: Bias | None = None,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Gated recurrent unit, reset gate after the recurrent product.

        rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)                          r = 1 lets the past into the candidate
        zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)                          z = 1 keeps
        nₜ = tanh(W_n xₜ + b_n + rₜ ⊙ (U_n hₜ₋₁ + b_hn))
        hₜ = (1 − zₜ) ⊙ nₜ + zₜ ⊙ hₜ₋₁

    A removed gate is absent from the packing: r = 1, or z = 0.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: r, z, n. Parameters: 3H(I + H + 1) + H with both gates.
    Init: W glorot uniform, U orthogonal per gate, biases zero or as given (a number, `Uniform`, `Normal`, `Chrono`); a
    large update bias, or `Chrono(t_max)`, keeps, and so writes little.
    Differs from the paper: Cho et al. multiply r with h before U (`gru_reset_before`); this form gives one matrix
    product a step and is what cuDNN, PyTorch and Keras (reset_after) compute.
    Reference: Cho et al. 2014, arXiv:1406.1078, equations 5 to 8; the order of the reset as in cuDNN.
    """
    return _gru(hidden_size, reset_gate, update_gate, reset_bias, update_bias, kernel_init, recurrent_init, after=True)


@shown
def gru_reset_before(
    hidden_size: int,
    *,
    reset_gate: bool = True,
    update_gate: bool = True,
    reset_bias: Bias | None = None,
    update_bias: Bias | None = None,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Gated recurrent unit, reset gate before the recurrent product.

        rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)                          r = 1 lets the past into the candidate
        zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)                          z = 1 keeps
        nₜ = tanh(W_n xₜ + U_n (rₜ ⊙ hₜ₋₁) + b_n)
        hₜ = (1 − zₜ) ⊙ nₜ + zₜ ⊙ hₜ₋₁

    A removed gate is absent from the packing: r = 1, or z = 0.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: r, z, n. Parameters: 3H(I + H + 1) with both gates.
    Init: W glorot uniform, U orthogonal per gate, biases zero or as given (a number, `Uniform`, `Chrono`).
    Differs from the paper: biases, which the paper leaves out.
    Reference: Cho et al. 2014, arXiv:1406.1078, equations 5 to 8.
    """
    return _gru(hidden_size, reset_gate, update_gate, reset_bias, update_bias, kernel_init, recurrent_init, after=False)


def _gru(hidden_size, reset_gate, update_gate, reset_bias, update_bias, kernel_init, recurrent_init, after) -> Cell:
    H = hidden_size
    check_size(hidden_size=H)
    biases = {"reset_bias": reset_bias, "update_bias": update_bias}
    check_bias(**{label: value for label, value in biases.items() if value is not None})
    if reset_bias is not None and not reset_gate:
        raise ValueError(f"reset_bias={reset_bias} was given, but this cell has no reset gate")
    if update_bias is not None and not update_gate:
        raise ValueError(f"update_bias={update_bias} was given, but this cell has no update gate")
    gate_biases = [reset_bias or 0.0] * reset_gate + [update_bias or 0.0] * update_gate
    num_gates = len(gate_biases)

    def init(key: Array, input_size: int) -> GRUParams:
        key_W, key_U, *bias_keys = jax.random.split(key, 2 + num_gates)
        gates = [init_bias(value, k, H) for value, k in zip(gate_biases, bias_keys, strict=True)]
        return GRUParams(
            W=per_gate(kernel_init, key_W, input_size, H, num_gates + 1),
            U=per_gate(recurrent_init, key_U, H, H, num_gates + 1),
            b=jnp.concatenate([*gates, jnp.zeros(H, jnp.float32)]),
            b_hn=jnp.zeros(H, jnp.float32) if after else None,
        )

    def gates_and_candidate(packed: Array) -> list[Array]:
        return jnp.split(packed, [num_gates * H], axis=-1)

    def gates_from(packed: Array) -> tuple[Any, Any]:
        gates = split(packed, num_gates) if num_gates else []
        r = name(sigmoid(gates[0]), "reset_gate") if reset_gate else 1.0
        z = name(sigmoid(gates[-1]), "update_gate") if update_gate else 0.0
        return r, z

    def step_after(p: GRUParams, h: Array, z: Array) -> tuple[Array, Array]:
        u_gates, u_n = gates_and_candidate(recur(h, p.U))
        z_gates, z_n = gates_and_candidate(z)
        r, keep = gates_from(name(z_gates + u_gates, "preactivation"))
        n = jnp.tanh(name(z_n + r * name(u_n + p.b_hn, "preactivation"), "preactivation"))
        h = (1 - keep) * n + keep * h
        return h, h

    def prepare_before(params: Any, key: Array | None = None, input_shape: tuple[int, ...] = ()):
        return params._replace(U=gates_and_candidate(params.U))

    def step_before(p: GRUParams, h: Array, z: Array) -> tuple[Array, Array]:
        U_gates, U_n = p.U
        z_gates, z_n = gates_and_candidate(z)
        r, keep = gates_from(name(z_gates + recur(h, U_gates), "preactivation"))
        n = jnp.tanh(name(z_n + recur(r * h, U_n), "preactivation"))
        h = (1 - keep) * n + keep * h
        return h, h

    if after:
        return Cell(H, init, zero_carry(H), affine, step_after)
    return Cell(H, init, zero_carry(H), affine, step_before, prepare_before)
