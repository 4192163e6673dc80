"""Values that hold within a block, and a door through which instruments see every `unroll` of a network."""

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax


def context() -> Any:
    """`value` of it is None, and v within `with it(v):`.

    It is part of the key of jax.jit's caches: what is compiled, a jitted helper inside a step too, is traced anew when
    the value changes.
    """
    return jax.make_user_context(None)


_AROUND = context()


def interceptable(function: Callable) -> Callable:
    """A function whose calls `intercept_unroll` sees, with all its arguments by name."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapped(*args, **options):
        wrapper = _AROUND.value
        if wrapper is None:
            return function(*args, **options)
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        with _AROUND(None):
            return wrapper(function, **bound.arguments)

    return wrapped


def intercept_unroll(wrapper: Callable) -> AbstractContextManager:
    """While this is active, `unroll(...)` is `wrapper(unroll, cell=..., params=..., xs=..., ...)`.

    Every argument of `unroll` is given by name; within the wrapper `unroll` is itself again.
    """
    return _AROUND(wrapper)
