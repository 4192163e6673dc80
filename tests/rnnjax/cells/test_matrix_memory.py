"""Linear attention and mLSTM against their papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import linear_attention, mlstm, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, I, T, agree, random_like

H, HEADS, D = 6, 2, 3


def elu_1(a):
    return np.where(a > 0, a + 1, np.exp(np.minimum(a, 0)))


def head_by_head(one):
    """The reference of a batch from that of one head of one example: one(vectors, numbers, state) -> (state, y)."""

    def reference(p, xs, carry):
        projected = xs @ p.W + p.b
        num_vectors = projected.shape[-1] // H
        leaves, tree = jax.tree.flatten(carry)
        leaves = [leaf.copy() for leaf in leaves]
        ys = np.zeros((T, B, H))
        for t, b, head in np.ndindex(T, B, HEADS):
            vectors = projected[t, b, : num_vectors * H].reshape(num_vectors, HEADS, D)[:, head]
            numbers = projected[t, b, num_vectors * H :].reshape(-1, HEADS)[:, head]
            state, ys[t, b, head * D : (head + 1) * D] = one(vectors, numbers, [leaf[b, head] for leaf in leaves])
            for leaf, value in zip(leaves, state, strict=True):
                leaf[b, head] = value
        return jax.tree.unflatten(tree, leaves), ys

    return reference


def linear_attention_step(qkv, numbers, state):
    q, k, v = qkv
    S, n = state
    S, n = S + np.outer(v, elu_1(k)), n + elu_1(k)
    return [S, n], S @ elu_1(q) / (n @ elu_1(q))


def mlstm_step(qkvo, numbers, state, log_f=lambda a: np.log(sigmoid(a))):
    q, k, v, o = qkvo
    k = k / np.sqrt(D)
    C, n, m = state
    i_tilde, f_tilde = numbers
    m_new = max(log_f(f_tilde) + m, i_tilde)
    i, f = np.exp(i_tilde - m_new), np.exp(log_f(f_tilde) + m - m_new)
    C, n = f * C + i * np.outer(v, k), f * n + i * k
    return [C, n, m_new], sigmoid(o) * (C @ q) / max(abs(n @ q), np.exp(-m_new))


def positive_keys(tree, seed=0):
    """A carry as some sequence leaves it: sums of features are positive."""
    carry = random_like(tree, seed)
    return carry._replace(n=np.abs(carry.n) + 1)


def test_linear_attention_agrees_with_its_paper():
    cell = linear_attention(H, num_heads=HEADS)
    carry = positive_keys(jax.eval_shape(lambda: cell.initial_carry(cell.init(jax.random.key(0), I), (B,))))
    agree(cell, head_by_head(linear_attention_step), carry=carry)


@pytest.mark.parametrize("exponential", [False, True])
def test_mlstm_agrees_with_its_paper(exponential):
    log_f = {"log_f": lambda a: a} if exponential else {}
    reference = head_by_head(lambda *arguments: mlstm_step(*arguments, **log_f))
    agree(mlstm(H, num_heads=HEADS, exponential_forget=exponential), reference)


@pytest.mark.parametrize("num_heads", [1, 2])
def test_number_of_parameters(num_heads):
    count = lambda cell: sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    )
    assert count(linear_attention(H, num_heads=num_heads)) == 3 * H * (I + 1)
    assert count(mlstm(H, num_heads=num_heads)) == (4 * H + 2 * num_heads) * (I + 1)


def run(cell, params, xs):
    return np.asarray(jax.jit(lambda params: unroll(cell, params, xs)[1])(params))


def random_params(cell):
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    return jax.tree.map(np.float32, random_like(shapes))


XS = np.random.default_rng(4).normal(size=(9, I)).astype(np.float32)


def test_linear_attention_is_causal_attention_with_a_kernel():
    cell = linear_attention(H)
    params = random_params(cell)
    q, k, v = np.split(XS @ params.W + params.b, 3, -1)
    weights = np.tril(elu_1(q) @ elu_1(k).T)
    np.testing.assert_allclose(run(cell, params, XS), weights @ v / weights.sum(-1, keepdims=True), atol=2e-5)


def test_mlstm_is_its_unstabilised_form():
    """h does not depend on m: C and n without it, max(|n q|, 1)."""
    cell = mlstm(H)
    params = random_params(cell)
    q, k, v, o, i, f = np.split(XS @ params.W + params.b, [H, 2 * H, 3 * H, 4 * H, 4 * H + 1], -1)
    C, n, expected = np.zeros((H, H)), np.zeros(H), []
    for t in range(len(XS)):
        key = k[t] / np.sqrt(H)
        C = sigmoid(f[t]) * C + np.exp(i[t]) * np.outer(v[t], key)
        n = sigmoid(f[t]) * n + np.exp(i[t]) * key
        expected.append(sigmoid(o[t]) * (C @ q[t]) / max(abs(n @ q[t]), 1))
    np.testing.assert_allclose(run(cell, params, XS), expected, atol=2e-5)


def test_mlstm_stays_finite_where_its_gates_overflow():
    cell = mlstm(H)
    params = random_params(cell)
    loud = params._replace(b=np.concatenate([params.b[: 4 * H], np.float32([200.0, 100.0])]))  # exp(200) is infinite

    def loss(params):
        return jnp.sum(unroll(cell, params, XS)[1])

    value, gradient = jax.jit(jax.value_and_grad(loss))(loud)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_initial_gates_of_mlstm():
    params = mlstm(H, num_heads=3).init(jax.random.key(0), I)
    assert np.all(np.asarray(params.W[:, 4 * H :]) == 0)
    np.testing.assert_allclose(params.b[-3:], [3.0, 4.5, 6.0])


@pytest.mark.parametrize("factory", [linear_attention, mlstm])
def test_refuses_heads_that_do_not_divide(factory):
    with pytest.raises(ValueError, match="hidden_size must be a multiple of num_heads = 4, got 6"):
        factory(6, num_heads=4)
