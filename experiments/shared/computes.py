"""Whether two names of cells stand for the same computation, asked of what JAX traces rather than of a list."""

import hashlib
import re
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.cells import build_cell, parse_cell
from rnnjax.cells import CELLS

SIZES = (16, 24)  # units; two of them, so that a size that an option gives is not taken for one that follows from H
INPUT_SIZE, NUM_STEPS = 10, 997  # odd, so that `chrono` is no lag that an option gives


@cache
def computed(cell: str) -> str:
    """A digest of how a cell starts and of its step, equal for texts that compute the same: `lstm` and `lstm_np`, and
    `lstm` and `lstm:forget_bias=1`.

    Empty for what is no cell of CELLS with its options, or takes none of SIZES. Never imports a module.
    """
    if parse_cell(cell)[0] not in CELLS:
        return ""
    with jax.default_matmul_precision("highest"):  # a part of what is traced, whatever the process has set
        texts = [text for size in SIZES if (text := _traced(cell, size))]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest() if texts else ""


def _traced(cell: str, size: int) -> str:
    """The jaxprs of initialisation and step, with the constants in them; empty where the cell cannot be built."""

    def start(key):
        params = made.init(key, INPUT_SIZE)
        return params, made.initial_carry(params, (2,))

    def step(params, carry, x, key):
        p = made.prepare(params, key, x.shape)
        return made.step(p, carry, made.project(p, x))

    key, x = jax.random.key(0), jax.ShapeDtypeStruct((2, INPUT_SIZE), jnp.float32)
    try:
        made = build_cell(cell, size, NUM_STEPS)
        traced = [jax.make_jaxpr(start)(key), jax.make_jaxpr(step)(*jax.eval_shape(start, key), x, key)]
    except (TypeError, ValueError):
        return ""
    return "\n".join([str(jax.tree.structure(jax.eval_shape(start, key))), *map(text_of, traced)])


def text_of(traced: Any) -> str:
    """A traced program with the constants in it, and without the addresses of functions that it names."""
    constants = (np.asarray(constant).tobytes().hex() for constant in traced.consts)
    return "\n".join([re.sub(r"0x[0-9a-f]+", "", str(traced.jaxpr)), *constants])
