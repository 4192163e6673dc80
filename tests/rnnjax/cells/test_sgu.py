"""Simple gated units against their paper's equations."""

import jax
import numpy as np
import pytest

from rnnjax import dsgu, sgu
from rnnjax.cells import CELLS
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree


def reference(z_out):
    def run(p, xs, h):
        W_z, W_g = np.split(p.W, 2, 1)
        b_z, b_g = np.split(p.b, 2)
        hs = []
        for x in xs:
            x_g = x @ W_g + b_g
            z_g = np.tanh((x_g * h) @ p.U_g)
            z = np.minimum(np.maximum((x @ W_z + h @ p.U_z + b_z) / 5 + 0.5, 0), 1)
            h = (1 - z) * h + z * z_out(p, z_g * h)
            hs.append(h)
        return h, np.stack(hs)

    return run


def test_sgu():
    agree(sgu(H), reference(lambda p, v: np.log1p(np.exp(v))))


def test_dsgu():
    agree(dsgu(H), reference(lambda p, v: sigmoid(v @ p.U_o)))


@pytest.mark.parametrize(("name", "count"), [("sgu", 2 * H * (I + H + 1)), ("dsgu", H * (2 * I + 3 * H + 2))])
def test_number_of_parameters(name, count):
    params = jax.eval_shape(lambda: CELLS[name](H).init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_keep_bias_is_the_negative_of_the_gates_bias():
    cells = [sgu(H, keep_bias=2.0), dsgu(H, keep_bias=2.0)]
    for b in jax.jit(lambda key: [cell.init(key, I).b for cell in cells])(jax.random.key(0)):
        np.testing.assert_array_equal(b, np.repeat([-2.0, 0.0], H))
