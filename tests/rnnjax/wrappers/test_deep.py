"""Deep input, transition and output against their paper's equations written out by hand."""

import jax
import numpy as np
import pytest

from rnnjax import (
    Associative,
    LSTMCarry,
    deep_input,
    deep_output,
    deep_transition,
    elman,
    lstm,
    t_rnn,
    time_delay,
    unroll,
)
from tests.rnnjax.wrappers.test_layers import assert_close, params_of

T, B, I, H = 7, 3, 4, 5
KEY = jax.random.key(4)
XS = np.random.default_rng(1).normal(size=(T, B, I)).astype(np.float32)

run = jax.jit(unroll, static_argnums=0, static_argnames="method")


def through(layers, x):
    for W, b in layers:
        x = np.tanh(x @ W + b)
    return x


def test_deep_input_and_output_are_layers_before_and_after():
    cell = deep_output(deep_input(lstm(H), 6, 3), 8, 2)
    params = params_of(cell)
    assert cell.output_size == 2
    assert [p.W.shape for p in params.cell.layers] == [(I, 6), (6, 3)]
    assert [p.W.shape for p in params.layers] == [(H, 8), (8, 2)]
    carry, ys = run(lstm(H), params.cell.cell, through(params.cell.layers, XS))
    assert_close(run(cell, params, XS), (carry, through(params.layers, np.asarray(ys))), atol=1e-5)


def test_layers_around_a_linear_cell_leave_it_linear():
    cell = deep_output(deep_input(t_rnn(H), 3), 2)
    params = params_of(cell)
    assert_close(run(cell, params, XS, method=Associative()), run(cell, params, XS), atol=1e-5)


@pytest.mark.parametrize(("layers", "shortcut"), [(1, False), (2, True)])
def test_deep_transition_of_an_elman_network(layers, shortcut):
    """h_t = phi(U_L ... phi(U_1 phi(U_0 h_{t-1} + W x_t)) [+ S h_{t-1}])."""
    cell = deep_transition(elman(H), layers=layers, shortcut=shortcut)
    params = params_of(cell)
    h, hs = np.zeros((B, H)), []
    for x in XS:
        a = np.tanh(x @ params.cell.W + h @ params.cell.U + params.cell.b)
        a = through(params.layers[:-1], a)
        U, b = params.layers[-1]
        h = np.tanh(a @ U + b + (h @ params.S if shortcut else 0))
        hs.append(h)
    assert_close(run(cell, params, XS), (h, np.stack(hs)), atol=1e-5)


def test_deep_transition_of_an_lstm_leaves_its_memory_alone():
    cell, plain = deep_transition(lstm(H)), lstm(H)
    params = params_of(cell)
    step = jax.jit(lambda carry, x: plain.step(params.cell, carry, plain.project(params.cell, x)))
    carry, hs = plain.initial_carry(params.cell, (B,)), []
    for x in XS:
        made, _ = step(carry, x)
        carry = LSTMCarry(h=through(params.layers, np.asarray(made.h)), c=made.c)
        hs.append(carry.h)
    assert_close(run(cell, params, XS), (carry, np.stack(hs)), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: deep_input(elman(H)), "give the sizes of the layers"),
        (lambda: deep_output(elman(H), 3, 0), "size must be a whole number of at least 1, got 0"),
        (lambda: deep_transition(elman(H), layers=0), "layers must be a whole number of at least 1, got 0"),
        (lambda: deep_transition(time_delay(H)).init(KEY, I), "needs a cell whose output is a leaf of its carry"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
