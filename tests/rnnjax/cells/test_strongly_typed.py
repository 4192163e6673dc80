"""Strongly typed cells against their paper's equations."""

import jax
import numpy as np
import pytest

from rnnjax import Associative, TypedCarry, t_gru, t_lstm, t_rnn, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, H, I, agree, num_parameters, random_like


def t_rnn_reference(params, xs, h):
    W, V = np.split(params.W, 2, 1)
    hs = []
    for x in xs:
        f = sigmoid(x @ V + params.b)
        h = f * h + (1 - f) * (x @ W)
        hs.append(h)
    return h, np.stack(hs)


def typed_reference(params, xs, carry, remembers_output):
    W, V, b = np.split(params.W, 3, 1), np.split(params.V, 3, 1), np.split(params.b, 3)
    c, before = carry.c, carry.x
    hs = []
    for x in xs:
        z, f, o = (x @ W[k] + before @ V[k] + b[k] for k in range(3))
        if remembers_output:
            c = sigmoid(f) * c + z * np.tanh(o)
            h = c
        else:
            c = sigmoid(f) * c + (1 - sigmoid(f)) * z
            h = c * np.tanh(o)
        before = x
        hs.append(h)
    return TypedCarry(c, before), np.stack(hs)


def test_t_rnn_agrees_with_its_paper():
    agree(t_rnn(H), t_rnn_reference)


@pytest.mark.parametrize(("factory", "remembers_output"), [(t_gru, True), (t_lstm, False)])
def test_agrees_with_its_paper(factory, remembers_output):
    agree(factory(H), lambda *args: typed_reference(*args, remembers_output))


@pytest.mark.parametrize(
    ("factory", "count"), [(t_rnn, 2 * H * I + H), (t_gru, 3 * H * (2 * I + 1)), (t_lstm, 3 * H * (2 * I + 1))]
)
def test_number_of_parameters(factory, count):
    assert num_parameters(factory(H)) == count


@pytest.mark.parametrize("factory", [t_gru, t_lstm])
def test_forget_bias_is_that_of_the_gate(factory):
    b = jax.jit(lambda key: factory(H, forget_bias=2.0).init(key, I).b)(jax.random.key(0))
    np.testing.assert_array_equal(b, np.repeat([0.0, 2.0, 0.0], H))


@pytest.mark.parametrize("factory", [t_rnn, t_gru, t_lstm])
def test_in_parallel_over_time_it_gives_the_same(factory):
    cell = factory(H)
    params = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    rng = np.random.default_rng(3)
    xs, resets = rng.normal(size=(11, B, I)).astype(np.float32), rng.random((11, B)) < 0.2

    def run(params, **options):
        return unroll(cell, params, xs, lengths=np.array([4, 11, 0]), resets=resets, **options)

    both = jax.jit(lambda params: (run(params), run(params, method=Associative(4))))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *both)
