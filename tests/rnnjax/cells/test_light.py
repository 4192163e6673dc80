"""LightRU, FastRNN and FastGRNN against their papers' equations."""

import jax
import numpy as np
import pytest

from rnnjax import fastgrnn, fastrnn, lightru
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters


def lightru_reference(params, xs, h):
    W_n, W_f = np.split(params.W, 2, 1)
    hs = []
    for x in xs:
        f = sigmoid(x @ W_f + h @ params.U + params.b)
        h = (1 - f) * h + f * np.tanh(x @ W_n)
        hs.append(h)
    return h, np.stack(hs)


def whole(matrix):
    return matrix[0] @ matrix[1] if isinstance(matrix, tuple) else matrix


def fastrnn_reference(params, xs, h):
    W, U = whole(params.W), whole(params.U)
    hs = []
    for x in xs:
        h = sigmoid(params.alpha) * np.tanh(x @ W + h @ U + params.b) + sigmoid(params.beta) * h
        hs.append(h)
    return h, np.stack(hs)


def fastgrnn_reference(params, xs, h):
    W, U = whole(params.W), whole(params.U)
    hs = []
    for x in xs:
        z = sigmoid(x @ W + h @ U + params.b_z)
        candidate = np.tanh(x @ W + h @ U + params.b_h)
        h = (sigmoid(params.zeta) * (1 - z) + sigmoid(params.nu)) * candidate + z * h
        hs.append(h)
    return h, np.stack(hs)


@pytest.mark.parametrize(
    ("cell", "reference"),
    [
        (lightru(H), lightru_reference),
        (fastrnn(H), fastrnn_reference),
        (fastrnn(H, recurrent_rank=2), fastrnn_reference),
        (fastgrnn(H), fastgrnn_reference),
        (fastgrnn(H, kernel_rank=1, recurrent_rank=2), fastgrnn_reference),
    ],
)
def test_agrees_with_its_paper(cell, reference):
    agree(cell, reference)


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        (lightru(H), 2 * H * I + H * H + H),
        (fastrnn(H), H * (I + H + 1) + 2),
        (fastgrnn(H), H * (I + H + 2) + 2),
        (fastgrnn(H, kernel_rank=1, recurrent_rank=2), (I + H) + 4 * H + 2 * H + 2),
    ],
)
def test_number_of_parameters(cell, count):
    assert num_parameters(cell) == count


def test_fastrnn_begins_as_a_slow_average():
    params = jax.jit(lambda key: fastrnn(H).init(key, I))(jax.random.key(0))
    np.testing.assert_allclose(sigmoid(params.alpha) + sigmoid(params.beta), 1.0, atol=1e-6)
    assert sigmoid(params.alpha) < 0.05


@pytest.mark.parametrize("option", ["kernel_rank", "recurrent_rank"])
@pytest.mark.parametrize("factory", [fastrnn, fastgrnn])
def test_ranks_are_checked(factory, option):
    with pytest.raises(ValueError, match=f"{option} must be a whole number of at least 1, got 0"):
        factory(H, **{option: 0})
