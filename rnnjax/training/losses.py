"""Further terms of a loss: penalties on weights, the regulariser Omega, reconstruction of earlier inputs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Integer

from rnnjax.cell import Array, Cell
from rnnjax.leaves import flat, followed, inexact_leaves, joint_norm

Loss = Callable[[Float[Array, "T *B O"]], Float[Array, "*B"]]


class Pass(NamedTuple):
    """A network's forward pass over a batch while training, as a further term of the loss sees it."""

    params: Any  # of the network
    xs: Float[Array, "T B I"]
    ys: Float[Array, "T B O"]
    lengths: Integer[Array | np.ndarray, " B"] | None  # of the sequences; None where all are of length T
    loss: Loss  # the task's losses, one an example, from any outputs of the network like ys


class Term(NamedTuple):
    """A further term of the loss: trained on, left out of every loss that is reported and of every evaluation."""

    value: Callable[[Any, Pass], Float[Array, ""]]  # (parameters of its own, the pass), its weight included
    init: Callable[[Array], Any] | None = None  # key -> parameters of its own, trained with the rest; None: it has none


def omega(cell: Cell, params: Any, xs: Float[Array, "T *B I"], loss: Loss) -> Float[Array, ""]:
    """The regulariser Ω that keeps the gradient's norm as it goes back through time, a mean over examples.

        Ω = Σₖ ( ‖∂E/∂hₖ₊₁ · ∂hₖ₊₁/∂hₖ‖ / ‖∂E/∂hₖ₊₁‖ - 1 )²,   k = 0..T-1

    Its gradient is the immediate one of the paper: hₖ and ∂E/∂hₖ₊₁ are constants, and only the step from k to k + 1
    depends on the parameters. Norms join all real leaves of the carry; steps where ∂E/∂hₖ₊₁ is zero add nothing. What
    the loss reads at step k + 1 is part of ∂E/∂hₖ₊₁ where the output is a leaf of the carry.
    Differs from the paper: its state is the pre-activation, ours the carry, so that the slope of the nonlinearity is
    that of the step to k + 1.
    Costs about as much again as the gradient of the loss itself. Evaluation: nothing random.

    Args:
      cell, params: as for `unroll`.
      xs: inputs [T, *B, I].
      loss: outputs [T, *B, O] -> losses, one an example (or their sum).

    Source: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, section 3.3, equations 9 and 10.
    """
    batch_shape = xs.shape[1:-1]
    fixed = lax.stop_gradient(params)
    p_fixed = cell.prepare(fixed, None, xs.shape[1:])
    initial = cell.initial_carry(fixed, batch_shape)

    def run(probes: list[Array]) -> tuple[Array, Any]:
        def step(carry, inputs):
            x, added = inputs
            new, y = cell.step(p_fixed, carry, cell.project(p_fixed, x))
            leaves, rebuild = inexact_leaves(new)
            probed = [leaf + more for leaf, more in zip(leaves, added, strict=True)]
            return rebuild(probed), (carry, followed(y, leaves, probed))

        _, (carries, ys) = lax.scan(step, initial, (xs, probes))
        return jnp.sum(loss(ys)), carries

    nothing = [jnp.zeros((len(xs), *leaf.shape), leaf.dtype) for leaf in inexact_leaves(initial)[0]]
    gradients, carries = lax.stop_gradient(jax.grad(run, has_aux=True)(nothing))
    axes = 1 + len(batch_shape)
    largest = jnp.max(jnp.stack([jnp.max(flat(jnp.abs(leaf), axes), axis=-1) for leaf in gradients]), axis=0)
    scale = jnp.where(largest > 0, largest, 1)  # so that no square underflows
    gradients = [leaf / scale.reshape(scale.shape + (1,) * (leaf.ndim - axes)) for leaf in gradients]
    p = cell.prepare(params, None, xs.shape[1:])

    def back(carry: Any, x: Array, gradient: list[Array]) -> list[Array]:
        leaves, rebuild = inexact_leaves(carry)

        def step(leaves: list[Array]) -> list[Array]:
            return inexact_leaves(cell.step(p, rebuild(leaves), cell.project(p, x))[0])[0]

        return jax.vjp(step, leaves)[1](gradient)[0]

    after = joint_norm(jax.vmap(back)(carries, xs, gradients), axes)
    before = joint_norm(gradients, axes)
    terms = jnp.where(largest > 0, (after / jnp.where(largest > 0, before, 1) - 1) ** 2, 0)
    return jnp.mean(jnp.sum(terms, axis=0))


def reconstruction(
    ys: Float[Array, "T B O"],
    xs: Float[Array, "T B I"],
    V: Float[Array, "O I"],
    c: Float[Array, " I"],
    lag: int,
    lengths: Integer[Array, " B"] | None = None,
) -> Float[Array, ""]:
    """An auxiliary loss: every output has to tell, linearly, what the input was `lag` steps before.

        mean over t and examples of ‖V yₜ + c - xₜ₋ₗ‖²,   l = lag

    With lag = -1 it has to predict the next input, with 0 it names the present one. Only pairs within a sequence count.
    Simpler than the paper's: every step is an anchor, the readout is linear, and the gradient goes through all of time.

    Args:
      ys, xs: outputs [T, B, O] and inputs [T, B, I].
      V, c: the readout, [O, I] and [I].
      lag: in steps, of absolute value below T.
      lengths: of the sequences, [B].

    Source: Trinh, Dai, Luong & Le 2018, arXiv:1803.00144, section 3.
    """
    num_steps = len(xs)
    if abs(lag) >= num_steps:
        raise ValueError(f"auxiliary lag {lag} must be of absolute value below the {num_steps} steps of a sequence")
    first, last = max(lag, 0), num_steps + min(lag, 0)  # of the steps t for which t - lag is a step as well
    told = ys[first:last] @ V + c
    errors = jnp.sum((told - xs[first - lag : last - lag]) ** 2, axis=-1)
    if lengths is None:
        return jnp.mean(errors)
    latest = jnp.arange(first, last)[:, None] + max(-lag, 0)
    counted = latest < lengths
    return jnp.sum(jnp.where(counted, errors, 0)) / jnp.maximum(jnp.sum(counted), 1)


def penalty(params: Any, l1: Any, l2: Any) -> Float[Array, ""]:
    """l1 Σ|w| + l2 Σw² over matrices; biases go free."""
    matrices = [w for w in jax.tree.leaves(params) if w.ndim >= 2]
    absolute, squared = sum(jnp.sum(jnp.abs(w)) for w in matrices), sum(jnp.sum(w**2) for w in matrices)
    return l1 * absolute + l2 * squared
