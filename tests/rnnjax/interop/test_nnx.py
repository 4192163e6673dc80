"""Cells as modules of flax.nnx: what unroll computes, and what nnx does with a module."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rnnjax import Scan, bidirectional, dropout, gru, lstm, stack, unroll
from rnnjax.interop.nnx import RNN
from rnnjax.interop.pytorch import from_pytorch, to_pytorch

T, B, I, H = 5, 3, 2, 4
XS = np.random.default_rng(0).normal(size=(T, B, I)).astype(np.float32)
BATCH_FIRST = np.moveaxis(XS, 0, 1)
CELL = lstm(H)
LENGTHS = jnp.array([5, 2, 0])


@pytest.fixture(scope="module")
def rnn():
    return RNN(CELL, I, rngs=nnx.Rngs(0), deterministic=True)


def close(actual, expected, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), actual, expected)


def test_it_computes_what_unroll_does_in_either_layout(rnn):
    carry, ys = jax.jit(lambda p: unroll(CELL, p, XS, lengths=LENGTHS))(rnn.arrays())
    run = nnx.jit(lambda m, xs: m(xs, seq_lengths=LENGTHS, return_carry=True))
    close(run(rnn, BATCH_FIRST), (carry, jnp.moveaxis(ys, 0, 1)))
    close(nnx.jit(lambda m: m(XS, seq_lengths=LENGTHS, time_major=True))(rnn), ys)


def test_it_goes_on_from_a_carry_and_resets(rnn):
    start = rnn.layer.apply(rnn.arrays(), XS[:2])[0]
    resets = np.zeros((B, T), bool)
    resets[1, 2] = True

    @nnx.jit
    def run(m, xs, carry):
        return m(xs, initial_carry=carry, resets=resets, return_carry=True)

    expected = unroll(CELL, rnn.arrays(), XS, start, resets=resets.T)
    close(run(rnn, BATCH_FIRST, start), (expected[0], jnp.moveaxis(expected[1], 0, 1)))


def test_reverse_keeps_the_order():
    rnn = RNN(CELL, I, rngs=nnx.Rngs(0), reverse=True, time_major=True, method=Scan(save="everything"))
    close(rnn(XS), unroll(CELL, rnn.arrays(), XS, reverse=True)[1])


def test_stacks_and_layers():
    both = stack(bidirectional(gru(H)), lstm(3, peepholes=True))
    rnn = RNN(both, I, rngs=nnx.Rngs(1), time_major=True)
    assert isinstance(rnn.params[1].peephole["f"], nnx.Param)
    close(nnx.jit(lambda m: m(XS))(rnn), jax.jit(both.apply)(rnn.arrays(), XS)[1])


def loss_of(m, xs):
    return jnp.mean(m(xs) ** 2)


def test_gradients_are_those_of_unroll(rnn):
    value, grads = nnx.jit(nnx.value_and_grad(loss_of))(rnn, BATCH_FIRST)
    expected = jax.jit(jax.value_and_grad(lambda p: jnp.mean(unroll(CELL, p, XS)[1] ** 2)))(rnn.arrays())
    leaves = jax.tree.leaves(nnx.to_pure_dict(grads))
    assert len(leaves) == 3
    close(value, expected[0])
    close(sorted(leaves, key=jnp.shape), sorted(jax.tree.leaves(expected[1]), key=jnp.shape))


def test_it_trains_beside_other_modules():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.rnn = RNN(dropout(CELL, outputs=0.2), I, rngs=rngs)
            self.readout = nnx.Linear(H, 1, rngs=rngs)

        def __call__(self, xs):
            return self.readout(self.rnn(xs)[:, -1])

    model = Model(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)

    def score(m, xs):
        return jnp.mean((m(xs) - 1.0) ** 2)

    @nnx.jit
    def train_step(m, optimizer, xs):
        loss, grads = nnx.value_and_grad(score)(m, xs)
        optimizer.update(m, grads)
        return loss

    evaluate = nnx.jit(score)
    model.eval()
    before = evaluate(model, BATCH_FIRST)
    model.train()
    for _ in range(5):
        train_step(model, optimizer, BATCH_FIRST)
    model.eval()
    assert evaluate(model, BATCH_FIRST) < 0.8 * before


def test_dropout_follows_train_and_eval():
    rnn = RNN(dropout(CELL, outputs=0.5), I, rngs=nnx.Rngs(0, dropout=1))
    run = nnx.jit(lambda m, xs: m(xs))
    first, second = run(rnn, BATCH_FIRST), run(rnn, BATCH_FIRST)
    assert np.any(first != second)
    assert np.any(first == 0)
    key = jax.random.key(7)
    given = nnx.jit(lambda m, xs, key: m(xs, rngs=key))
    np.testing.assert_array_equal(given(rnn, BATCH_FIRST, key), given(rnn, BATCH_FIRST, key))
    rnn.eval()
    close(run(rnn, BATCH_FIRST), jnp.moveaxis(unroll(CELL, rnn.arrays(), XS)[1], 0, 1))


def test_split_and_merge_in_plain_jax(rnn):
    graph, params, rest = nnx.split(rnn, nnx.Param, ...)
    assert len(jax.tree.leaves(params)) == 3
    halved = jax.tree.map(lambda leaf: leaf / 2, params)
    ys = jax.jit(lambda p: nnx.merge(graph, p, rest)(BATCH_FIRST))(halved)
    expected = unroll(CELL, jax.tree.map(lambda leaf: leaf / 2, rnn.arrays()), XS)[1]
    close(ys, jnp.moveaxis(expected, 0, 1))


def test_weights_from_elsewhere(rnn):
    weights = to_pytorch(rnn.arrays())
    again = RNN(CELL, I, params=from_pytorch(weights), rngs=nnx.Rngs(5), deterministic=True)
    jax.tree.map(np.testing.assert_array_equal, again.arrays(), rnn.arrays())


def test_what_does_not_fit_is_refused(rnn):
    with pytest.raises(ValueError, match=r"\[\*batch, T, input_size\] with input_size 2, got \(3, 5, 7\)"):
        rnn(np.zeros((3, 5, 7)))
    with pytest.raises(ValueError, match=r"\[T, \*batch, input_size\] with input_size 2, got \(2,\)"):
        rnn(np.zeros(2), time_major=True)
    with pytest.raises(ValueError, match="input_size must be a whole number of at least 1, got 0"):
        RNN(CELL, 0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="reverse: options of unroll belong to cells"):
        RNN(bidirectional(CELL), I, reverse=True, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"params.W has shape \(2, 16\), but lstm\(4\) on 3 inputs needs \(3, 16\)"):
        RNN(CELL, 3, params=rnn.arrays(), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="the params have the structure"):
        RNN(gru(H), I, params=rnn.arrays(), rngs=nnx.Rngs(0))
