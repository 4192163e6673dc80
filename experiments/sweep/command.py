"""python -m experiments.sweep [NAME]: run a sweep, or go on with it, and leave a table."""

import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.shared.command_line import Command, Given
from experiments.shared.start import THREADS_PER_CORE, start
from experiments.sweep.settings import Options

COMMAND = Command("python -m experiments.sweep", __doc__, Options)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """List the sweeps, or run one."""
    if given.options.list:
        from experiments.sweep.named import list_sweeps

        list_sweeps(console)
        return
    if given.options.ray is not None:
        import jax

        jax.config.update("jax_platforms", "cpu")  # the driver only plans: accelerators are for the groups
    from experiments.sweep.main import run_sweep

    run_sweep(console, given.options, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 1 for a fault, 130 when stopped by Ctrl-C."""
    return start(run, COMMAND, argv, threads_per_core=THREADS_PER_CORE)


if __name__ == "__main__":
    sys.exit(main())
