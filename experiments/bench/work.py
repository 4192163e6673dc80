"""What is timed: shapes, modes, and how a system answers."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

MODES = ("train", "forward", "decode")
GATES = {"elman": 1, "gru": 3, "lstm": 4}  # matrices of each cell, by its name here
REFERENCE = "rnnjax"  # ratios are to this system
BASELINE = "scan"
PRODUCT = "product"


class Work(NamedTuple):
    """One thing to be timed."""

    mode: str
    cell: str
    seq_len: int
    batch_size: int
    input_size: int
    hidden_size: int


class Timed(NamedTuple):
    """A prepared piece of work."""

    call: Callable[[], list]  # does it once, waits for it, and returns its arrays
    compile_seconds: float = float("nan")  # tracing and compilation; nan where nothing is compiled
    temporary_mb: float = float("nan")  # 10^6 bytes beside arguments and results, all devices; nan where unknown


class System(NamedTuple):
    """A system and its adapter."""

    distributions: tuple[str, ...]  # whose versions are recorded, the first being what its users install
    make: Callable[[Work, Mapping[str, str]], dict[str, Timed]]  # by setting; the fastest setting counts
    title: str
    modes: tuple[str, ...] = ("train", "forward")
    is_peer: bool = True


class Network(NamedTuple):
    """A recurrent layer of a JAX library."""

    params: Any
    apply: Callable[[Any, Any], Any]  # (params, xs) -> ys
    batch_first: bool = False


def flops(work: Work) -> float:
    """Floating-point operations of the matrix products, two for each multiply-add.

    A step forward multiplies x [I] with W and h [H] with U; backward come dz U', h'dz and x'dz. The gradient by the
    inputs is not asked for. When decoding, x is a single one, whose product is a row of W, and the readout is added.
    """
    _, cell, T, B, I, H = work
    G = GATES[cell]
    by_mode = {"forward": G * H * (I + H), "train": G * H * (2 * I + 3 * H), "decode": G * H * H + H * I}
    return 2.0 * T * B * by_mode[work.mode]


def inputs(work: Work) -> np.ndarray:
    """xs [T, B, I], the same for every system."""
    shape = work.seq_len, work.batch_size, work.input_size
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def start_jax(num_devices: int = 1) -> None:
    """Float32 throughout, no cache of compiled programs, and so many CPU devices where JAX has not started yet."""
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_enable_compilation_cache", False)
    with suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", num_devices)


def num_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
