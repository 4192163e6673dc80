"""The contract of a recurrent cell, and the helpers every cell is written with.

A cell is a NamedTuple of pure functions. `p` stands for prepared parameters, `*B` for any number of leading batch axes,
`I` for the input size, `O` for the output size:

    init(key, input_size)                -> params           a pytree of real arrays, float32
    initial_carry(params, batch_shape)   -> carry            every leaf leads with batch_shape
    prepare(params, key, input_shape)    -> p                once per sequence; input_shape is (*B, I) of one step
    project(p, x [*B, I])                -> z                what needs no carry: any pytree of [*B, ...]
    step(p, carry, z)                    -> (carry, y [*B, O])

`prepare` is differentiated through. It is where masks are drawn and where anything costly that does not change over
time is computed. `key=None` means evaluation: nothing random happens.

A cell meets its matrices only through `dense` (inputs) and `recur` (carries), and names what is worth looking at with
`name`. Wrappers and the engine build on these three alone and know no cell.

`linear=True` says that the carry goes from step to step through the functions of rnnjax/linear.py alone; `unroll` may
then take many steps at once, by the same `step`.
"""

import functools
import operator
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Inexact, Shaped

from rnnjax.intercept import context

Array = jax.Array


def as_they_are(params: Any, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> Any:
    """The `prepare` of a cell with nothing to prepare."""
    del key, input_shape
    return params


Params = TypeVar("Params")
Carry = TypeVar("Carry")
Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


class Cell(NamedTuple, Generic[Params, Carry]):
    """A recurrent cell as pure functions; see the module's docstring for their contract."""

    output_size: int
    init: Callable[[Array, int], Params]
    initial_carry: Callable[..., Carry]  # (params, batch_shape=())
    project: Callable[[Any, Inexact[Array, "*B I"]], Any]
    step: Callable[[Any, Carry, Any], tuple[Carry, Inexact[Array, "*B O"]]]
    prepare: Callable[..., Any] = as_they_are  # (params, key=None, input_shape=())
    linear: bool = False
    text: str = ""  # the call that made it, which is how it shows itself

    def __repr__(self) -> str:
        maker = getattr(self.step, "__qualname__", "").split(".<locals>.")[-2:][0]
        return self.text or f"{maker} cell of {self.output_size} outputs"


def shown(factory: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """A factory whose cells (or layers) show themselves as the call that made them: stack(lstm(8), gru(5)).

    Their `init` refuses an input_size that is no whole number of at least 1.
    """

    @functools.wraps(factory)
    def make(*args: Arguments.args, **options: Arguments.kwargs) -> Made:
        words = [*map(_word, args), *(f"{key}={_word(value)}" for key, value in options.items())]
        made: Any = factory(*args, **options)

        @functools.wraps(made.init)
        def init(key: Array, input_size: int) -> Any:
            check_size(input_size=input_size)
            return made.init(key, input_size)

        return made._replace(init=init, text=f"{factory.__name__}({', '.join(words)})")

    return make


def _word(value: Any) -> str:
    return getattr(value, "__name__", repr(value)) if callable(value) and not isinstance(value, tuple) else repr(value)


def name(value: Array, label: str) -> Array:
    """Label an intermediate of a step: `unroll` saves by these labels, `harvest` returns them.

    The word "preactivation" is for what the elementwise part of a step can be recomputed from.
    """
    return checkpoint_name(value, label)


_MATMUL_DTYPE = context()
_RECUR = context()


def matmul_dtype(dtype: Any) -> AbstractContextManager:
    """While this is active, `dense` and `recur` multiply in `dtype` and return the dtype of their first operand.

    Products accumulate in the wider type. Parameters, gates and carries keep theirs.
    """
    return _MATMUL_DTYPE(dtype)


def _product(x: Array, matrix: Array) -> Array:
    dtype = _MATMUL_DTYPE.value
    if dtype is None:
        return x @ matrix
    if jnp.iscomplexobj(x):  # narrow types have no complex form
        return _product(x.real, matrix) + 1j * _product(x.imag, matrix)
    if jnp.iscomplexobj(matrix):
        return _product(x, matrix.real) + 1j * _product(x, matrix.imag)
    wide = jnp.promote_types(x.dtype, matrix.dtype)
    return jnp.matmul(x.astype(dtype), matrix.astype(dtype), preferred_element_type=wide)


def dense(x: Shaped[Array, "*B I"], W: Shaped[Array, "I N"]) -> Shaped[Array, "*B N"]:
    """x @ W for x [*B, I] and W [I, N].

    Raises:
      ValueError: the last axis of x is not the input size W was initialised for.
    """
    if x.shape[-1] != W.shape[0]:
        raise ValueError(
            f"the input has {x.shape[-1]} features, but these parameters were initialised for input_size {W.shape[0]}"
        )
    return _product(x, W)


def recur(h: Shaped[Array, "*B H"], U: Shaped[Array, "H N"]) -> Shaped[Array, "*B N"]:
    """h @ U for h [*B, H] and U [H, N]: the only way a carry meets a matrix."""
    return (_RECUR.value or _product)(h, U)


def intercept_recur(wrapper: Callable[..., Array]) -> AbstractContextManager:
    """While this is active, `recur(h, U)` is `wrapper(product, h, U)`, product being what it was before."""
    outer = _RECUR.value or _product
    return _RECUR(lambda h, U: wrapper(outer, h, U))


def check_size(**sizes: int) -> None:
    """Raise ValueError for a size that is not a whole number of at least 1."""
    for label, size in sizes.items():
        try:
            whole = operator.index(size)  # NumPy's whole numbers are ones too
        except TypeError:
            whole = 0
        if isinstance(size, bool | np.bool_) or whole < 1:
            raise ValueError(f"{label} must be a whole number of at least 1, got {size!r}")


def check_positive(**values: float) -> None:
    """Raise ValueError for a number that is not above 0."""
    for label, value in values.items():
        if not value > 0:
            raise ValueError(f"{label} must be above 0, got {value!r}")


def split(z: Array, parts: int) -> list[Array]:
    """Cut the last axis into equal parts: the gates of one packed pre-activation."""
    return jnp.split(z, parts, axis=-1)


def zeros(params: Any, *shape: int) -> Array:
    """Zeros in the dtype of the parameters, for initial carries."""
    return jnp.zeros(shape, dtype_of(params))


def zero_carry(of: Any, *sizes: int, **named_sizes: int) -> Callable[..., Any]:
    """An `initial_carry` of zeros: `zero_carry(H)` of one width, `zero_carry(LSTMCarry, h=H, c=H)` of several."""
    widths = of(*sizes, **named_sizes) if isinstance(of, type) else of

    def initial_carry(params: Any, batch_shape: tuple[int, ...] = ()) -> Any:
        return jax.tree.map(lambda size: zeros(params, *batch_shape, size), widths)

    return initial_carry


def affine(p: Any, x: Array) -> Array:
    """The `project` of most cells: W x + b, all gates in one product."""
    return dense(x, p.W) + p.b


def dtype_of(params: Any) -> Any:
    """The dtype that the parameters compute in; float32 for a cell without any."""
    return jnp.result_type(*jax.tree.leaves(params) or [jnp.float32])


def where_each(condition: Array, true: Any, false: Any) -> Any:
    """Choose between two pytrees example by example: condition [*B] against leaves [*B, ...]."""

    def choose(a: Array, b: Array) -> Array:
        shape = condition.shape + (1,) * (jnp.ndim(a) - condition.ndim)
        return jnp.where(condition.reshape(shape), a, b)

    return jax.tree.map(choose, true, false)
