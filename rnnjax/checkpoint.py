"""Checkpoints of a running training, through orbax."""

from pathlib import Path
from typing import Any

import jax


class Checkpoints:
    """The newest states of one training in a folder; writing goes on in the background.

    A state is any pytree of arrays. A checkpoint that was cut off while being written is never seen: orbax renames a
    finished one into place.
    """

    def __init__(self, folder: Path, keep: int = 2):
        import orbax.checkpoint as ocp  # slow to import, and not every run needs it

        self._ocp = ocp
        self._manager = ocp.CheckpointManager(
            Path(folder).absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=keep)
        )

    def save(self, step: int, state: Any) -> None:
        self._manager.save(step, args=self._ocp.args.StandardSave(state))

    def latest(self, like: Any) -> tuple[int, Any] | None:
        """(step, state) of the newest checkpoint, in the shapes and dtypes of `like`; None where there is none."""
        step = self._manager.latest_step()
        if step is None:
            return None
        abstract = jax.eval_shape(lambda: like)
        return step, self._manager.restore(step, args=self._ocp.args.StandardRestore(abstract))

    def close(self) -> None:
        """Wait for what is being written."""
        self._manager.close()
