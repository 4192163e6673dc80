"""The time-delay layer against its equation, and as the convolution it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import time_delay, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, H, I, agree, random_like


def reference(window, activation=sigmoid):
    def run(p, xs, carry):
        W = np.concatenate([p.W, p.W_past]).reshape(window, I, H)
        # The carry as the inputs before the first, in the order of time.
        past = carry.reshape(B, window - 1, I).transpose(1, 0, 2)[::-1]
        inputs, ys = np.concatenate([past, xs]), []
        for t in range(len(xs)):
            seen = inputs[t : t + window][::-1]
            ys.append(activation(sum(x @ W_d for x, W_d in zip(seen, W, strict=True)) + p.b))
        last = inputs[len(inputs) - window + 1 :][::-1]
        return last.transpose(1, 0, 2).reshape(B, -1), np.stack(ys)

    return run


@pytest.mark.parametrize("window", [1, 2, 3, 9])
def test_agrees_with_its_equation(window):
    agree(time_delay(H, window=window), reference(window))


def test_three_steps_and_another_activation():
    agree(time_delay(H, activation=jnp.tanh), reference(3, np.tanh))


@pytest.mark.parametrize("window", [1, 3])
def test_number_of_parameters(window):
    params = jax.eval_shape(lambda: time_delay(H, window=window).init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == H * (window * I + 1)


def test_what_lies_a_window_behind_is_gone():
    cell = time_delay(H, window=4)
    params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    last = lambda xs: jnp.sum(unroll(cell, jax.tree.map(np.float32, params), xs)[1][-1])
    sizes = np.abs(jax.jit(jax.grad(last))(np.ones((8, I), np.float32))).max(axis=1)
    assert np.all(sizes[:4] == 0)
    assert np.all(sizes[4:] > 1e-4)


def test_refuses_a_window_of_no_input():
    with pytest.raises(ValueError, match="window must be a whole number of at least 1, got 0"):
        time_delay(H, window=0)
