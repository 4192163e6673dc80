"""Hopfield networks: patterns stored in symmetric weights, recalled as the minima of an energy.

    E(s) = −½ s' W s + θ' s                 s [N] of ±1, W symmetric with a zero diagonal, θ the thresholds
    sᵢ ← sgn(Σⱼ wᵢⱼ sⱼ − θᵢ)                one unit at a time (asynchronous) or all at once (synchronous)

A unit whose field Σⱼ wᵢⱼ sⱼ − θᵢ is zero stays as it is. One unit at a time, the energy never rises, and the state
comes to rest in a minimum; all at once, it comes to rest or ends in a cycle of two states.

Storage: `hebbian`, `storkey` or `pseudo_inverse` make W [N, N] from patterns [P, N]. Recall: `recall_asynchronous`,
`recall_synchronous`, from states with any leading batch axes. Everything is pure and can be jitted.

References: Hopfield 1982, "Neural networks and physical systems with emergent collective computational abilities", PNAS
79(8), there with units 0 and 1; Storkey 1997, "Increasing the capacity of a Hopfield network without sacrificing
functionality", ICANN; Personnaz, Guyon & Dreyfus 1985, "Information storage and retrieval in spin-glass like neural
networks", Journal de Physique Lettres 46(8).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array


class Recall(NamedTuple):
    state: Array  # [*B, N] of ±1, where it ended
    energies: Array  # [updates, *B] after each update: of one unit if asynchronous, of all if synchronous


def hebbian(patterns: Array) -> Array:
    """W = (1/N) Σ_p ξ_p ξ_p', its diagonal zero, from patterns [P, N] of ±1.

    About 0.138 N random patterns can be held and come back with a few wrong units; without any, about N / (2 ln N).

    Raises:
      ValueError: patterns that are not [P, N], or not of ±1.
    """
    patterns = _checked(patterns)
    return _without_diagonal(patterns.T @ patterns / patterns.shape[1])


def storkey(patterns: Array) -> Array:
    """Storkey's rule: pattern after pattern, less what the weights already say of it.

        wᵢⱼ ← wᵢⱼ + (ξᵢ ξⱼ − ξᵢ hⱼᵢ − hᵢⱼ ξⱼ) / N,   hᵢⱼ = Σ_{k ≠ i, j} wᵢₖ ξₖ,   wᵢᵢ = 0

    Holds more patterns than `hebbian`, and like it learns from one pattern at a time, each weight from what its two
    units know.

    Raises:
      ValueError: as `hebbian`.
    """
    patterns = _checked(patterns)
    size = patterns.shape[1]

    def learn(W: Array, pattern: Array) -> tuple[Array, None]:
        h = (W @ pattern)[:, None] - W * pattern  # [i, j]; the term k = i is zero with the diagonal
        mine = pattern[:, None] * h.T
        return W + _without_diagonal((jnp.outer(pattern, pattern) - mine - mine.T) / size), None

    W, _ = lax.scan(learn, jnp.zeros((size, size), patterns.dtype), patterns)
    return W


def pseudo_inverse(patterns: Array) -> Array:
    """W = Ξ⁺ Ξ, the projection on the span of the patterns Ξ [P, N], its diagonal taken away.

    All of up to N − 1 linearly independent patterns stay where they are, however alike, though little is drawn to them
    when there are more than about N / 2.

    Raises:
      ValueError: as `hebbian`.
    """
    patterns = _checked(patterns)
    return _without_diagonal(jnp.linalg.pinv(patterns) @ patterns)


def energy(W: Array, state: Array, thresholds: Array | float = 0.0) -> Array:
    """E(s) = −½ s' W s + θ' s, [*B], of states [*B, N]."""
    return _energy(state, state @ W, thresholds)


def overlap(state: Array, pattern: Array) -> Array:
    """(1/N) Σᵢ sᵢ ξᵢ, [*B]: 1 for the pattern itself, −1 for its negative, about 0 for an unrelated one."""
    return jnp.mean(state * pattern, axis=-1)


def recall_asynchronous(
    W: Array, state: Array, key: Array, *, num_sweeps: int = 10, thresholds: Array | float = 0.0
) -> Recall:
    """Update one unit after another, `num_sweeps` times all N, each sweep in an order of its own drawn from `key`.

    Args:
      W: weights [N, N], symmetric with a zero diagonal.
      state: states [*B, N] of ±1 to start from; the order of updates is the same for all.
      key: of the orders.
      num_sweeps: how often every unit is updated.
      thresholds: θ, one number or [N].

    Returns:
      Recall: the last state, and the energies [num_sweeps * N, *B] after each update, which never rise.

    Raises:
      ValueError: weights that are not [N, N] for states [*B, N], or num_sweeps below 1.
    """
    W, state = _fitting(W, state, num_sweeps=num_sweeps)
    size = W.shape[0]
    thresholds = jnp.broadcast_to(jnp.asarray(thresholds, state.dtype), (size,))
    orders = jax.vmap(lambda key: jax.random.permutation(key, size))(jax.random.split(key, num_sweeps))

    def update(carry: tuple[Array, Array], unit: Array) -> tuple[tuple[Array, Array], Array]:
        state, fields = carry  # fields = state @ W, kept up to date at the price of one row instead of one product
        old = state[..., unit]
        new = _sign(fields[..., unit] - thresholds[unit], old)
        state = state.at[..., unit].set(new)
        fields = fields + (new - old)[..., None] * W[unit]
        return (state, fields), _energy(state, fields, thresholds)

    (state, _), energies = lax.scan(update, (state, state @ W), orders.reshape(-1))
    return Recall(state, energies)


def recall_synchronous(W: Array, state: Array, *, num_steps: int = 20, thresholds: Array | float = 0.0) -> Recall:
    """Update all units at once, `num_steps` times. The energy may rise, and two states may alternate for ever.

    Args and errors as in `recall_asynchronous`; the energies are [num_steps, *B].
    """
    W, state = _fitting(W, state, num_steps=num_steps)

    def update(state: Array, _: None) -> tuple[Array, Array]:
        state = _sign(state @ W - thresholds, state)
        return state, energy(W, state, thresholds)

    return Recall(*lax.scan(update, state, length=num_steps))


def _sign(field: Array, old: Array) -> Array:
    return jnp.where(field == 0, old, jnp.sign(field))


def _energy(state: Array, fields: Array, thresholds: Array | float) -> Array:
    return jnp.sum(state * (thresholds - 0.5 * fields), axis=-1)


def _without_diagonal(W: Array) -> Array:
    return jnp.where(jnp.eye(W.shape[0], dtype=bool), 0, W)


def _checked(patterns: Array) -> Array:
    shape = jnp.shape(patterns)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"patterns must be [number, N], both at least 1, got shape {shape}")
    if not isinstance(patterns, jax.core.Tracer) and not np.all(np.abs(patterns) == 1):
        raise ValueError("the units of a pattern must be -1 or 1")
    return jnp.asarray(patterns, jnp.promote_types(jnp.result_type(patterns), jnp.float32))


def _fitting(W: Array, state: Array, **counts: int) -> tuple[Array, Array]:
    """W and the state in one dtype, once their shapes and the number of updates are known to do."""
    (label, count), W = *counts.items(), jnp.asarray(W)
    if count < 1:
        raise ValueError(f"{label} must be at least 1, got {count}")
    if W.ndim != 2 or W.shape[0] != W.shape[1] or jnp.shape(state)[-1:] != W.shape[:1]:
        raise ValueError(f"weights must be [N, N] and states [*batch, N], got {W.shape} and {jnp.shape(state)}")
    return W, jnp.asarray(state, W.dtype)
