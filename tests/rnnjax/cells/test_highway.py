"""The recurrent highway network against its paper's equations."""

import jax
import numpy as np
import pytest

from rnnjax import rhn
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters


def reference(params, xs, s, coupled=True):
    gates = 2 if coupled else 3
    W = np.split(params.W, gates, 1)
    ys = []
    for x in xs:
        for layer in range(len(params.U)):
            U, b = np.split(params.U[layer], gates, 1), np.split(params.b[layer], gates)
            a = [(x @ W[k] if layer == 0 else 0) + s @ U[k] + b[k] for k in range(gates)]
            h, t = np.tanh(a[0]), sigmoid(a[1])
            c = 1 - t if coupled else sigmoid(a[2])
            s = h * t + s * c
        ys.append(s)
    return s, np.stack(ys)


@pytest.mark.parametrize(("depth", "coupled"), [(1, True), (3, True), (2, False)])
def test_agrees_with_its_paper(depth, coupled):
    agree(rhn(H, depth=depth, coupled=coupled), lambda *args: reference(*args, coupled=coupled))


@pytest.mark.parametrize(("depth", "coupled", "gates"), [(1, True, 2), (3, False, 3)])
def test_number_of_parameters(depth, coupled, gates):
    assert num_parameters(rhn(H, depth=depth, coupled=coupled)) == gates * H * (I + depth * (H + 1))


def test_layers_begin_by_keeping():
    cell = rhn(H, depth=2, coupled=False)
    params = jax.jit(lambda key: cell.init(key, I))(jax.random.key(0))
    for U, b in zip(params.U, params.b, strict=True):
        b_h, b_t, b_c = np.split(b, 3)
        assert np.all(np.abs(b_h) <= 0.04)
        assert np.abs(b_h).max() > 0
        assert np.all(b_t == -2)
        assert np.all(b_c == 2)
        assert 0.03 < np.abs(U).max() <= 0.04
        assert np.asarray(U).min() < -0.03


def test_depth_is_checked():
    with pytest.raises(ValueError, match="depth must be a whole number of at least 1, got 0"):
        rhn(H, depth=0)
