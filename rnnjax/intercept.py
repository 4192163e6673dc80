"""A door through which instruments see every `unroll` of a network, without the network's help."""

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager

import jax

# Part of the key of jax.jit's caches: what is compiled is traced anew when it changes.
_AROUND = jax.make_user_context(None)


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
