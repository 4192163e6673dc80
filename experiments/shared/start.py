"""How every program begins and ends: devices, errors in one line, signals."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from rich.console import Console

from experiments.shared.command_line import Command, Commands
from experiments.shared.failures import BAD_INPUT, told
from experiments.shared.stopping import Stopped, words

LOG_WIDTH = 160  # where there is no terminal
THREADS_PER_CORE = 4  # of programs that vmap any cell; see `set_up_jax`
COMPILED_BYTES = 2**30  # of compiled programs kept; the least recently used go first
COMPILED_SECONDS = 0.2  # what compiles in less is not kept; by JAX's own limit, a second, half of a quick sweep is not


def start(
    run: Callable[[Console, Any, list[str]], None],
    command: Command | Commands,
    argv: Sequence[str] | None = None,
    *,
    threads_per_core: int = 1,
) -> int:
    """Read the command line and run; the exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C.

    What SIGTERM and SIGHUP do, and Ctrl-C of a program called as one, stands in stopping.py.

    JAX is imported once the command line has been read, so that --help, --list and mistakes are answered at once.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            given = command.read(argv)
        except ValueError as error:  # the words of a setting's own checks are enough
            return complain(str(error), BAD_INPUT)
        console = prepare(threads_per_core)
        run(console, given, argv)
        return 0
    except Exception as error:
        return complain(*told(error))
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        print(words(number) + "".join(getattr(stop, "__notes__", ())))
        return 128 + number


def prepare(threads_per_core: int) -> Console:
    """Set JAX up; the console to report to."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else LOG_WIDTH)
    sys.path.insert(0, os.getcwd())  # where my_module:my_factory is looked for
    set_up_jax(num_cores(), threads_per_core)
    return console


def set_up_jax(cores: int, threads_per_core: int = 1) -> None:
    """What every program asks of JAX: float32 throughout, a device for each core, and compiled programs kept.

    Programs that vmap any cell ask for several threads per core. On a CPU the devices share one pool of threads, by
    default as many as cores, and LAPACK on several matrices (an orthogonal matrix for each trial, say) waits in one of
    them for others to do its part (ParallelBatchMap of jaxlib 0.10). When every device waits so, nothing goes on ever.
    A larger pool makes operations that spread over it slower, up to twice as long, so those programs compile with
    `apart_options`, which keep an operation on one thread; what is left of the cost there has not been measured.
    """
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")  # float32 is float32 on accelerators too
    if threads_per_core > 1:
        os.environ.setdefault("PJRT_NPROC", str(threads_per_core * cores))
    with suppress(RuntimeError):  # where JAX runs already, it keeps the devices it has
        jax.config.update("jax_num_cpu_devices", cores)
    keep_compiled()


def complain(text: str, code: int) -> int:
    """Tell of a mistake or a fault on stderr, in one line; the exit code."""
    Console(stderr=True, highlight=False).print(f"error: {text}", style="red", markup=False, soft_wrap=True)
    return code


def keep_compiled() -> None:
    """What took long to compile is kept in the user's cache, unless JAX was told where to keep it, and what."""
    import jax

    from rnnjax.files import user_cache

    if jax.config.jax_compilation_cache_dir is None and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(user_cache() / "compiled"))
        jax.config.update("jax_compilation_cache_max_size", COMPILED_BYTES)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", COMPILED_SECONDS)


def num_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
