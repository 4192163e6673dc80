"""Which parts of the LSTM let it learn across a lag: every gate removed in turn or coupled, each from two starts.

python -m experiments.sweep lstm_gates            about a minute on 2 idle cores
python -m experiments.sweep lstm_gates --full     some hours on 2 cores
"""

from experiments.shared.cells import variant
from experiments.shared.equal_size import equal_size
from experiments.sweep.spec import FIRST_REPORT_SEED, Sweep, Trial
from rnnjax.tasks import make_task

NUM_PARAMS = 2000  # of the recurrent part of every row but the last
CONTROL = 8000  # and of that one: whether it is the number of units that decides
STEPS = {"recall": 500, "adding": 1000}  # training steps of each task
OPEN, SHUT = "input_bias=0", "input_bias=chrono"  # chrono: the negative of what it draws, so that the gate starts shut
BEST = "lstm_np:forget_bias=chrono:input_bias=chrono"
# Where an option is not named, chrono holds for the input gate as well, if there is one.
CELLS = (
    f"lstm_np:forget_bias=1:{OPEN}",
    f"lstm_np:forget_bias=1:{SHUT}",
    f"lstm_np:forget_bias=chrono:{OPEN}",
    BEST,
    "lstm_nig:forget_bias=1",
    "lstm_nig:forget_bias=chrono",
    "lstm_cifg:forget_bias=1",
    "lstm_cifg:forget_bias=chrono",
    f"lstm_nfg:{OPEN}",
    f"lstm_nfg:{SHUT}",
    "gru:update_bias=0",
    "gru:update_bias=chrono",
    "experiments.remedies:rnn:start=glorot",
    "elman",  # orthogonal; an identity in its place learns less of either task
    *(f"lstm_{name}:forget_bias=chrono:{SHUT}" for name in ("vanilla", "nog", "niaf", "noaf", "fgr")),
)
# What is tested against the LSTM at its best start, beside its other starts.
COMPARED = (
    "lstm_nig:forget_bias=chrono",
    "lstm_cifg:forget_bias=chrono",
    f"lstm_nfg:{SHUT}",
    "gru:update_bias=chrono",
    f"lstm_noaf:forget_bias=chrono:{SHUT}",
)


def of_cell(cell: str, num_params: int = NUM_PARAMS, label: str = "") -> tuple[dict, ...]:
    """A cell on each task, with the size that makes it equal."""
    return tuple(
        {
            "task": task,
            "num_steps": num_steps,
            "cell": cell,
            "hidden_size": equal_size(cell, make_task(task, 2).input_size, num_params),
            "label": label,
        }
        for task, num_steps in STEPS.items()
    )


def full_axes() -> dict:
    """The axes of the full size."""
    larger = of_cell(BEST, CONTROL, f"lstm_np chrono, {CONTROL:,} parameters")
    return {
        "seq_len": (50, 100, 300),
        "cell": (*(bundle for cell in CELLS for bundle in of_cell(cell)), *larger),
        "learning_rate": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
        "seed": range(5),
    }


SWEEP = Sweep(
    name="lstm_gates",
    question=(
        "Which parts of the LSTM let it learn across long lags? Each gate is removed in turn, coupled or given "
        "peepholes, beside a tanh RNN and a GRU, at equal numbers of parameters; and each that can be started in two "
        "ways is, so that no row is ahead because of its first biases alone."
    ),
    expects=(
        "The tanh RNN fails first (Bengio et al. 1994). With a forget bias of 1 the gradient reaches a few steps, with "
        "a chrono bias it spans the lag (Gers et al. 2000; Jozefowicz et al. 2015; Tallec & Ollivier 2018). Chrono "
        "shuts the input gate too (b_i = -b_f): if that is what helps, an open input gate fails in spite of a chrono "
        "forget bias, a cell without an input gate (NIG) fails, and one without a forget gate (NFG) learns once its "
        "input gate starts shut. From the best start, coupling gates or dropping peepholes costs nothing, while forget "
        "gate and output activation matter most (Greff et al. 2015)."
    ),
    base=Trial(hidden_size=16, clip_norm=1.0, num_steps=400, eval_every=50, num_validation=300),
    axes={
        "seq_len": (20, 50, 100),
        "cell": (*CELLS[:4], *CELLS[8:12], CELLS[13]),
        "learning_rate": (1e-2, 3e-2),
        "seed": range(3),
    },
    full_base={"num_validation": 500, "num_test": 4000, "stop_when_solved": True},
    full_axes=full_axes,
    full={
        "report_seeds": range(FIRST_REPORT_SEED, FIRST_REPORT_SEED + 10),
        "contrasts": tuple((variant(cell), variant(BEST)) for cell in (*CELLS[:3], *COMPARED)),
    },
    of_cell=of_cell,
)
