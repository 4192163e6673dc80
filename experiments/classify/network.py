"""The network of a text classifier, and its loss."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.classify.settings import Settings
from experiments.shared.cells import build_cell
from rnnjax.wrappers.dropout import dropout
from rnnjax.wrappers.layers import bidirectional, stack


def make_network(settings: Settings) -> Any:
    """The recurrent part: cells with dropout, stacked, in one direction or both."""
    rates = {"inputs": settings.dropout_inputs, "recurrent": settings.dropout_recurrent}
    cell = dropout(build_cell(settings.cell, settings.hidden_size, settings.max_tokens or 200), **rates)
    layers = [bidirectional(cell) if settings.bidirectional else cell] * settings.num_layers
    return stack(*layers) if settings.num_layers > 1 else layers[0]


def num_outputs(settings: Settings, num_classes: int) -> int:
    """The size of the readout.

    Raises:
      ValueError: one that cannot tell these classes apart.
    """
    if settings.readout == "sigmoid":
        if num_classes != 2 or settings.num_outputs not in (0, 1):
            raise ValueError(f"readout=sigmoid is one output for 2 classes; here are {num_classes}: use softmax")
        return 1
    if settings.num_outputs not in (0, num_classes):
        raise ValueError(f"num_outputs={settings.num_outputs}, but there are {num_classes} classes")
    return num_classes


def logits_of(settings: Settings, outputs: jax.Array) -> jax.Array:
    """[B, C] from outputs [B, O]: one output is the log odds of the second class."""
    if settings.readout == "sigmoid":
        return jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=-1)
    return outputs


def losses(settings: Settings, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """[B]: cross-entropy in nats, or squared error of the probabilities (of the second class, where there are two)."""
    if settings.loss == "cross_entropy":
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    error = (jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1])) ** 2
    return error[..., 1] if logits.shape[-1] == 2 else error.sum(axis=-1)
