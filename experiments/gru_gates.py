"""Which parts of the GRU carry the gradient: each gate removed, the reset before or after U, and its update bias.

python -m experiments.sweep gru_gates             a few minutes on 2 cores
python -m experiments.sweep gru_gates --full
"""

from experiments.sweep.spec import Sweep, Trial

SWEEP = Sweep(
    name="gru_gates",
    question="Which parts of the GRU let it learn across long lags, and does its update gate want a bias too?",
    expects=(
        "Without the update gate nothing keeps the state and the cell is a tanh RNN with a reset; the reset gate "
        "matters less, and where it stands hardly at all. The update gate keeps, as a forget gate does: an update bias "
        "of 1 or more, or chrono, should carry it farther than the usual 0 (Tallec & Ollivier 2018, section 2)."
    ),
    base=Trial(hidden_size=16, clip_norm=1.0, num_steps=400, eval_every=50, num_validation=300, num_test=4000),
    axes={
        "cell": (
            "gru",
            "gru:update_bias=1",
            "gru:update_bias=chrono",
            "gru_reset_before",
            "gru:reset_gate=false",
            "gru:update_gate=false",
        ),
        "seq_len": (20, 50),
        "learning_rate": (1e-2, 3e-2),
        "seed": range(3),
    },
    full_base={"num_steps": 1000},
    full_axes={"seq_len": (50, 150, 300), "learning_rate": (3e-3, 1e-2, 3e-2), "seed": range(5)},
)
