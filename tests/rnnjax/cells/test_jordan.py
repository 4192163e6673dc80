"""Jordan's network against its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import jordan
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree

O = 3


def reference(p, xs, s, mu=0.5, hidden=sigmoid, output=sigmoid):
    ys = []
    for x in xs:
        h = hidden(x @ p.W + s @ p.U + p.b)
        y = output(h @ p.V + p.c)
        s = mu * s + y
        ys.append(y)
    return s, np.stack(ys)


def test_agrees_with_its_equations():
    agree(jordan(H, output_size=O), reference)


def test_other_activations_and_no_memory_of_the_state_itself():
    cell = jordan(H, output_size=O, mu=0.0, activation=jnp.tanh, output_activation=jax.nn.relu)
    relu = lambda v: np.maximum(0, v)
    agree(cell, lambda p, xs, s: reference(p, xs, s, mu=0.0, hidden=np.tanh, output=relu))


@pytest.mark.parametrize(("options", "size"), [({}, H), ({"output_size": O}, O)])
def test_number_of_parameters(options, size):
    cell = jordan(H, **options)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == H * (I + size + 1) + size * (H + 1)
    assert cell.output_size == size


@pytest.mark.parametrize("mu", [-0.1, 1.0])
def test_refuses_a_mu_outside_its_range(mu):
    with pytest.raises(ValueError, match=rf"mu.* must lie in \[0, 1\), got {mu}"):
        jordan(H, mu=mu)


def test_refuses_no_outputs():
    with pytest.raises(ValueError, match="output_size must be a whole number of at least 1, got 0"):
        jordan(H, output_size=0)
