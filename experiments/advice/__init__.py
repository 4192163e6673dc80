"""Advice on training recurrent networks, each tried alone against the plain setting: the sweep behind it."""

import jax

from experiments.sweep.spec import Sweep, Trial
from rnnjax.cell import Cell
from rnnjax.cells import lstm
from rnnjax.initializers import glorot_uniform
from rnnjax.wrappers.dropout import dropout
from rnnjax.wrappers.norms import layer_norm

PLOT = "differences.png"
HERE = "experiments.advice"
BASE = "lstm:forget_bias=0"

# Each piece of advice, and the fields of a trial it changes
ADVICE: dict[str, dict[str, object]] = {
    "base": {},
    "clip the norm at 1": {"clip_norm": 1.0},
    "clip each entry at 0.1": {"clip_value": 0.1},
    "layer normalisation": {"cell": f"{HERE}:normalised"},
    "Glorot recurrent matrix": {"cell": f"{HERE}:glorot"},
    "small recurrent matrix": {"cell": f"{HERE}:small"},
    "forget bias 1": {"cell": "lstm:forget_bias=1"},
    "forget bias 2": {"cell": "lstm:forget_bias=2"},
    "softsign for tanh": {"cell": f"{BASE}:input_activation=softsign:output_activation=softsign"},
    "L1 penalty 1e-5": {"l1": 1e-5},
    "L2 penalty 1e-4": {"l2": 1e-4},
    "dropout of inputs 0.2": {"cell": f"{HERE}:dropped_inputs"},
    "recurrent dropout 0.2": {"cell": f"{HERE}:dropped_recurrent"},
    "RMSProp": {"optimizer": "rmsprop"},
    "AdaGrad": {"optimizer": "adagrad"},
    "Nesterov": {"optimizer": "nesterov"},
    "plain gradient descent": {"optimizer": "sgd"},
}
SMALL_RATES = (1e-3, 3e-3, 1e-2)
LARGE_RATES = (0.1, 0.3, 1.0)  # of optimizers that do not divide by the size of the gradient
ADAGRAD_RATES = (0.01, 0.03, 0.1)


def normalised(hidden_size: int) -> Cell:
    """The base cell with layer normalisation of its recurrent product."""
    return layer_norm(lstm(hidden_size, forget_bias=0.0))


def glorot(hidden_size: int) -> Cell:
    """The base cell with Glorot's uniform recurrent matrix ("Xavier")."""
    return lstm(hidden_size, forget_bias=0.0, recurrent_init=glorot_uniform)


def small(hidden_size: int) -> Cell:
    """The base cell with all matrices from N(0, 0.01²), the naive choice."""
    init = jax.nn.initializers.normal(0.01)
    return lstm(hidden_size, forget_bias=0.0, recurrent_init=init, kernel_init=init)


def dropped_inputs(hidden_size: int) -> Cell:
    """The base cell with variational dropout of its inputs."""
    return dropout(lstm(hidden_size, forget_bias=0.0), inputs=0.2)


def dropped_recurrent(hidden_size: int) -> Cell:
    """The base cell with variational dropout of its recurrent inputs."""
    return dropout(lstm(hidden_size, forget_bias=0.0), recurrent=0.2)


def _variants() -> list[dict[str, object]]:
    """A mapping of fields for every change and learning rate."""
    found = []
    for change in ADVICE.values():
        optimizer = change.get("optimizer", "adam")
        rates = {"nesterov": LARGE_RATES, "sgd": LARGE_RATES, "adagrad": ADAGRAD_RATES}.get(optimizer, SMALL_RATES)
        found += [{"cell": BASE, **change, "learning_rate": rate} for rate in rates]
    return found


SWEEP = Sweep(
    name="advice",
    question="Which advice on training recurrent networks holds, on a synthetic task and on real language?",
    expects=(
        "Clipping guards against explosions (Pascanu et al. 2013) and should not matter where there are none; layer "
        "normalisation should speed training (Ba et al. 2016); a forget bias of 1 or 2 should help wherever memory "
        "matters (Gers et al. 2000; Jozefowicz et al. 2015); adaptive optimizers should beat plain gradient descent; "
        "penalties and dropout should help where there is too little data, on IMDB only."
    ),
    base=Trial(hidden_size=32, num_steps=600, eval_every=100, task="recall", seq_len=30, num_validation=300),
    axes={"clip_norm": _variants(), "seed": range(3)},
    full_axes={
        "task": (
            {"task": "recall", "seq_len": 30, "num_steps": 1000},
            {"task": "imdb_vectors", "seq_len": None, "num_steps": 500},
        ),
        "seed": range(5),
    },
)
