"""One training by several processes, on one machine or many: process 0 runs the program, the others follow it.

Every batch is cut over the devices of all (`rnnjax.training.learner.shared_mesh`), so all must make each call that
computes on them, in the same order and with equal arguments. Process 0 decides, measures and writes as if it were
alone; before each such call it says which one comes (`lead`), and the others make it too (`follow`). They write
nothing, and a checkpoint reaches them through process 0: only what is trained on must be on every machine.

A signal to any of them is one to process 0, which finishes the steps under way, saves them and ends all. Where one
process is lost, what the others next compute together fails, and they end; where that has no connection of its own to
fail by (NCCL), JAX ends them, in its own words, when heartbeats have been missed for 100 seconds.
"""

import hashlib
import json
import os
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum, auto
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.console import Console

from experiments.shared import stopping
from experiments.shared.failures import BAD_INPUT, FAULT, named, told
from experiments.shared.start import complain

T = TypeVar("T")
SIZES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")  # what Slurm's srun and Open MPI's mpirun say to each process
WAIT_SECONDS = 300.0  # for the others to come
OF_CONNECTIONS = re.compile("gloo|nccl|unavailable", re.IGNORECASE)  # in errors of XLA
GONE = "another process of this training has ended; the same command in all of them goes on from the last checkpoint"


class Order(IntEnum):
    """What process 0 says comes next."""

    INIT = auto()
    CHUNK = auto()
    PUT = auto()
    GET = auto()
    END = auto()


class Broken(Exception):
    """A call that all processes make has failed in this one; nothing can be told to the others any more."""

    def __init__(self, error: Exception):
        lost = OF_CONNECTIONS.search(str(error))
        self.line, self.code = (f"{GONE} ({named(error)})", FAULT) if lost else told(error)
        super().__init__(self.line)


_leading = False


@contextmanager
def joined(console: Console, address: str | None, num_processes: int | None, process_id: int | None) -> Iterator[None]:
    """Within this block JAX has the devices of all processes, if there are several; nothing may run on it before.

    Args:
      console: goes quiet in all but process 0.
      address: HOST:PORT where process 0 listens for the others. None where the environment tells JAX all three (Slurm,
        Open MPI), and where there is one process alone.
      num_processes, process_id: how many there are, and which one this is.

    Raises:
      ValueError: the port is taken, or they cannot find each other. If that takes 300 seconds the process ends.
    """
    global _leading
    if max(num_processes or 1, *(int(os.environ.get(name, 1)) for name in SIZES)) == 1:
        yield
        return
    if address and process_id == 0:
        _check_port(int(address.rpartition(":")[2]))
    jax.config.update("jax_enable_preemption_service", False)  # stopping.py attends to signals
    method = "deactivate" if address else None  # what is said by hand goes before what Slurm says
    by_hand = "--coordinator, --num-processes and --process-id say by hand where and how many they are"
    lonely = f"the processes of this training did not find each other in {WAIT_SECONDS:g} seconds; {by_hand}"
    waiting = threading.Timer(WAIT_SECONDS, _leave, (lonely, BAD_INPUT))  # before JAX aborts the process for that
    waiting.daemon = True
    waiting.start()
    try:
        timeout = round(2 * WAIT_SECONDS)
        jax.distributed.initialize(
            address, num_processes, process_id, cluster_detection_method=method, initialization_timeout=timeout
        )
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the processes of this training do not find each other: {named(error)}; {by_hand}") from error
    finally:
        waiting.cancel()
    this, count = jax.process_index(), jax.process_count()
    console.print(f"process {this} of {count}, {jax.device_count()} devices in all", markup=False)
    console.quiet = this > 0
    with stopping.with_others():
        try:
            yield
            if _leading:
                _exchange(Order.END)
        except Broken as error:
            _leave(error.line, error.code)
        except BaseException as error:
            if _leading:
                _tell_of(error)
            raise
        finally:
            _leading = False
            jax.distributed.shutdown()


def prepared(prepare: Callable[[], T], about: Callable[[T], Mapping[str, Any]]) -> T:
    """What `prepare` gives, which must compute nothing together; all processes begin with the same, or none does.

    Args:
      about: what must be equal in all, by name; of what JSON holds.

    Raises:
      ValueError: it is not, or another process could not prepare.
      Exception: what `prepare` raises; the others are told.
    """
    if jax.process_count() == 1:
        return prepare()
    counts = Counter(device.process_index for device in jax.devices())
    if len(set(counts.values())) > 1:
        raise ValueError(f"every process must have as many devices: they have {', '.join(map(str, counts.values()))}")
    failure, made, known = None, None, {}
    try:
        made = prepare()
        known = {**about(made), "version of jax": jax.__version__}
    except Exception as error:
        failure = error
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).digest() if known else bytes(32)
    rows = _together(multihost_utils.process_allgather, np.frombuffer(digest, np.uint8))
    if failure is not None:
        raise failure
    failed = [i for i, row in enumerate(rows) if not row.any()]
    if failed:
        raise ValueError(f"process {failed[0]} could not begin; what it printed says why")
    others = [i for i, row in enumerate(rows) if (row != rows[0]).any()]
    if others:
        raise ValueError(f"process {others[0]} has not the same as process 0: {', '.join(known)} must be equal in all")
    return made


def lead(training: Any) -> Any:
    """The training as process 0 uses it: init, chunk, put and get are said to the others before they are made."""
    global _leading
    if jax.process_count() == 1:
        return training
    _leading = True

    def init(seed: int) -> Any:
        _exchange(Order.INIT, seed)
        return _together(training.init, seed)

    def chunk(state: Any, i: int, seed: int) -> Any:
        _exchange(Order.CHUNK, i, seed)
        return _together(training.chunk, state, i, seed)

    def put(state: Any) -> Any:
        _exchange(Order.PUT)
        return _together(_put, training, state)

    def get(state: Any) -> Any:
        _exchange(Order.GET)
        return _together(training.get, state)

    return training._replace(init=init, chunk=chunk, put=put, get=get)


def follow(training: Any) -> None:
    """Make the calls that process 0 says, to its end.

    Raises:
      ValueError: process 0 has ended with an error.
      Stopped: a signal ended all.
    """
    state = None
    with stopping.patience(lambda: True) as asked:
        while True:
            try:
                order, first, second, _ = _exchange(0, signal=asked() or 0)
                if order == Order.INIT:
                    state = _together(training.init, first)
                elif order == Order.CHUNK:
                    state, _ = _together(training.chunk, state, first, second)
                elif order == Order.PUT:
                    state = _together(_put, training, jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), state))
                elif order == Order.GET:
                    _together(training.get, state)
                elif first > 128:
                    raise stopping.Stopped(first - 128)
                elif first:
                    raise ValueError("process 0 has ended with an error; what it printed says which")
                else:
                    return
            except Broken:
                if number := asked():
                    stopping.end(number)
                raise


def is_first() -> bool:
    """Whether this is process 0, or alone."""
    return jax.process_index() == 0


def _put(training: Any, state: Any) -> Any:
    """A state that process 0 alone has read, on the devices of all."""
    return training.put(multihost_utils.broadcast_one_to_all(jax.device_get(state)))


def _exchange(order: int, first: int = 0, second: int = 0, signal: int = 0) -> list[int]:
    """What process 0 says; it hears in turn of a signal to another, unless this is the end."""
    rows = _together(multihost_utils.process_allgather, np.array([order, first, second, signal], np.int32))
    if is_first() and order != Order.END and (heard := int(rows[:, -1].max())):
        stopping.note(heard)
    return rows[0].tolist()


def _together(call: Callable[..., T], *arguments: Any) -> T:
    """A call that all make; its end is waited for, so that a failure is one of this call."""
    try:
        return jax.block_until_ready(call(*arguments))
    except Exception as error:
        raise Broken(error) from error


def _tell_of(error: BaseException) -> None:
    """Have the others end, too; where that fails this process ends here."""
    signal = getattr(error, "number", 0)  # of Stopped
    try:
        _exchange(Order.END, 128 + signal if signal else FAULT)
    except Broken:
        if signal:
            stopping.end(signal)
        _leave(*(told(error) if isinstance(error, Exception) else (repr(error), FAULT)))


def _check_port(port: int) -> None:
    """Raise ValueError where another program listens there, which JAX would not survive."""
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one of a process that has just ended is free
        try:
            ours.bind(("", port))
        except OSError as error:
            raise ValueError(f"--coordinator: port {port} of this machine cannot be had: {error.strerror}") from None


def _leave(line: str, code: int) -> NoReturn:
    """End without a farewell to the others, for which JAX would wait."""
    complain(line, code)
    sys.stdout.flush()
    os._exit(code)
