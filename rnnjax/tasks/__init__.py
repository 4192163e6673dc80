"""The tasks by name.

Synthetic tasks are factories of the lag, `name(seq_len)`; tasks made of a data set have a length of
their own and are factories of the folder it lies in, `name(data_dir=None)`.
"""

from collections.abc import Callable

from rnnjax.errors import unknown
from rnnjax.tasks.adding import adding, adding_1997, adding_anywhere
from rnnjax.tasks.base import Example, Task
from rnnjax.tasks.binary_addition import binary_addition
from rnnjax.tasks.check import check_task
from rnnjax.tasks.copy_memory import copy_memory
from rnnjax.tasks.from_file import task_from_file
from rnnjax.tasks.imdb import NUM_WORDS, imdb_vectors
from rnnjax.tasks.mnist import (
    NUM_PIXELS,
    NUM_ROWS,
    mnist_pixels,
    mnist_pixels_permuted,
    mnist_rows,
)
from rnnjax.tasks.recall import recall
from rnnjax.tasks.state_tracking import parity, s5_products, s5_words
from rnnjax.tasks.temporal_order import temporal_order, temporal_order_3

__all__ = ["OWN_SEQ_LEN", "TASKS", "Example", "Task", "check_task", "make_task", "task_from_file"]

TASKS: dict[str, Callable[..., Task]] = {
    "adding": adding,
    "adding_anywhere": adding_anywhere,
    "adding_1997": adding_1997,
    "copy_memory": copy_memory,
    "recall": recall,
    "binary_addition": binary_addition,
    "temporal_order": temporal_order,
    "temporal_order_3": temporal_order_3,
    "parity": parity,
    "s5_products": s5_products,
    "s5_words": s5_words,
    "mnist_pixels": mnist_pixels,
    "mnist_pixels_permuted": mnist_pixels_permuted,
    "mnist_rows": mnist_rows,
    "imdb_vectors": imdb_vectors,
}

# the tasks made of a data set, and the length they have
OWN_SEQ_LEN = {
    "mnist_pixels": NUM_PIXELS,
    "mnist_pixels_permuted": NUM_PIXELS,
    "mnist_rows": NUM_ROWS,
    "imdb_vectors": NUM_WORDS,
}


def make_task(name: str, seq_len: int | None = None, data_dir=None) -> Task:
    """The task of that name.

    seq_len must be given to a synthetic task and may be left out for one made of a data set.
    data_dir, a folder of data sets, matters to the latter only (None: the Hugging Face Hub).
    """
    if name not in TASKS:
        raise ValueError(unknown("task", name, TASKS))
    if name not in OWN_SEQ_LEN:
        return TASKS[name](seq_len)
    if seq_len is not None and seq_len != OWN_SEQ_LEN[name]:
        raise ValueError(
            f"task '{name}': seq_len is {seq_len!r}, but its sequences have {OWN_SEQ_LEN[name]} "
            "steps; leave seq_len out"
        )
    return TASKS[name](data_dir)
