"""The contract's helpers: how cells show themselves, and which sizes there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Chrono, bidirectional, dropout, gru, layer, lstm, lstm_np, stack
from rnnjax.cell import Cell, shown, zero_carry
from rnnjax.cells.lstm import LSTMCarry


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lstm(8), "lstm(8)"),
        (stack(lstm(8), gru(5)), "stack(lstm(8), gru(5))"),
        (dropout(gru(3), outputs=0.2), "dropout(gru(3), outputs=0.2)"),
        (bidirectional(gru(3)), "bidirectional(gru(3))"),
        (layer(lstm(4), reverse=True), "layer(lstm(4), reverse=True)"),
        (lstm_np(4, forget_bias=Chrono(50)), "lstm(4, forget_bias=Chrono(t_max=50))"),
        (lstm(4, input_activation=jnp.tanh), "lstm(4, input_activation=tanh)"),
    ],
)
def test_a_cell_shows_the_call_that_made_it(made, text):
    assert repr(made) == text


def test_a_cell_without_a_text_says_what_it_is():
    def mine(size):
        def step(p, h, z):
            return z, z

        return Cell(size, lambda key, input_size: {}, zero_carry(size), lambda p, x: x, step)

    assert repr(mine(3)) == "mine cell of 3 outputs"
    assert repr(shown(mine)(3)) == "mine(3)"
    assert shown(mine).__name__ == "mine"


def test_sizes_may_be_whole_numbers_of_numpy():
    params = lstm(np.int64(4)).init(jax.random.key(0), 3)
    assert params.U.shape == (4, 16)
    for size in (0, -1, 2.0, np.float64(2), True, np.bool_(True), "4", None):
        with pytest.raises(ValueError, match=r"hidden_size must be a whole number of at least 1, got"):
            lstm(size)


def test_zero_carries_of_one_width_and_of_several():
    params = lstm(2).init(jax.random.key(0), 3)
    assert zero_carry(4)(params, (5,)).shape == (5, 4)
    carry = zero_carry(LSTMCarry, h=4, c=6)(params, (5,))
    assert (carry.h.shape, carry.c.shape, carry.gates) == ((5, 4), (5, 6), None)
