"""JANET, UGRNN and Li-GRU against their papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Chrono, janet, ligru, ugrnn
from rnnjax.cells import CELLS
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree


def halves(p):
    """(W, U, b) of the gate and of the candidate."""
    return zip(np.split(p.W, 2, 1), np.split(p.U, 2, 1), np.split(p.b, 2), strict=True)


def janet_reference(p, xs, c, beta=1.0):
    (W_f, U_f, b_f), (W_c, U_c, b_c) = halves(p)
    hs = []
    for x in xs:
        s = x @ W_f + c @ U_f + b_f
        candidate = np.tanh(x @ W_c + c @ U_c + b_c)
        c = sigmoid(s) * c + (1 - sigmoid(s - beta)) * candidate
        hs.append(c)
    return c, np.stack(hs)


def ugrnn_reference(p, xs, h):
    (W_g, U_g, b_g), (W_c, U_c, b_c) = halves(p)
    hs = []
    for x in xs:
        c = np.tanh(x @ W_c + h @ U_c + b_c)
        g = sigmoid(x @ W_g + h @ U_g + b_g)
        h = g * h + (1 - g) * c
        hs.append(h)
    return h, np.stack(hs)


def ligru_reference(p, xs, h):
    (W_z, U_z, b_z), (W_h, U_h, b_h) = halves(p)
    hs = []
    for x in xs:
        z = sigmoid(x @ W_z + h @ U_z + b_z)
        candidate = np.maximum(0, x @ W_h + h @ U_h + b_h)
        h = z * h + (1 - z) * candidate
        hs.append(h)
    return h, np.stack(hs)


@pytest.mark.parametrize("beta", [1.0, 0.0, 2.5])
def test_janet(beta):
    agree(janet(H, beta=beta), lambda p, xs, c: janet_reference(p, xs, c, beta))


def test_janet_takes_one_by_default():
    agree(janet(H), janet_reference)


def test_ugrnn():
    agree(ugrnn(H), ugrnn_reference)


def test_ligru():
    agree(ligru(H), ligru_reference)


@pytest.mark.parametrize("name", ["janet", "ugrnn", "ligru"])
def test_number_of_parameters(name):
    params = jax.eval_shape(lambda: CELLS[name](H).init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 2 * H * (I + H + 1)


def test_initial_biases():
    cells = [janet(H), ugrnn(H), ligru(H), ugrnn(H, forget_bias=-2.0)]
    found = jax.jit(lambda key: [cell.init(key, I).b for cell in cells])(jax.random.key(0))
    for b, first in zip(found, (1.0, 1.0, 0.0, -2.0), strict=True):
        np.testing.assert_array_equal(b, np.repeat([first, 0.0], H))


def test_janet_with_chrono_biases_forgets_over_as_many_steps():
    """Without weights the state is multiplied by σ(b_f) = 1 − 1/(1 + u), u between 1 and t_max − 1."""
    t_max, size = 400, 64
    cell = janet(size, forget_bias=Chrono(t_max))

    @jax.jit
    def one_step(key):
        params = jax.tree.map(lambda leaf: 0 * leaf if leaf.ndim == 2 else leaf, cell.init(key, I))
        return cell.step(params, jnp.ones(size), cell.project(params, jnp.zeros(I)))[0]

    steps = 1 / (1 - np.asarray(one_step(jax.random.key(0))))
    assert steps.min() >= 2 - 1e-4
    assert t_max / 2 < steps.max() <= t_max + 0.1
