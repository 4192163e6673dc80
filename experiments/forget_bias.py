"""How far the forget bias lets an LSTM reach: constants, uniform ranges and chrono initialisation, against lag.

python -m experiments.sweep forget_bias           a few minutes on 2 cores
python -m experiments.sweep forget_bias --full
"""

from experiments.sweep.spec import Sweep, Trial

SWEEP = Sweep(
    name="forget_bias",
    question="Which initial forget bias lets an LSTM learn across which lag?",
    expects=(
        "A forget gate of bias b keeps a share σ(b) of the cell a step, so its memory lasts about 1 / (1 − σ(b)) "
        "steps: 2 at b = 0, 4 at 1, 21 at 3. Chrono initialisation spreads the units' memories up to the length of the "
        "task (Tallec & Ollivier 2018, arXiv:1804.11188), and is expected to reach the farthest lags."
    ),
    base=Trial(hidden_size=16, clip_norm=1.0, num_steps=400, eval_every=50, num_validation=300, num_test=4000),
    axes={
        "cell": (
            "lstm:forget_bias=0",
            "lstm:forget_bias=1",
            "lstm:forget_bias=3",
            "lstm:forget_bias=5",
            "lstm:forget_bias=uniform(1,3)",
            "lstm:forget_bias=chrono",
        ),
        "seq_len": (20, 50, 100),
        "learning_rate": (1e-2, 3e-2),
        "seed": range(3),
    },
    full_base={"num_steps": 1000},
    full_axes={"seq_len": (50, 100, 200, 400), "learning_rate": (3e-3, 1e-2, 3e-2), "seed": range(5)},
)
