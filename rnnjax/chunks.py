"""Sizes of chunks of time."""

import math


def chunk_size(num_steps: int, aim: int) -> int:
    """About `aim` steps: a divisor of num_steps if there is one within a factor of two, so that nothing is left over.

    What is left over is run by a program of its own, and cutting it off copies inputs and outputs.
    """
    if num_steps <= aim:
        return max(num_steps, 1)
    divisors = [size for size in range((aim + 1) // 2, 2 * aim + 1) if num_steps % size == 0]
    return min(divisors, key=lambda size: abs(size - aim), default=aim)


def checkpoint_interval(num_steps: int) -> int:
    """Steps from one stored carry to the next for save="chunks": about sqrt(T)."""
    return chunk_size(num_steps, math.isqrt(max(num_steps - 1, 0)) + 1)
