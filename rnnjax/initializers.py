"""Initial values of parameters.

Matrices: every initializer is a function (key, shape, dtype) -> array, as in `jax.nn.initializers`, whose own ones
serve wherever they exist. Biases: a number, `Uniform(low, high)`, `Normal(std)` or `Chrono(t_max)`, all called as
(key, size).
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
Initializer = Callable[..., Array]

glorot_uniform: Initializer = jax.nn.initializers.glorot_uniform()
orthogonal: Initializer = jax.nn.initializers.orthogonal()


def identity(scale: float = 1.0) -> Initializer:
    """scale * I for a square matrix (Le, Jaitly & Hinton 2015, arXiv:1504.00941, section 2)."""

    def init(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
        del key
        return scale * jnp.eye(*shape, dtype=dtype)

    return init


def symmetric_uniform(scale: float) -> Initializer:
    """Every entry from U[-scale, scale]."""

    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -scale, scale)

    return init


def per_gate(init: Initializer, key: Array, rows: int, size: int, gates: int) -> Array:
    """`gates` independent [rows, size] matrices side by side, [rows, gates * size].

    One orthogonal matrix per gate, not one [H, 4H] matrix with orthonormal rows, keeps each gate's product an isometry.
    """
    blocks = jax.vmap(lambda k: init(k, (rows, size), jnp.float32))(jax.random.split(key, gates))
    return jnp.moveaxis(blocks, 0, 1).reshape(rows, gates * size)


class Uniform(NamedTuple):
    """Biases drawn from U[low, high]."""

    low: float
    high: float

    def check(self) -> None:
        if not -math.inf < self.low <= self.high < math.inf:
            raise ValueError(f"uniform(low, high) needs finite low <= high, got {self.low}, {self.high}")

    def __call__(self, key: Array, size: int) -> Array:
        self.check()
        return jax.random.uniform(key, (size,), jnp.float32, self.low, self.high)


class Normal(NamedTuple):
    """Biases drawn from N(0, std²)."""

    std: float

    def check(self) -> None:
        if not 0 <= self.std < math.inf:
            raise ValueError(f"normal(std) needs a finite std of at least 0, got {self.std}")

    def __call__(self, key: Array, size: int) -> Array:
        self.check()
        return self.std * jax.random.normal(key, (size,), jnp.float32)


class Chrono(NamedTuple):
    """Biases log U[1, t_max - 1]: gates whose time constants spread evenly up to t_max steps.

    For a gate that keeps. An input gate takes the negative of what was drawn: see `input_bias`.
    Source: Tallec & Ollivier 2018, arXiv:1804.11188, section 2, equation 16.
    """

    t_max: float

    def check(self) -> None:
        if not 2 < self.t_max < math.inf:
            raise ValueError(f"chrono(t_max) needs t_max above 2 steps, and finite, got {self.t_max}")

    def __call__(self, key: Array, size: int) -> Array:
        self.check()
        return jnp.log(jax.random.uniform(key, (size,), jnp.float32, 1.0, self.t_max - 1.0))


Bias = float | Uniform | Normal | Chrono


def check_bias(**biases: Bias) -> None:
    """Raise ValueError for a bias that is not a finite number, or a `Uniform`, `Normal` or `Chrono` of sound values."""
    for label, value in biases.items():
        if isinstance(value, Uniform | Normal | Chrono):
            value.check()
        elif not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(
                f"{label}={value!r}; allowed: a finite number, Uniform(low, high), Normal(std), Chrono(t_max)"
            )


def bias(value: Bias, key: Array, size: int) -> Array:
    """A bias vector [size] from a number, `Uniform`, `Normal` or `Chrono`."""
    if isinstance(value, Uniform | Normal | Chrono):
        return value(key, size)
    return jnp.full((size,), value, jnp.float32)


def input_bias(
    value: Bias | None, key: Array, size: int, *, default: float = 0.0, forget: tuple[Bias, Array] | None = None
) -> Array:
    """The bias b_i [size] of a gate that is 1 where it writes.

    A `Chrono` shuts it: b_i = -log U[1, t_max - 1].

    Args:
      value: None: as the forget gate has it if that is `Chrono`, else `default`.
      forget: what the forget gate was given, and the b_f [size] it drew. Where that is the same `Chrono`, b_i = -b_f,
        so that a unit writes as rarely as it forgets (Tallec & Ollivier 2018, equation 16).
    """
    if forget is not None and isinstance(forget[0], Chrono) and (value is None or value == forget[0]):
        return -forget[1]
    drawn = bias(default if value is None else value, key, size)
    return -drawn if isinstance(value, Chrono) else drawn


class GateParams(NamedTuple):
    """The parameters of most gated cells, G gates packed side by side."""

    W: Array  # [I, G*H]
    U: Array  # [H, G*H]
    b: Array  # [G*H]


def gate_params(
    key: Array,
    input_size: int,
    hidden_size: int,
    biases: Sequence[Bias],
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> GateParams:
    """W, U and b of as many gates as there are biases, each gate's matrices drawn independently."""
    key_W, key_U, *keys_b = jax.random.split(key, 2 + len(biases))
    return GateParams(
        W=per_gate(kernel_init, key_W, input_size, hidden_size, len(biases)),
        U=per_gate(recurrent_init, key_U, hidden_size, hidden_size, len(biases)),
        b=jnp.concatenate([bias(value, k, hidden_size) for value, k in zip(biases, keys_b, strict=True)]),
    )


def rotations(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    """H/2 rotations of the plane by angles from U[-π, π]: a unitary diagonal matrix in real numbers.

    The start of a diagonal of phases (Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, section 4.1). An odd last unit
    keeps its value.
    """
    size = shape[0]
    angle = jax.random.uniform(key, (size // 2,), dtype, -jnp.pi, jnp.pi)
    even = 2 * jnp.arange(size // 2)
    matrix = jnp.eye(size, dtype=dtype)
    matrix = matrix.at[even, even].set(jnp.cos(angle)).at[even + 1, even + 1].set(jnp.cos(angle))
    return matrix.at[even, even + 1].set(jnp.sin(angle)).at[even + 1, even].set(-jnp.sin(angle))
