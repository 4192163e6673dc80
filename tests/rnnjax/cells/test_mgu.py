"""Minimal gated units against their papers' equations."""

import jax
import numpy as np
import pytest

from rnnjax import mgu, mgu1, mgu2, mgu3
from rnnjax.cells import CELLS
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree


def reference(gate):
    """A minimal gated unit whose forget gate's pre-activation is gate(p, x, h)."""

    def run(p, xs, h):
        W_n, hs = p.W[:, -H:], []
        for x in xs:
            f = sigmoid(gate(p, x, h))
            n = np.tanh(x @ W_n + (f * h) @ p.U_n + p.b_n)
            h = (1 - f) * h + f * n
            hs.append(h)
        return h, np.stack(hs)

    return run


def test_mgu():
    agree(mgu(H), reference(lambda p, x, h: x @ p.W[:, :H] + h @ p.U_f + p.b_f))


def test_mgu1_does_not_see_the_input():
    agree(mgu1(H), reference(lambda p, x, h: h @ p.U_f + p.b_f))


def test_mgu2_has_no_bias_either():
    agree(mgu2(H), reference(lambda p, x, h: h @ p.U_f))


def test_mgu3_is_a_bias_alone():
    agree(mgu3(H), reference(lambda p, x, h: p.b_f))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mgu", 2 * H * (I + H + 1)),
        ("mgu1", H * (I + 2 * H + 2)),
        ("mgu2", H * (I + 2 * H + 1)),
        ("mgu3", H * (I + H + 2)),
    ],
)
def test_number_of_parameters(name, count):
    params = jax.eval_shape(lambda: CELLS[name](H).init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_keep_bias_is_the_negative_of_the_gates_bias():
    cells = [cell(H, keep_bias=3.0) for cell in (mgu, mgu1, mgu3)] + [mgu(H)]
    found = jax.jit(lambda key: [cell.init(key, I).b_f for cell in cells])(jax.random.key(0))
    for b, expected in zip(found, (-3.0, -3.0, -3.0, 0.0), strict=True):
        np.testing.assert_array_equal(b, np.full(H, expected))
