"""rnnjax: recurrent networks as pure functions, and what becomes of the gradient in them."""

from rnnjax import cells
from rnnjax.cell import Cell
from rnnjax.cells import *  # noqa: F403
from rnnjax.compose import Layer, bidirectional, dropout, layer, layer_norm, stack
from rnnjax.harvest import harvest
from rnnjax.initializers import Chrono, Uniform
from rnnjax.unroll import unroll

__all__ = [
    "Cell",
    "Chrono",
    "Layer",
    "Uniform",
    "bidirectional",
    "dropout",
    "harvest",
    "layer",
    "layer_norm",
    "stack",
    "unroll",
    *cells.__all__,
]
