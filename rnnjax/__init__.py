"""rnnjax: recurrent networks as pure functions, and what becomes of the gradient in them."""

from rnnjax import cells
from rnnjax.cell import Cell
from rnnjax.cells import *  # noqa: F403
from rnnjax.compose import Layer, bidirectional, dropout, layer, layer_norm, stack
from rnnjax.deep import deep_input, deep_output, deep_transition
from rnnjax.harvest import harvest
from rnnjax.initializers import Chrono, Uniform
from rnnjax.newton import Newton
from rnnjax.remedies import leaky_integration, recurrent_start, skip_through_time, spectral_norm, truncated
from rnnjax.unroll import unroll
from rnnjax.wrappers import dilated, residual, weight_norm, zoneout

__all__ = [
    "Cell",
    "Chrono",
    "Layer",
    "Newton",
    "Uniform",
    "bidirectional",
    "deep_input",
    "deep_output",
    "deep_transition",
    "dilated",
    "dropout",
    "harvest",
    "layer",
    "layer_norm",
    "leaky_integration",
    "recurrent_start",
    "residual",
    "skip_through_time",
    "spectral_norm",
    "stack",
    "truncated",
    "unroll",
    "weight_norm",
    "zoneout",
    *cells.__all__,
]
