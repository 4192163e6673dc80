"""The same tanh RNN with each remedy for the vanishing gradient, and with pairs of them, against lag.

python -m experiments.sweep remedies              ten remedies on recall, a few minutes on 2 cores
python -m experiments.sweep remedies --full       all, on recall and adding: about half an hour on 2 cores
python -m experiments.remedies                    then ranks them, and asks whether reach at the start predicts success
"""

import jax
import jax.numpy as jnp

from experiments.sweep.spec import Sweep, Trial
from rnnjax.cell import Cell
from rnnjax.cells import elman
from rnnjax.wrappers.dropout import zoneout as zoned_out
from rnnjax.wrappers.gradient import recurrent_start, truncated
from rnnjax.wrappers.norms import layer_norm as normalised, spectral_norm
from rnnjax.wrappers.skips import leaky_integration, skip_through_time


def rnn(
    hidden_size: int,
    *,
    start: str = "glorot",
    scale: float = 1.0,
    relu: bool = False,
    spectral: float = 0.0,
    skip: int = 0,
    layer_norm: bool = False,
    alpha: float = 1.0,
    zoneout: float = 0.0,
    truncate: int = 0,
) -> Cell:
    """A simple recurrent network with remedies; with none it is the textbook one, h = tanh(W x + U h + b), U Glorot.

    Args:
      start, scale: initial values of U, as in `recurrent_start`.
      relu: rectified units in place of tanh.
      spectral: the largest singular value U is held at; 0: free.
      skip: a second matrix from so many steps back; 0: none.
      layer_norm: whether recurrent products are normalised.
      alpha: the share of the state that a step replaces (leaky integration); 1: all.
      zoneout: the probability at which a unit keeps its value for a step while training.
      truncate: steps after which the gradient is cut; 0: never.
    """
    cell = recurrent_start(elman(hidden_size, activation=jax.nn.relu if relu else jnp.tanh), start, scale)
    if spectral:
        cell = spectral_norm(cell, spectral)
    if alpha != 1:
        cell = leaky_integration(cell, alpha)
    if zoneout:
        cell = zoned_out(cell, zoneout)
    if skip:
        cell = skip_through_time(cell, skip)
    if layer_norm:
        cell = normalised(cell)
    return truncated(cell, truncate) if truncate else cell


def remedy(label: str, *options: str, cell: str = "experiments.remedies:rnn", **fields) -> dict:
    """One setting: its name in tables, options of the cell, and other fields of Trial."""
    return {"label": label, "cell": ":".join([cell, *options]), **fields}


ORTHOGONAL, IDENTITY, LEAKY, SKIP = "start=orthogonal", "start=identity", "alpha=0.1", "skip=10"
CLIP = {"clip_norm": 1.0}
FEW = (
    remedy("plain"),
    remedy("clip norm", **CLIP),
    remedy("identity", IDENTITY),
    remedy("orthogonal", ORTHOGONAL),
    remedy("leaky", LEAKY),
    remedy("skip", SKIP),
    remedy("layer norm", "layer_norm=true"),
    remedy("Omega", omega=0.1),
    remedy("orthogonal + leaky", ORTHOGONAL, LEAKY),
    remedy("LSTM chrono", "forget_bias=chrono", cell="lstm"),
)
ALL = (
    *FEW,
    remedy("clip value", clip_value=0.1),
    remedy("rotations", "start=rotations"),
    remedy("identity, rectified", IDENTITY, "relu=true"),
    remedy("spectral norm 1", "spectral=1"),
    remedy("zoneout", "zoneout=0.1"),
    remedy("truncated at 10", "truncate=10"),
    remedy("reconstruct 10 back", auxiliary=0.5, auxiliary_lag=10),
    remedy("predict next", auxiliary=0.5, auxiliary_lag=-1),
    remedy("linear (minGRU)", "keep_bias=chrono", cell="mingru"),
    remedy("orthogonal + clip", ORTHOGONAL, **CLIP),
    remedy("identity + clip", IDENTITY, **CLIP),
    remedy("identity, rectified + clip", IDENTITY, "relu=true", **CLIP),
    remedy("leaky + clip", LEAKY, **CLIP),
    remedy("leaky + identity", LEAKY, IDENTITY),
    remedy("skip + clip", SKIP, **CLIP),
    remedy("skip + orthogonal", SKIP, ORTHOGONAL),
    remedy("skip + leaky", SKIP, LEAKY),
    remedy("leaky + layer norm", LEAKY, "layer_norm=true"),
    remedy("Omega + clip", omega=0.1, **CLIP),
)

SWEEP = Sweep(
    name="remedies",
    question=(
        "Which remedies let a tanh RNN learn across long lags, alone and in pairs? Plain is the textbook network: "
        "Glorot uniform matrices, no clipping. Every other line adds what it names, and nothing else; a gated and a "
        "linear cell of as many units stand beside them."
    ),
    expects=(
        "Clipping cures explosions, not vanishing (Pascanu, Mikolov & Bengio 2013), so alone it should help little; "
        "truncation cannot learn what lies beyond it. Norm-keeping starts (identity, orthogonal) carry the gradient at "
        "first (Le, Jaitly & Hinton 2015; Saxe et al. 2014), leaky units and connections that skip steps stretch it by "
        "a factor (Lin et al. 1996; Bengio, Boulanger-Lewandowski & Pascanu 2013). Layer norm steadies training rather "
        "than reach. Predicting random inputs teaches nothing; reconstructing them may (Trinh et al. 2018)."
    ),
    base=Trial(hidden_size=32, num_steps=300, eval_every=50, num_validation=300),
    axes={
        "remedy": FEW,
        "task": ({"task": "recall", "num_steps": 300},),
        "seq_len": (20, 50),
        "learning_rate": (3e-3, 1e-2),
        "seed": range(2),
    },
    full_base={"eval_every": 100},
    full_axes={
        "remedy": ALL,
        "task": ({"task": "recall", "num_steps": 400}, {"task": "adding", "num_steps": 1500}),
        "seq_len": (20, 50, 100),
        "learning_rate": (1e-3, 3e-3, 1e-2),
    },
)
