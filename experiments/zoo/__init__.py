"""Every cell on three tasks that need memory, at equal numbers of parameters.

python -m experiments.sweep zoo                   a few cells, under 3 minutes on 2 cores
python -m experiments.sweep zoo --full            every cell: about an hour and a half on 2 cores
"""

from experiments.shared.equal_size import equal_size
from experiments.sweep.spec import Sweep, Trial
from rnnjax.cells import CELLS
from rnnjax.tasks import make_task

NUM_PARAMS = 2000  # of the recurrent part: an LSTM of 16 units on 16 inputs has 2112
SAME = {"lstm_np": "lstm"}  # two names of one cell
CHRONO = ("lstm:forget_bias=chrono", "janet:forget_bias=chrono", "gru:update_bias=chrono")  # only the task can tell T
FEW = ("elman", "irnn", "indrnn", "gru", "lstm", "mingru")
TASKS = {"recall": 300, "adding": 600, "copy_memory": 500}  # and the training steps of each


def settings(cells: tuple[str, ...]) -> tuple[dict, ...]:
    """What is to be run: each cell on each task, with the size that makes it equal."""
    tasks = {name: make_task(name, 2).input_size for name in TASKS}
    return tuple(
        {"task": task, "num_steps": TASKS[task], "cell": cell, "hidden_size": equal_size(cell, input_size, NUM_PARAMS)}
        for task, input_size in tasks.items()
        for cell in cells
    )


def every_cell() -> dict:
    """The axes of the full size."""
    return {
        "setting": settings((*(name for name in CELLS if name not in SAME), *CHRONO)),
        "seq_len": (50, 150),
        "learning_rate": (3e-3, 1e-2, 3e-2),
        "seed": range(3),
    }


SWEEP = Sweep(
    name="zoo",
    question=(
        "Which recurrent cell learns to remember, and at what cost? Every cell has about 2,000 parameters (so hidden "
        "sizes differ), its own paper's initialisation, and the best of several learning rates."
    ),
    expects=(
        "Cells whose state is handed on unchanged unless a gate says otherwise, whose recurrent matrix keeps the norm "
        "or whose decay is set by unit reach far; tanh networks with a free matrix do not. Additive and linear cells "
        "should hold a symbol against distractors; the copying problem favours norm-keeping matrices (Arjovsky et al. "
        "2016), the adding problem gates and oscillators (Rusch & Mishra 2021)."
    ),
    base=Trial(clip_norm=1.0, eval_every=50, num_validation=300),
    axes={
        "setting": settings(FEW),
        "seq_len": (30,),
        "learning_rate": (3e-3, 1e-2, 3e-2),
        "seed": range(1),
    },
    full_base={"eval_every": 100},
    full_axes=every_cell,
    of_cell=lambda cell: settings((cell,)),
)
