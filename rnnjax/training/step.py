"""One step of training, the same wherever something is trained: loss and gradient, clipping, update, divergence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from rnnjax.cell import Array


class Step(NamedTuple):
    """What a step made, and what it measured on the way."""

    params: Any
    optimizer: Any  # the state of the optimizer
    total: Array  # the sum of losses over the batch, penalties left out
    weight: Array  # how much they count, at least 1
    kept: Any  # what the objective wants kept
    gradient_norm: Array  # of the mean loss and penalties, before clipping
    finite: Array  # whether loss and gradient were; a training is diverged once they are not


def make_step(
    objective: Callable,
    transformation: optax.GradientTransformation,
    penalty: Callable[[Any], Array] | None = None,
    axis: str | None = None,
) -> Callable[..., Step]:
    """step(params, optimizer, *given) -> Step, one update by the gradient of  Σ total / Σ weight + penalty.

    Args:
      objective: (params, *given) -> (total, (weight, kept)): the sum of losses over a batch, or a device's part of it,
        and how much they count. A mean is a total of weight 1.
      transformation: clipping and the optimizer, as `make_optimizer` chains them.
      penalty: params -> [], of the parameters alone. It is differentiated apart, once for the whole batch.
      axis: the mesh axis over which the batch is cut into parts; None where it is whole.
    """

    def step(params: Any, optimizer: Any, *given: Any) -> Step:
        (total, (weight, kept)), gradient = jax.value_and_grad(objective, has_aux=True)(params, *given)
        if axis is not None:
            total, weight, gradient = lax.psum((total, weight, gradient), axis)
        weight = jnp.maximum(weight, 1)
        gradient = jax.tree.map(lambda g: g / weight, gradient)
        if penalty is not None:
            gradient = jax.tree.map(jnp.add, gradient, jax.grad(penalty)(params))
        norm = optax.tree.norm(gradient)
        updates, optimizer = transformation.update(gradient, optimizer, params)
        return Step(
            params=optax.apply_updates(params, updates),
            optimizer=optimizer,
            total=total,
            weight=weight,
            kept=kept,
            gradient_norm=norm,
            finite=jnp.isfinite(total) & jnp.isfinite(norm),
        )

    return step
