"""Units cut into heads, and the matrix that each head holds: what matrix memories share."""

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, check_size


def head_size(hidden_size: int, num_heads: int) -> int:
    """The units of one head.

    Raises:
      ValueError: sizes below 1, a hidden_size that is no multiple of num_heads.
    """
    check_size(hidden_size=hidden_size, num_heads=num_heads)
    if hidden_size % num_heads:
        raise ValueError(f"hidden_size must be a multiple of num_heads = {num_heads}, got {hidden_size}")
    return hidden_size // num_heads


def as_heads(z: Array, num_heads: int) -> Array:
    """[*B, heads * d] as [*B, heads, d]."""
    return z.reshape(*z.shape[:-1], num_heads, -1)


def as_units(y: Array) -> Array:
    """[*B, heads, d] as [*B, heads * d]."""
    return y.reshape(*y.shape[:-2], -1)


def outer(v: Array, k: Array) -> Array:
    """v kᵀ [..., values, keys]."""
    return v[..., :, None] * k[..., None, :]


def read(S: Array, q: Array) -> Array:
    """S q, head by head."""
    return jnp.einsum("...ij,...j->...i", S, q)


def inner(k: Array, q: Array) -> Array:
    """k · q, head by head."""
    return jnp.sum(k * q, axis=-1)


def unit(a: Array) -> Array:
    """a / ‖a‖, head by head; a norm below 1e-6 counts as 1e-6."""
    return a * jax.lax.rsqrt(jnp.maximum(inner(a, a), 1e-12))[..., None]
