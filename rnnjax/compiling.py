"""Options of XLA's compiler, for what runs long and for what runs once."""

from functools import cache
from typing import Any

import jax

# One loop an operation, and one part of the module: parts for several threads make short programs take a third longer.
# They are XLA's own affair, and may go one day, as the first has with jaxlib 0.12.
RUN_ONCE = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}


def compiler_options() -> dict[str, Any] | None:
    """For `jax.jit` on CPUs; None elsewhere.

    This level compiles in two thirds of the time, and what it compiles runs no slower. Vectors as wide as the machine
    has, in place of XLA's 256 bits, take 0.90 to 0.97 of the time of a training step where there are 512.
    """
    if jax.default_backend() != "cpu":
        return None
    return {"xla_backend_optimization_level": 1, "xla_cpu_prefer_vector_width": 512}


def apart_options() -> dict[str, Any] | None:
    """As `compiler_options`, where devices work each on its own: threads within an operation are left out.

    With a device for each core there is no core left for them.
    """
    options = compiler_options()
    return None if options is None else {**options, "xla_cpu_multi_thread_eigen": jax.local_device_count() == 1}


@cache
def run_once_options() -> dict[str, Any] | None:
    """For `jax.jit` of what runs once or a few times: on CPUs it compiles in less than half the time and runs slower.

    Operations taken one by one are compiled one by one, which for the random draws of an initialisation takes several
    times as long as all of them together with these options.
    """
    if jax.default_backend() != "cpu":
        return None
    known = {name: value for name, value in RUN_ONCE.items() if _is_known(name, value)}
    return {**(apart_options() or {}), **known}


def _is_known(option: str, value: Any) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={option: value}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
