"""The quasi-recurrent network against its paper's equations, and across the borders of stretches and calls."""

import functools

import jax
import numpy as np
import pytest

from rnnjax import Associative, QRNNCarry, qrnn, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, H, I, agree


def reference(p, xs, carry, window, pooling):
    """Masked convolution over the whole sequence, then pooling step by step."""
    kernels = [p.W, *(np.split(p.W_past, window - 1) if window > 1 else ())]
    padded = np.concatenate([*(x[None] for x in reversed(carry.past)), xs])
    convolved = p.b + sum(
        padded[window - 1 - j : len(padded) - j] @ kernel  # the input j steps before
        for j, kernel in enumerate(kernels)
    )
    c, hs = carry.c, []
    for z_t in convolved:
        z, f, *gates = np.split(z_t, 1 + len(pooling), -1)
        z, f = np.tanh(z), sigmoid(f)
        i = sigmoid(gates[0]) if pooling == "ifo" else 1 - f
        c = f * c + i * z
        hs.append(c if pooling == "f" else sigmoid(gates[-1]) * c)
    past = tuple(padded[len(padded) - 1 - j] for j in range(window - 1))
    return QRNNCarry(c, past), np.stack(hs)


@pytest.mark.parametrize(("window", "pooling"), [(2, "fo"), (1, "f"), (3, "ifo")])
def test_agrees_with_its_paper(window, pooling):
    agree(qrnn(H, window=window, pooling=pooling), functools.partial(reference, window=window, pooling=pooling))


@pytest.mark.parametrize(("window", "pooling", "gates"), [(2, "fo", 3), (1, "f", 2), (3, "ifo", 4)])
def test_number_of_parameters(window, pooling, gates):
    params = jax.eval_shape(lambda: qrnn(H, window=window, pooling=pooling).init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == gates * H * (window * I + 1)


def test_outputs_do_not_depend_on_where_stretches_and_calls_end():
    cell = qrnn(H, window=4)
    params = cell.init(jax.random.key(0), I)
    rng = np.random.default_rng(0)
    xs, lengths = rng.normal(size=(12, B, I)).astype(np.float32), np.array([12, 7, 1])
    resets = rng.random((12, B)) < 0.2

    @jax.jit
    def every_way(params):
        carry, ys = unroll(cell, params, xs[:5], resets=resets[:5], lengths=np.minimum(lengths, 5))
        carry, more = unroll(cell, params, xs[5:], carry, resets=resets[5:], lengths=np.maximum(lengths - 5, 0))
        run = functools.partial(unroll, cell, params, xs, resets=resets, lengths=lengths)
        by_stretches = [run(method=Associative(chunk)) for chunk in (1, 2, 5, 12)]
        return run(), (carry, jax.numpy.concatenate([ys, more])), *by_stretches

    whole, *others = every_way(params)
    for other in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), other, whole)


def test_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"unknown pooling 'max'.* known: f, fo, ifo"):
        qrnn(H, pooling="max")
    with pytest.raises(ValueError, match="window must be a whole number of at least 1, got 0"):
        qrnn(H, window=0)


def test_forget_bias_is_that_of_f():
    params = qrnn(H, forget_bias=2.0).init(jax.random.key(0), I)
    np.testing.assert_array_equal(params.b, np.repeat([0.0, 2.0, 0.0], H))
