"""Where does a gated network have to start? Forget bias by input bias by lag, and the one bias of GRU and NFG.

python -m experiments.sweep start_map             under a minute on 2 idle cores
python -m experiments.sweep start_map --full      about an hour and a half on 2 cores
python -m experiments.start_map DIR               the maps of a results folder
"""

from experiments.sweep.spec import Sweep, Trial

LSTM, GRU, NFG = "lstm_np", "gru", "lstm_nfg"
KEEPS = (0, 1, 2, 3, 5, 8, "chrono")  # biases of a gate that keeps, from open to shut
WRITES = (0, -2, -4, -6, -8, "chrono")  # of one that writes: here chrono is the negative of what it draws


def lstm(forget_biases: tuple, input_biases: tuple) -> tuple[str, ...]:
    """The LSTM with every pair of these biases."""
    return tuple(f"{LSTM}:forget_bias={f}:input_bias={i}" for f in forget_biases for i in input_biases)


SWEEP = Sweep(
    name="start_map",
    question=(
        "From which biases does a gated network learn across a lag? The forget bias and the input bias of an LSTM, "
        "each by itself, the update bias of a GRU, the input bias of an LSTM without a forget gate (NFG)."
    ),
    expects=(
        "A large forget bias carries the gradient across the lag (Gers et al. 2000; Jozefowicz et al. 2015); chrono "
        "sets it by the lag, and shuts the input gate with it (b_i = -b_f; Tallec & Ollivier 2018). If a long gradient "
        "were enough, the share solved would depend on the forget bias alone. If what a state holds must also not "
        "depend on what is read in between, an open input gate fails whatever the forget bias, and a shut one is all "
        "that NFG wants."
    ),
    base=Trial(cell=LSTM, seq_len=50, hidden_size=16, clip_norm=1.0, num_steps=400, eval_every=50, num_validation=300),
    axes={
        "cell": lstm((0, 1, 3, "chrono"), (0, -2, -4, "chrono")),
        "learning_rate": (1e-2, 3e-2),
        "seed": range(3),
    },
    full_base={"num_validation": 500, "num_test": 4000, "stop_when_solved": True},
    full_axes={
        "task": (
            {"task": "recall", "num_steps": 500},
            {"task": "adding", "num_steps": 1000},
        ),
        "cell": (
            *lstm(KEEPS, WRITES),
            *(f"{GRU}:update_bias={bias}" for bias in KEEPS),
            *(f"{NFG}:input_bias={bias}" for bias in WRITES),
        ),
        "seq_len": (50, 100, 300),
        "learning_rate": (3e-3, 1e-2, 3e-2),
        "seed": range(3),
    },
)
