"""Further terms of a trial's loss: what its fields omega, auxiliary and auxiliary_lag stand for."""

import math

import jax.numpy as jnp

from experiments.sweep.spec import Trial
from rnnjax.cell import Array, Cell
from rnnjax.initializers import glorot_uniform
from rnnjax.tasks import Task
from rnnjax.training.losses import Pass, Term, omega, reconstruction


def terms_of(trial: Trial, task: Task, cell: Cell) -> tuple[Term, ...]:
    """The terms whose weight is not zero.

    Raises:
      ValueError: a weight below 0 or not finite, or a lag that no pair of steps has.
    """
    for field in ("omega", "auxiliary"):
        if not 0 <= getattr(trial, field) < math.inf:
            raise ValueError(f"{field}={getattr(trial, field)} must be 0 or above, and finite")
    terms = []
    if trial.auxiliary:
        if not abs(trial.auxiliary_lag) < task.num_steps:
            raise ValueError(
                f"auxiliary_lag={trial.auxiliary_lag} must be of absolute value below the {task.num_steps} steps of "
                f"{task.name}"
            )
        terms.append(_reconstruction(trial.auxiliary, trial.auxiliary_lag, cell.output_size, task.input_size))
    if trial.omega:
        terms.append(Term(lambda _, seen: trial.omega * omega(cell, seen.params, seen.xs, seen.loss)))
    return tuple(terms)


def _reconstruction(weight: float, lag: int, output_size: int, input_size: int) -> Term:
    """`losses.reconstruction` with a linear readout of its own, V from Glorot's uniform distribution and c zero."""

    def init(key: Array) -> tuple[Array, Array]:
        return glorot_uniform(key, (output_size, input_size), jnp.float32), jnp.zeros(input_size)

    def value(own: tuple[Array, Array], seen: Pass) -> Array:
        return weight * reconstruction(seen.ys, seen.xs, *own, lag, seen.lengths)

    return Term(value, init)
