"""MUT1 to MUT3 against their paper's equations, with the bare input of size H and of another."""

import jax
import numpy as np
import pytest

from rnnjax import mut1, mut2, mut3
from rnnjax.cells import CELLS
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree


def mut1_reference(p, xs, h):
    W_z, W_r = np.split(p.W, 2, 1)
    b_z, b_r, b_h = np.split(p.b, 3)
    hs = []
    for x in xs:
        z = sigmoid(x @ W_z + b_z)
        r = sigmoid(x @ W_r + h @ p.U + b_r)
        bare = x if x.shape[-1] == H else x @ p.P
        h = np.tanh((r * h) @ p.U_h + np.tanh(bare) + b_h) * z + h * (1 - z)
        hs.append(h)
    return h, np.stack(hs)


def mut2_reference(p, xs, h):
    W_z, W_h = np.split(p.W, 2, 1)
    U_z, U_r = np.split(p.U, 2, 1)
    b_z, b_r, b_h = np.split(p.b, 3)
    hs = []
    for x in xs:
        z = sigmoid(x @ W_z + h @ U_z + b_z)
        bare = x if x.shape[-1] == H else x @ p.P
        r = sigmoid(bare + h @ U_r + b_r)
        h = np.tanh((r * h) @ p.U_h + x @ W_h + b_h) * z + h * (1 - z)
        hs.append(h)
    return h, np.stack(hs)


def mut3_reference(p, xs, h):
    W_z, W_r, W_h = np.split(p.W, 3, 1)
    b_z, b_r, b_h = np.split(p.b, 3)
    hs = []
    for x in xs:
        z = sigmoid(x @ W_z + np.tanh(h) @ p.U_z + b_z)
        r = sigmoid(x @ W_r + h @ p.U + b_r)
        h = np.tanh((r * h) @ p.U_h + x @ W_h + b_h) * z + h * (1 - z)
        hs.append(h)
    return h, np.stack(hs)


@pytest.mark.parametrize("input_size", [I, H])
@pytest.mark.parametrize(("cell", "reference"), [(mut1, mut1_reference), (mut2, mut2_reference)])
def test_bare_input_as_it_is_or_mapped(cell, reference, input_size):
    agree(cell(H), reference, input_size=input_size)


def test_mut3():
    agree(mut3(H), mut3_reference)


@pytest.mark.parametrize(
    ("name", "input_size", "count"),
    [
        ("mut1", I, H * (2 * I + 2 * H + 3) + H * I),
        ("mut1", H, H * (4 * H + 3)),
        ("mut2", I, H * (2 * I + 3 * H + 3) + H * I),
        ("mut2", H, H * (5 * H + 3)),
        ("mut3", I, 3 * H * (I + H + 1)),
        ("mut3", H, 3 * H * (2 * H + 1)),
    ],
)
def test_number_of_parameters(name, input_size, count):
    params = jax.eval_shape(lambda: CELLS[name](H).init(jax.random.key(0), input_size))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_keep_bias_is_the_negative_of_the_gates_bias():
    cells = [cell(H, keep_bias=2.0) for cell in (mut1, mut2, mut3)]
    for b in jax.jit(lambda key: [cell.init(key, I).b for cell in cells])(jax.random.key(0)):
        np.testing.assert_array_equal(b, np.repeat([-2.0, 0.0, 0.0], H))
