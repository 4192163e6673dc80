"""When a training counts as diverged though every loss is finite: the loss rose far above its start, and stayed there.

Adam at a learning rate of 1e3 ends so: its steps are bounded, so that losses of thousands stay finite.
"""

from typing import Any

FAR_ABOVE = 10.0  # times its start: a loss that rose so high, and stayed, is diverged
STAYED = 2  # looks in a row: evaluations of a trial, chunks of steps of a long training


def far_above(train_loss: Any, start_loss: Any) -> Any:
    """Whether a mean training loss is far above the loss of the first step; arrays or floats."""
    return train_loss > FAR_ABOVE * start_loss


def has_stayed(num_above: Any) -> Any:
    """Whether the loss was far above its start at so many looks in a row, up to the last, that it is diverged."""
    return num_above >= STAYED
