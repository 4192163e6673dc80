"""Checkpoints of a running training, through orbax."""

import copy
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np


def _no_remarks(record: logging.LogRecord) -> bool:
    """False for orbax's warnings, of how long a save took or of what a kill left: `Checkpoints` tells what matters."""
    return record.levelno >= logging.ERROR or "orbax" not in record.pathname


class Checkpoints:
    """The newest states of one training in a folder; writing goes on in the background.

    A checkpoint is a number (how far training has come), named parts, each a pytree of arrays that can be read without
    the others, and a note, which is whatever JSON holds. One that was cut off while being written is never seen: orbax
    renames a finished one into place. One that was damaged later is told of and passed over for the one before it.
    With `read_only` nothing in the folder is touched, where a training may be running. Of several processes that learn
    together the one that has this object waits for no other.
    """

    def __init__(self, folder: Path, keep: int = 2, warn: Callable[[str], None] = print, read_only: bool = False):
        import orbax.checkpoint as ocp  # slow to import, and not every run needs it

        logging.getLogger("absl").addFilter(_no_remarks)  # once, however often it is asked
        self._ocp = ocp
        self._folder = Path(folder).absolute()
        self._warn = warn
        self._read_only = read_only
        alone = {"primary_host": jax.process_index(), "active_processes": {jax.process_index()}}
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            cleanup_tmp_directories=not read_only,
            create=False,
            multiprocessing_options=ocp.options.MultiprocessingOptions(**alone, barrier_sync_key_prefix="alone"),
        )
        if not read_only:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, note: Any = None, **parts: Any) -> None:
        """Keep these parts. All is copied before this returns, so what was given may be changed at once."""
        args = self._ocp.args
        copies = jax.tree.map(np.array, jax.device_get(parts))
        items = {name: args.StandardSave(part) for name, part in copies.items()}
        self._manager.save(step, args=args.Composite(note=args.JsonSave({"note": copy.deepcopy(note)}), **items))

    def latest(self, **like: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """(step, note, parts) of the newest checkpoint that can be read; None where there is none.

        Args:
          like: for each part wanted, a pytree of its structure, shapes and dtypes.

        Raises:
          ValueError: there are checkpoints, and none can be read.
        """
        args = self._ocp.args
        wanted = {name: args.StandardRestore(jax.eval_shape(lambda part=part: part)) for name, part in like.items()}
        failures = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = self._manager.restore(step, args=args.Composite(note=args.JsonRestore(), **wanted))
                _check_shapes({name: restored[name] for name in like}, like)
            except Exception as error:  # orbax raises many kinds for files that are cut off or missing
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                failures.append((step, f"checkpoint {self._folder / str(step)} cannot be read: {reason}"))
                continue
            for bad, message in failures:
                self._warn(f"{message}; going on from checkpoint {step}")
                if not self._read_only:
                    shutil.rmtree(self._folder / str(bad), ignore_errors=True)
            if failures and not self._read_only:
                self._manager.reload()
            return step, restored["note"]["note"], {name: restored[name] for name in like}
        if failures:
            raise ValueError("; ".join(message for _, message in failures) + "; delete the folder to begin anew")
        return None

    def close(self) -> None:
        """Wait for what is being written."""
        self._manager.close()


def _check_shapes(found: Any, like: Any) -> None:
    """ValueError where an array is not of the shape that was asked for: orbax gives it as it was written."""
    for (path, one), other in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(like), strict=True):
        if np.shape(one) != np.shape(other):
            raise ValueError(
                f"{jax.tree_util.keystr(path)} has the shape {np.shape(one)} there, and {np.shape(other)} is expected"
            )
