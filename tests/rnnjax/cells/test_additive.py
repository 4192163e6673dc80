"""RAN, CFN, ATR, SGRN, STAR and MinimalRNN against their papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Chrono, LSTMCarry, atr, cfn, minimal_rnn, ran, sgrn, star, unroll
from rnnjax.cell import split
from rnnjax.cells import CELLS
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, H, I, agree, random_like


def ran_reference(p, xs, carry, g=np.tanh):
    W_f, W_i, W_c = np.split(p.W, 3, 1)
    U_f, U_i = np.split(p.U, 2, 1)
    b_f, b_i = np.split(p.b, 2)
    h, c, hs = carry.h, carry.c, []
    for x in xs:
        content = x @ W_c
        i = sigmoid(h @ U_i + x @ W_i + b_i)
        f = sigmoid(h @ U_f + x @ W_f + b_f)
        c = i * content + f * c
        h = g(c)
        hs.append(h)
    return LSTMCarry(h, c), np.stack(hs)


def cfn_reference(p, xs, h):
    V_theta, V_eta, W = np.split(p.W, 3, 1)
    U_theta, U_eta = np.split(p.U, 2, 1)
    b_theta, b_eta = np.split(p.b, 2)
    hs = []
    for x in xs:
        theta = sigmoid(h @ U_theta + x @ V_theta + b_theta)
        eta = sigmoid(h @ U_eta + x @ V_eta + b_eta)
        h = theta * np.tanh(h) + eta * np.tanh(x @ W)
        hs.append(h)
    return h, np.stack(hs)


def atr_reference(params, xs, h):
    hs = []
    for x in xs:
        p, q = x @ params.W, h @ params.U
        h = sigmoid(p + q) * p + sigmoid(p - q) * h
        hs.append(h)
    return h, np.stack(hs)


def sgrn_reference(p, xs, h):
    hs = []
    for x in xs:
        f = sigmoid(x @ p.W + h @ p.U + p.b)
        i = 1 - f
        h = np.tanh(i * (x @ p.W) + f * h)
        hs.append(h)
    return h, np.stack(hs)


def star_reference(p, xs, h):
    W_x, W_z = np.split(p.W, 2, 1)
    b_k, b_z = np.split(p.b, 2)
    hs = []
    for x in xs:
        z = np.tanh(x @ W_z + b_z)
        k = sigmoid(x @ W_x + h @ p.U + b_k)
        h = np.tanh((1 - k) * h + k * z)
        hs.append(h)
    return h, np.stack(hs)


def minimal_rnn_reference(p, xs, h):
    hs = []
    for x in xs:
        z = np.tanh(x @ p.W_z + p.b_z)
        u = sigmoid(h @ p.U_h + z @ p.U_z + p.b_u)
        h = u * h + (1 - u) * z
        hs.append(h)
    return h, np.stack(hs)


@pytest.mark.parametrize(
    ("cell", "reference"),
    [
        (ran(H), ran_reference),
        (ran(H, activation=None), lambda p, xs, carry: ran_reference(p, xs, carry, g=lambda c: c)),
        (cfn(H), cfn_reference),
        (atr(H), atr_reference),
        (sgrn(H), sgrn_reference),
        (star(H), star_reference),
        (minimal_rnn(H), minimal_rnn_reference),
    ],
    ids=["ran", "ran_identity", "cfn", "atr", "sgrn", "star", "minimal_rnn"],
)
def test_agrees_with_its_paper(cell, reference):
    agree(cell, reference)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("ran", 3 * H * I + 2 * H * (H + 1)),
        ("cfn", 3 * H * I + 2 * H * (H + 1)),
        ("atr", H * (I + H)),
        ("sgrn", H * (I + H + 1)),
        ("star", H * (2 * I + H + 2)),
        ("minimal_rnn", H * (I + 2 * H + 2)),
    ],
)
def test_number_of_parameters(name, count):
    params = jax.eval_shape(lambda: CELLS[name](H).init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_chaos_free_without_input():
    """Every unit's magnitude falls at every step, and goes to zero, however large the weights."""
    cell = cfn(H)
    params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    params = jax.tree.map(lambda leaf: np.float32(5 * leaf), params)
    h = np.float32(3 * np.random.default_rng(1).normal(size=(B, H)))
    _, hs = jax.jit(lambda h: unroll(cell, params, jnp.zeros((300, B, I)), h))(h)
    sizes = np.abs(np.concatenate([h[None], hs]))
    assert np.all((sizes[1:] < sizes[:-1]) | (sizes[1:] < 1e-30))
    assert sizes[-1].max() < 0.1 * sizes[0].min()


def test_ran_state_is_a_gated_sum_of_the_inputs():
    """c_T is the sum over t of (the input gate at t) × (the forget gates after t) × W_c x_t."""
    cell, steps = ran(H), 6
    params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    params = jax.tree.map(np.float32, params)
    xs = np.random.default_rng(1).normal(size=(steps, I))
    carry, hs = jax.jit(lambda xs: unroll(cell, params, xs))(np.float32(xs))
    h_before = np.concatenate([np.zeros((1, H)), hs[:-1]])
    f, i = np.split(sigmoid(xs @ params.W[:, : 2 * H] + h_before @ params.U + params.b), 2, axis=1)
    after = np.stack([np.prod(f[t + 1 :], axis=0) for t in range(steps)])
    np.testing.assert_allclose(carry.c, np.sum(i * after * (xs @ params.W[:, 2 * H :]), axis=0), rtol=1e-4, atol=1e-5)


@jax.jit
def initial_values(key):
    chrono = Chrono(100.0)
    return {
        "cfn": cfn(H).init(key, I).b,
        "ran": ran(H).init(key, I).b,
        "star": star(H).init(key, I).b,
        "minimal_rnn": minimal_rnn(H, update_bias=2.0).init(key, I).b_u,
        "cfn_weights": cfn(50).init(key, 50)[:2],
        "star_weights": split(star(H).init(key, H).W, 2),
        "chrono": [cell(H, forget_bias=chrono).init(key, I).b for cell in (ran, cfn)],
        "chrono_and_input": ran(H, forget_bias=chrono, input_bias=0.5).init(key, I).b,
        "shut": [cell(H, input_bias=chrono).init(key, I).b[H:] for cell in (ran, cfn)],
    }


def test_initial_values():
    found = jax.device_get(initial_values(jax.random.key(0)))
    np.testing.assert_array_equal(found["cfn"], np.repeat([1.0, -1.0], H))
    np.testing.assert_array_equal(found["ran"], np.zeros(2 * H))
    np.testing.assert_array_equal(found["star"], np.repeat([-1.0, 0.0], H))
    np.testing.assert_array_equal(found["minimal_rnn"], np.full(H, 2.0))
    for matrix in found["cfn_weights"]:
        assert 0.0695 < np.abs(matrix).max() <= 0.07
        assert abs(matrix.mean()) < 0.003
    for matrix in found["star_weights"]:
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(H), atol=1e-6)
    for b in found["chrono"]:  # the input gate takes the negative of what was drawn for the forget gate
        np.testing.assert_array_equal(b[H:], -b[:H])
        assert b[:H].max() > 0
    np.testing.assert_array_equal(found["chrono_and_input"][H:], np.full(H, 0.5))
    for b in found["shut"]:
        assert np.all((b < 0) & (b >= -np.log(99)))
