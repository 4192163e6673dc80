"""How well texts are classified: all together, and by class.

precision = right / said      of the texts said to be of a class, those that are
recall = right / n            of the texts of a class, those said to be
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rnnjax.cell import Array


class OfClass(NamedTuple):
    """Numbers of texts."""

    right: int  # of this class, and said to be
    n: int  # of this class
    said: int  # said to be of it

    @property
    def precision(self) -> float:
        """NaN where none was said to be of this class."""
        return self.right / self.said if self.said else math.nan

    @property
    def recall(self) -> float:
        """NaN where there is none of this class."""
        return self.right / self.n if self.n else math.nan


class Score(NamedTuple):
    """Of the texts of one split."""

    loss: float  # mean
    classes: tuple[OfClass, ...]

    @property
    def count(self) -> int:
        return sum(one.n for one in self.classes)

    @property
    def accuracy(self) -> float:
        return sum(one.right for one in self.classes) / self.count

    @property
    def mean_recall(self) -> float:
        """Of the classes that there are; 1 / C for one who always says the same."""
        return float(np.mean([one.recall for one in self.classes if one.n]))

    def share(self, label: int) -> float:
        """Of the texts of a class: the accuracy of one who says nothing else."""
        return self.classes[label].n / self.count


def by_class(num_classes: int, said: Array, labels: Array, counted: Array) -> Array:
    """int32 [3, C], the fields of `OfClass`, from classes said and true [B], of the texts that are counted."""
    none = jnp.zeros(num_classes, jnp.int32)
    ones = counted.astype(jnp.int32)
    return jnp.stack([none.at[labels].add(ones * (said == labels)), none.at[labels].add(ones), none.at[said].add(ones)])


def score_of(sums: np.ndarray) -> Score:
    """From the sums over all texts [3 C + 1]: those of `by_class` one after another, and of the losses."""
    counts = sums[:-1].reshape(3, -1).round().astype(int)
    classes = tuple(OfClass(*map(int, one)) for one in counts.T)
    return Score(float(sums[-1]) / max(sum(one.n for one in classes), 1), classes)
