"""Simple recurrent units: a forget gate that pools over time, and a highway around it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, check_size, dense, name, shown, split, zero_carry
from rnnjax.initializers import Bias, Initializer, bias as init_bias, check_bias, per_gate
from rnnjax.linear import advance

sigmoid = jax.nn.sigmoid
lecun_uniform: Initializer = jax.nn.initializers.lecun_uniform()


class SRUParams(NamedTuple):
    W: Array  # [I, 3H]
    b: Array  # [2H] of the gates
    v: Array | None = None  # [2H] from the state to the gates, in the later version
    W_skip: Array | None = None  # [I, H], where I is not H


@shown
def sru(
    hidden_size: int,
    *,
    activation: Callable[[Array], Array] = jnp.tanh,
    forget_bias: Bias = 0.0,
    highway_bias: Bias = 0.0,
    kernel_init: Initializer = lecun_uniform,
) -> Cell:
    """Simple recurrent unit, first version: gates of the input alone, and a highway around the layer.

        x̃ₜ = W xₜ
        fₜ = σ(W_f xₜ + b_f)                                     f = 1 keeps
        rₜ = σ(W_r xₜ + b_r)                                     r = 1 shows the state, r = 0 the input
        cₜ = fₜ ⊙ cₜ₋₁ + (1 − fₜ) ⊙ x̃ₜ
        hₜ = rₜ ⊙ g(cₜ) + (1 − rₜ) ⊙ xₜ                          g = activation

    The bare x has to be of size H. Where I is not H, W_skip xₜ stands in its place in the last line.
    Linear in time: `unroll(method=Associative())`.
    Carry: c [*B, H]. Output: hₜ [*B, H]. Packing: W x̃, f, r; b f, r. Parameters: H(3I + 2), and HI for W_skip where I
    is not H.
    Init: matrices uniform with variance 1 / I, biases zero or as given.
    Differs from the paper: nothing; W_skip is that of the authors' code.
    Reference: Lei & Zhang 2017, "Training RNNs as fast as CNNs", arXiv:1709.02755v1, section 2, equations 1 to 5.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias, highway_bias=highway_bias)

    def init(key: Array, input_size: int) -> SRUParams:
        return _init(key, input_size, H, [forget_bias, highway_bias], kernel_init)

    def step(p: SRUParams, c: Array, z: Any) -> tuple[Array, Array]:
        x, z = z
        x_new, z_f, z_r = split(name(z, "preactivation"), 3)
        f = name(sigmoid(z_f), "forget_gate")
        r = name(sigmoid(z_r), "reset_gate")
        c = advance(c, f, (1 - f) * x_new)
        h = r * activation(c) + (1 - r) * x
        return c, h

    return Cell(H, init, zero_carry(H), _project, step, linear=True)


@shown
def sru_v2(
    hidden_size: int,
    *,
    forget_bias: Bias = 0.0,
    highway_bias: float = 0.0,
    kernel_init: Initializer = lecun_uniform,
) -> Cell:
    """Simple recurrent unit, final version: each gate also sees its own unit's state.

        fₜ = σ(W_f xₜ + v_f ⊙ cₜ₋₁ + b_f)                        f = 1 keeps
        cₜ = fₜ ⊙ cₜ₋₁ + (1 − fₜ) ⊙ W xₜ
        rₜ = σ(W_r xₜ + v_r ⊙ cₜ₋₁ + b_r)                        r = 1 shows the state, r = 0 the input
        hₜ = rₜ ⊙ cₜ + (1 − rₜ) ⊙ α xₜ,  α = √(1 + 2 e^b),  b the initial b_r

    The state feeds back into its gates: no longer linear in time. The bare x has to be of size H. Where I is not H,
    W_skip xₜ stands in its place in the last line.
    Carry: c [*B, H]. Output: hₜ [*B, H]. Packing: W x̃, f, r; b and v f, r. Parameters: H(3I + 4), and HI for W_skip
    where I is not H.
    Init: W uniform with variance 1 / I; W_f and W_r with half of it, v uniform with variance ½, so that the arguments
    of the gates have that of W x; b_f zero or as given, b_r = highway_bias, so that α keeps the variance of h near that
    of x.
    Differs from the paper: nothing; W_skip and the halved variances are those of the authors' code.
    Reference: Lei, Zhang, Wang, Dai & Artzi 2018, "Simple recurrent units for highly parallelizable recurrence",
    arXiv:1709.02755v5, sections 3 and 3.2.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(forget_bias=forget_bias, highway_bias=highway_bias)
    alpha = math.sqrt(1 + 2 * math.exp(highway_bias))

    def init(key: Array, input_size: int) -> SRUParams:
        key, key_v = jax.random.split(key)
        params = _init(key, input_size, H, [forget_bias, highway_bias], kernel_init)
        limit = math.sqrt(3 / 2)
        return params._replace(
            W=params.W.at[:, H:].multiply(math.sqrt(1 / 2)),
            v=jax.random.uniform(key_v, (2 * H,), jnp.float32, -limit, limit),
        )

    def step(p: SRUParams, c: Array, z: Any) -> tuple[Array, Array]:
        x, z = z
        x_new, z_f, z_r = split(name(z, "preactivation"), 3)
        v_f, v_r = split(p.v, 2)
        f = name(sigmoid(z_f + v_f * c), "forget_gate")
        r = name(sigmoid(z_r + v_r * c), "reset_gate")
        c = f * c + (1 - f) * x_new
        h = r * c + (1 - r) * alpha * x
        return c, h

    return Cell(H, init, zero_carry(H), _project, step)


def _init(key: Array, input_size: int, hidden_size: int, biases: list[Bias], kernel_init: Initializer) -> SRUParams:
    key_W, key_skip, *keys_b = jax.random.split(key, 2 + len(biases))
    skips = input_size != hidden_size
    return SRUParams(
        W=per_gate(kernel_init, key_W, input_size, hidden_size, 3),
        b=jnp.concatenate([init_bias(value, k, hidden_size) for value, k in zip(biases, keys_b, strict=True)]),
        W_skip=kernel_init(key_skip, (input_size, hidden_size), jnp.float32) if skips else None,
    )


def _project(p: SRUParams, x: Array) -> tuple[Array, Array]:
    z = dense(x, p.W)
    size = z.shape[-1] // 3
    z = z + jnp.concatenate([jnp.zeros(size, p.b.dtype), p.b])
    return x if p.W_skip is None else dense(x, p.W_skip), z
