"""Sizes that cannot be: what a training needs at the least, from shapes alone, against the memory there is.

    P (2 + copies) + O + T B H 4 bytes

P: parameters, of which there is a gradient and `copies` of the best; O: the optimizer's state; T B H: one state of each
network's units, kept at every step for the backward pass. Cells keep more than that (gates, carries of several parts),
and a compiler's buffers come on top, so what is refused could not have run; what is let through may still be too large.
Nothing is computed or compiled: shapes come from `jax.eval_shape`.
"""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from rnnjax.cell import Array

GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def check_memory(
    init: Callable[[Array], Any],
    optimizer: Callable[[Any], Any],
    *,
    num_steps: int,
    batch_size: int,
    width: int,
    networks: int = 1,
    together: int = 1,
    copies: int = 1,
    options: Mapping[str, Any],
) -> None:
    """Refuse a training that cannot fit into memory.

    Args:
      init: key -> params of one network.
      optimizer: params -> its state.
      num_steps, batch_size, width: T, B and H of one network, H that of all layers together.
      networks: how many are trained side by side.
      together: how many of them take a step at the same time.
      copies: of the best parameters, on the device.
      options: names and values of what the user may give otherwise, the likeliest first.

    Raises:
      ValueError: with both figures, and the options.
    """
    params = jax.eval_shape(init, jax.random.key(0))
    of_params = networks * (size_of(params) * (2 + copies) + size_of(jax.eval_shape(optimizer, params)))
    of_states = together * num_steps * batch_size * width * 4
    count = networks * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    parts = {
        f"{count:,} parameters with gradient, optimizer and best": of_params,
        f"states of {num_steps:,} steps": of_states,
    }
    check_bytes(", ".join(f"{name} {value}" for name, value in options.items()), "training", parts, *memory())


def check_bytes(named: str, doing: str, parts: Mapping[str, float], there: float, where: str) -> None:
    """Refuse what takes more bytes than there are.

    Args:
      named: what the user has said, with its value.
      doing: what it is needed for.
      parts: bytes of each part.
      there, where: of `memory` or `machine_memory`.

    Raises:
      ValueError: with both figures.
    """
    needed = sum(parts.values())
    if needed > there:
        each = ", ".join(f"{part} {figure(size)}" for part, size in parts.items())
        raise ValueError(
            f"{named}: too large: {doing} needs at least {figure(needed)} of memory ({each}), and {where} has "
            f"{figure(there)}"
        )


def size_of(shapes: Any) -> int:
    """Bytes of a pytree of arrays or shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def memory() -> tuple[float, str]:
    """(bytes, of what): all accelerators here together, or this machine, or the group of processes it is limited to."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    limits = [one.get("bytes_limit", 0) for one in stats]
    if jax.default_backend() != "cpu" and all(limits):
        return sum(limits), f"{len(limits)} accelerator{'s' if len(limits) > 1 else ''}"
    return machine_memory()


def machine_memory() -> tuple[float, str]:
    """(bytes, of what): this machine's, or those of the group of processes it is limited to; no accelerator is asked,
    which would keep its memory from other processes."""
    return min([_physical(), *_group_limits()]), "this machine"


def _physical() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # where the system does not say (Windows), nothing is refused
        return math.inf


def _group_limits() -> list[int]:
    found = []
    for path in GROUP_LIMITS:
        try:
            found.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return found


def figure(num_bytes: float) -> str:
    """In GB: "12.3 GB"."""
    return f"{num_bytes / 1e9:,.1f} GB"
