"""Which parts of the LSTM carry the gradient: every gate removed in turn, coupled, peepholed, against lag.

python -m experiments.sweep lstm_gates            under 3 minutes on 2 cores
python -m experiments.sweep lstm_gates --full     about an hour on 2 cores
"""

from experiments.sweep.spec import Sweep, Trial

SWEEP = Sweep(
    name="lstm_gates",
    question=(
        "Which parts of the LSTM let it learn across long lags? Each gate is removed in turn, coupled or given "
        "peepholes, and the forget bias varied, beside a tanh RNN and a GRU."
    ),
    expects=(
        "The tanh RNN fails first (Bengio et al. 1994). The forget gate decides how far the gradient reaches: with its "
        "bias at 0 the reach is a few steps, with a large or chrono bias it spans the lag (Gers et al. 2000; "
        "Jozefowicz et al. 2015; Tallec & Ollivier 2018), and the cell without one keeps everything. Coupling gates or "
        "dropping peepholes costs nothing; forget gate and output activation matter most (Greff et al. 2015). Chrono "
        "also closes the input gate (b_i = -b_f), which a cell without one (NIG) or with a coupled one cannot use, "
        "while the cell without a forget gate (NFG) starts with b_i = 0: part of what they differ in may be that."
    ),
    base=Trial(hidden_size=16, clip_norm=1.0, num_steps=400, eval_every=50, num_validation=300),
    axes={
        "cell": (
            "elman",
            "lstm:forget_bias=0",
            "lstm:forget_bias=1",
            "lstm:forget_bias=chrono",
            "lstm:forget_gate=false",
            "lstm:coupled=true",
            "gru",
        ),
        "seq_len": (20, 50, 100),
        "learning_rate": (5e-3, 2e-2),
        "seed": range(3),
    },
    full_axes={
        "task": (
            {"task": "recall", "num_steps": 500},
            {"task": "adding", "num_steps": 1000},
        ),
        "cell": (
            "elman",
            "gru",
            "lstm_np:forget_bias=0",
            "lstm_np:forget_bias=1",
            *(
                f"lstm_{name}:forget_bias=chrono"
                for name in ("np", "vanilla", "nig", "nog", "niaf", "noaf", "cifg", "fgr")
            ),
            "lstm_nfg",
        ),
        "seq_len": (50, 100, 300),
        "learning_rate": (3e-3, 1e-2, 3e-2),
        "seed": range(5),
    },
)
