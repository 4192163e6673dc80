"""Chunks of time: their sizes, and a scan over them."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def chunk_size(num_steps: int, aim: int) -> int:
    """About `aim` steps: a divisor of num_steps if there is one within a factor of two, so that nothing is left over.

    What is left over is run by a program of its own, and cutting it off copies inputs and outputs.
    """
    if num_steps <= aim:
        return max(num_steps, 1)
    divisors = [size for size in range((aim + 1) // 2, 2 * aim + 1) if num_steps % size == 0]
    return min(divisors, key=lambda size: abs(size - aim), default=aim)


def checkpoint_interval(num_steps: int) -> int:
    """Steps from one stored carry to the next for Scan(save="chunks"): about sqrt(T)."""
    return chunk_size(num_steps, math.isqrt(max(num_steps - 1, 0)) + 1)


def in_chunks(run: Callable, carry: Any, inputs: Any, num_steps: int, size: int, reverse: bool) -> tuple[Any, Any]:
    """`run(carry, part)` over parts of `size` steps, and one that is shorter where they do not divide num_steps."""
    count, rest = divmod(num_steps, size)
    whole = slice(rest, None) if reverse else slice(0, count * size)
    chunks = jax.tree.map(lambda a: a[whole].reshape(count, size, *a.shape[1:]), inputs)
    carry, ys = lax.scan(run, carry, chunks, count, reverse=reverse)
    ys = jax.tree.map(lambda y: y.reshape(count * size, *y.shape[2:]), ys)
    if not rest:
        return carry, ys
    remainder = slice(0, rest) if reverse else slice(count * size, None)
    carry, ys_rest = run(carry, jax.tree.map(lambda a: a[remainder], inputs))
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts[:: -1 if reverse else 1]), ys, ys_rest)
