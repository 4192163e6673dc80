"""Which recurrent networks track a state: the parity of bits, and the product of permutations of five things.

python -m experiments.sweep state_tracking             a minute and a half on 2 cores
python -m experiments.sweep state_tracking --full
"""

from experiments.sweep.spec import Sweep, Trial

SELECTIVE = "selective_ssm:state_size=4"
NEGATIVE = "negative_eigenvalues=true"
DELTA_RULES = (  # matrices of a memory changed by dyads; negative eigenvalues reflect, heads keep them small
    "delta_net:num_heads=4",
    f"delta_net:num_heads=4:{NEGATIVE}",
    f"gated_delta_net:num_heads=4:{NEGATIVE}",
    "delta_product:num_heads=4:num_householder=2",
    "delta_product:num_heads=4:num_householder=4",
    "rwkv7:num_heads=4",
)

SWEEP = Sweep(
    name="state_tracking",
    question=(
        "Which networks can follow a machine whose state every symbol moves on? Parity has two states; words in two "
        "generators of the permutation group S5 have 120. Every cell is one layer with a linear readout."
    ),
    expects=(
        "A recurrence that is linear in its state and multiplies it by positive numbers cannot track parity (mingru, "
        "selective_ssm; Grazzi et al. 2025, theorem 1), nor can one whose factors do not depend on the input (lru); "
        "factors down to -1 are enough for parity (selective_ssm least=-1, delta_net negative_eigenvalues=true). With "
        "diagonal matrices none of them tracks S5, whose word problem is complete for NC1 (Merrill et al. 2024): they "
        "should be right for the first few products and at chance after. A product of n reflections in each step "
        "(delta_product) permutes n + 1 keys, so that four should do for five things (Siems et al. 2025). Elman, GRU "
        "and LSTM can do both; a nonlinear cell whose units see only themselves (para_gru) can do parity, and should "
        "lose its way in S5 too. The longer the words, the plainer this is: short ones are few enough to be learnt by "
        "heart."
    ),
    base=Trial(hidden_size=64, clip_norm=1.0, eval_every=100, num_validation=300, num_test=500),
    axes={
        "task": (
            {"task": "parity", "seq_len": 24, "num_steps": 800},
            {"task": "s5_words", "seq_len": 24, "num_steps": 1500},
        ),
        "cell": ("mingru", "lru", SELECTIVE, f"{SELECTIVE}:least=-1", "para_gru", "elman", "gru", "lstm"),
        "learning_rate": (3e-3, 1e-2),
        "seed": range(1),
    },
    metric="test_accuracy",
    full_base={"num_validation": 500, "num_test": 1000},
    full_axes={
        "task": (
            {"task": "parity", "seq_len": 24, "num_steps": 2000},
            {"task": "parity", "seq_len": 100, "num_steps": 2000},
            {"task": "s5_words", "seq_len": 12, "num_steps": 5000},
            {"task": "s5_words", "seq_len": 32, "num_steps": 5000},
        ),
        "cell": (
            "mingru",
            "lru",
            "d_linoss",
            SELECTIVE,
            f"{SELECTIVE}:least=-1",
            *DELTA_RULES,
            "para_gru",
            "para_lstm",
            "elman",
            "gru",
            "lstm",
        ),
        "learning_rate": (1e-3, 3e-3, 1e-2),
        "seed": range(3),
    },
)
