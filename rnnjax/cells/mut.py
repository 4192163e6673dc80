"""The three mutated gated units that a search over ten thousand architectures ended with."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, recur, shown, split, zero_carry
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, glorot_uniform, orthogonal, per_gate

sigmoid = jax.nn.sigmoid


class MUTParams(NamedTuple):
    W: Array  # [I, K*H] what sees W x, in the order z, r, h
    U: Array  # [H, G*H] gates that see U h, in the order z, r
    U_h: Array  # [H, H] meets r ⊙ h
    b: Array  # [3H] z, r, h
    U_z: Array | None = None  # [H, H] meets tanh(h), in MUT3
    P: Array | None = None  # [I, H] stands before an x without a matrix, where I is not H


@shown
def mut1(
    hidden_size: int,
    *,
    keep_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """MUT1: the update gate does not see the state, and the input enters the candidate through tanh alone.

        zₜ = σ(W_z xₜ + b_z)                                     z = 1 writes
        rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)                          r = 1 lets the past into the candidate
        hₜ = tanh(U_h (rₜ ⊙ hₜ₋₁) + tanh(xₜ) + b_h) ⊙ zₜ + hₜ₋₁ ⊙ (1 − zₜ)

    The bare x has to be of size H. Where I is not H, P xₜ stands in its place, P [I, H] learnt, without a bias.
    Carry: h [*B, H]. Output: hₜ [*B, H]. Packing: W z, r; U r; b z, r, h. Parameters: H(2I + 2H + 3), and HI for P
    where I is not H.
    Init: W and P glorot uniform, U_r and U_h orthogonal, b_r and b_h zero, b_z = −keep_bias, so that a positive
    `keep_bias`, or `Chrono(t_max)`, keeps.
    Differs from the paper: P, where the paper's inputs are of size H; the initial values are the usual ones of today.
    Reference: Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent network architectures",
    ICML, PMLR 37.
    """

    def project(p: MUTParams, x: Array) -> tuple[Array, Array, Array]:
        b_z, b_r, b_h = split(p.b, 3)
        z_z, z_r = split(dense(x, p.W), 2)
        return z_z + b_z, z_r + b_r, jnp.tanh(bare(p, x)) + b_h

    def step(p: MUTParams, h: Array, z: Any) -> tuple[Array, Array]:
        z_z, z_r, z_h = z
        return update(p, h, z_z, z_r + recur(h, p.U), z_h)

    return _mut(hidden_size, project, step, keep_bias, kernel_init, recurrent_init, W=2, U=1, bare_input=True)


@shown
def mut2(
    hidden_size: int,
    *,
    keep_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """MUT2: the input enters the reset gate as it is.

        zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)                          z = 1 writes
        rₜ = σ(xₜ + U_r hₜ₋₁ + b_r)                              r = 1 lets the past into the candidate
        hₜ = tanh(U_h (rₜ ⊙ hₜ₋₁) + W_h xₜ + b_h) ⊙ zₜ + hₜ₋₁ ⊙ (1 − zₜ)

    All else as in `mut1`. Packing: W z, h; U z, r; b z, r, h. Parameters: H(2I + 3H + 3), and HI for P where I is not
    H.
    Reference: Jozefowicz, Zaremba & Sutskever 2015, ICML, PMLR 37.
    """

    def project(p: MUTParams, x: Array) -> tuple[Array, Array, Array]:
        b_z, b_r, b_h = split(p.b, 3)
        z_z, z_h = split(dense(x, p.W), 2)
        return z_z + b_z, bare(p, x) + b_r, z_h + b_h

    def step(p: MUTParams, h: Array, z: Any) -> tuple[Array, Array]:
        z_z, z_r, z_h = z
        u_z, u_r = split(recur(h, p.U), 2)
        return update(p, h, z_z + u_z, z_r + u_r, z_h)

    return _mut(hidden_size, project, step, keep_bias, kernel_init, recurrent_init, W=2, U=2, bare_input=True)


@shown
def mut3(
    hidden_size: int,
    *,
    keep_bias: Bias = 0.0,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """MUT3: the update gate sees tanh of the state.

        zₜ = σ(W_z xₜ + U_z tanh(hₜ₋₁) + b_z)                    z = 1 writes
        rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)                          r = 1 lets the past into the candidate
        hₜ = tanh(U_h (rₜ ⊙ hₜ₋₁) + W_h xₜ + b_h) ⊙ zₜ + hₜ₋₁ ⊙ (1 − zₜ)

    All else as in `mut1`, and no x without a matrix. Packing: W z, r, h; U r; b z, r, h. Parameters: 3H(I + H + 1).
    Reference: Jozefowicz, Zaremba & Sutskever 2015, ICML, PMLR 37.
    """

    def project(p: MUTParams, x: Array) -> Array:
        return dense(x, p.W) + p.b

    def step(p: MUTParams, h: Array, z: Array) -> tuple[Array, Array]:
        z_z, z_r, z_h = split(z, 3)
        return update(p, h, z_z + recur(jnp.tanh(h), p.U_z), z_r + recur(h, p.U), z_h)

    return _mut(hidden_size, project, step, keep_bias, kernel_init, recurrent_init, W=3, U=1, bare_input=False)


def bare(p: MUTParams, x: Array) -> Array:
    """x itself, or P x where its size is not H."""
    return x if p.P is None else name(dense(x, p.P), "preactivation")


def update(p: MUTParams, h: Array, z_z: Array, z_r: Array, z_h: Array) -> tuple[Array, Array]:
    """What the three have in common, from their pre-activations: (h, h)."""
    z = name(sigmoid(name(z_z, "preactivation")), "update_gate")
    r = name(sigmoid(name(z_r, "preactivation")), "reset_gate")
    h = jnp.tanh(name(z_h + recur(r * h, p.U_h), "preactivation")) * z + h * (1 - z)
    return h, h


def _mut(hidden_size, project, step, keep_bias, kernel_init, recurrent_init, *, W, U, bare_input) -> Cell:
    """W and U are the numbers of blocks packed in them; MUT3, which has no bare input, has U_z instead."""
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(keep_bias=keep_bias)

    def init(key: Array, input_size: int) -> MUTParams:
        key_W, key_U, key_h, key_b, key_z, key_P = jax.random.split(key, 6)
        b_z = -init_bias(keep_bias, key_b, H)
        needs_P = bare_input and input_size != H
        return MUTParams(
            W=per_gate(kernel_init, key_W, input_size, H, W),
            U=per_gate(recurrent_init, key_U, H, H, U),
            U_h=recurrent_init(key_h, (H, H), jnp.float32),
            b=jnp.concatenate([b_z, jnp.zeros(2 * H, jnp.float32)]),
            U_z=None if bare_input else recurrent_init(key_z, (H, H), jnp.float32),
            P=kernel_init(key_P, (input_size, H), jnp.float32) if needs_P else None,
        )

    return Cell(H, init, zero_carry(H), project, step)
