"""What theory says of state tracking, seen in training: parity wants negative factors, or a nonlinear recurrence."""

import jax
import pytest

from rnnjax import Cell, elman, lru, mingru, selective_ssm
from rnnjax.tasks import make_task
from rnnjax.training.optimizers import Hyper
from rnnjax.training.train import make_train

T = 16
TRACKS = {"elman": elman(32), "selective_ssm least=-1": selective_ssm(16, state_size=4, least=-1.0)}
CANNOT = {"mingru": mingru(32), "lru": lru(16), "selective_ssm": selective_ssm(16, state_size=4)}


def accuracy_of_parity(cell: Cell) -> float:
    task = make_task("parity", T)
    hyper, sizes = Hyper(1e-2, clip_norm=1.0), {"num_validation": 100, "num_test": 500}
    train = make_train(task, cell, hyper=hyper, num_steps=600, batch_size=32, steps_per_chunk=200, **sizes)
    return float(jax.jit(train)(jax.random.key(0)).test_accuracy)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACKS)
def test_these_track_parity(name):
    assert accuracy_of_parity(TRACKS[name]) > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("name", CANNOT)
def test_linear_cells_with_factors_that_are_positive_or_fixed_do_not(name):
    """The first steps can be told apart; half of the others are right by chance."""
    assert accuracy_of_parity(CANNOT[name]) < 0.8
