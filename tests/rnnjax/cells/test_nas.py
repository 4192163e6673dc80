"""The cell of neural architecture search against its graph."""

import numpy as np

from rnnjax import LSTMCarry, nas
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters


def relu(a):
    return np.maximum(a, 0)


def reference(params, xs, carry):
    h, c = carry.h, carry.c
    hs = []
    for x in xs:
        z, u = np.split(x @ params.W, 8, -1), np.split(h @ params.U, 8, -1)
        first = [
            sigmoid(z[0] + u[0]),
            relu(z[1] + u[1]),
            sigmoid(z[2] + u[2]),
            relu(z[3] * u[3]),
            np.tanh(z[4] + u[4]),
            sigmoid(z[5] + u[5]),
            np.tanh(z[6] + u[6]),
            sigmoid(z[7] + u[7]),
        ]
        second = [
            np.tanh(first[0] * first[1]),
            np.tanh(first[2] + first[3]),
            np.tanh(first[4] * first[5]),
            sigmoid(first[6] + first[7]),
        ]
        c = np.tanh(second[0] + c) * second[1]
        h = np.tanh(c * np.tanh(second[2] + second[3]))
        hs.append(h)
    return LSTMCarry(h, c), np.stack(hs)


def test_agrees_with_its_graph():
    agree(nas(H), reference)


def test_number_of_parameters():
    assert num_parameters(nas(H)) == 8 * H * (I + H)
