"""Both versions of the simple recurrent unit against their papers' equations."""

import functools

import jax
import numpy as np
import pytest

from rnnjax import Associative, sru, sru_v2, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, H, I, agree


def sru_reference(p, xs, c, g=np.tanh):
    (W, W_f, W_r), (b_f, b_r) = np.split(p.W, 3, 1), np.split(p.b, 2)
    hs = []
    for x in xs:
        f, r = sigmoid(x @ W_f + b_f), sigmoid(x @ W_r + b_r)
        c = f * c + (1 - f) * (x @ W)
        hs.append(r * g(c) + (1 - r) * (x if p.W_skip is None else x @ p.W_skip))
    return c, np.stack(hs)


def sru_v2_reference(p, xs, c, alpha=3**0.5):
    (W, W_f, W_r), (b_f, b_r), (v_f, v_r) = np.split(p.W, 3, 1), np.split(p.b, 2), np.split(p.v, 2)
    hs = []
    for x in xs:
        f, r = sigmoid(x @ W_f + v_f * c + b_f), sigmoid(x @ W_r + v_r * c + b_r)
        c = f * c + (1 - f) * (x @ W)
        hs.append(r * c + (1 - r) * alpha * (x if p.W_skip is None else x @ p.W_skip))
    return c, np.stack(hs)


@pytest.mark.parametrize("input_size", [I, H])
@pytest.mark.parametrize(("factory", "reference"), [(sru, sru_reference), (sru_v2, sru_v2_reference)])
def test_agrees_with_its_paper(factory, reference, input_size):
    agree(factory(H), reference, input_size=input_size)


def test_another_activation_and_highway_bias():
    agree(sru(H, activation=jax.nn.relu), lambda p, xs, c: sru_reference(p, xs, c, lambda a: np.maximum(a, 0)))
    alpha = np.sqrt(1 + 2 * np.exp(-2.0))
    agree(sru_v2(H, highway_bias=-2.0), lambda p, xs, c: sru_v2_reference(p, xs, c, alpha))
    np.testing.assert_array_equal(sru_v2(H, highway_bias=-2.0).init(jax.random.key(0), I).b[H:], np.full(H, -2.0))


@pytest.mark.parametrize("input_size", [I, H])
@pytest.mark.parametrize(("factory", "vectors"), [(sru, 2), (sru_v2, 4)])
def test_number_of_parameters(factory, vectors, input_size):
    params = jax.eval_shape(lambda: factory(H).init(jax.random.key(0), input_size))
    expected = H * (3 * input_size + vectors) + (H * input_size if input_size != H else 0)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


def test_outputs_do_not_depend_on_where_stretches_and_calls_end():
    cell = sru(H)
    params = cell.init(jax.random.key(0), I)
    xs = np.random.default_rng(0).normal(size=(12, B, I)).astype(np.float32)

    @jax.jit
    def every_way(params):
        carry, ys = unroll(cell, params, xs[:5])
        carry, more = unroll(cell, params, xs[5:], carry)
        run = functools.partial(unroll, cell, params, xs)
        by_stretches = [run(method=Associative(chunk)) for chunk in (1, 2, 5, 12)]
        return run(), (carry, jax.numpy.concatenate([ys, more])), *by_stretches

    whole, *others = every_way(params)
    for other in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), other, whole)


def test_variances_at_the_start():
    size = 400
    params = jax.jit(lambda key: sru_v2(size).init(key, size))(jax.random.key(0))
    W, W_f, W_r = np.split(np.asarray(params.W), 3, 1)
    for matrix, variance in ((W, 1.0), (W_f, 0.5), (W_r, 0.5)):
        assert matrix.var() * size == pytest.approx(variance, rel=0.02)
    assert np.var(params.v) == pytest.approx(0.5, rel=0.1)
