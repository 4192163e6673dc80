"""DeltaNet, gated DeltaNet and DeltaProduct against their papers' equations, and what their matrices can do."""

import functools
import itertools

import jax
import numpy as np
import pytest

from rnnjax import delta_net, delta_product, gated_delta_net, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, I, T, agree, num_parameters, random_like

H, HEADS, D = 6, 2, 3


def silu(a):
    return a * sigmoid(a)


def reference(p, xs, S, num_householder=1, forget_gate=False, largest_beta=1.0):
    """Head by head, with the matrix that each factor is written out."""
    n, S, ys = num_householder, S.copy(), np.zeros((T, B, H))
    projected = xs @ p.W + p.b
    for t, b, head in np.ndindex(T, B, HEADS):
        vectors = projected[t, b, : (2 * n + 1) * H].reshape(2 * n + 1, HEADS, D)[:, head]
        numbers = projected[t, b, (2 * n + 1) * H :].reshape(-1, HEADS)[:, head]
        q, ks, vs = vectors[0], vectors[1 : n + 1], vectors[n + 1 :]
        memory = S[b, head]
        if forget_gate:
            memory = np.exp(-np.exp(p.log_decay[head]) * np.log1p(np.exp(numbers[n]))) * memory
        for k, v, number in zip(ks, vs, numbers[:n], strict=True):
            k, beta = silu(k) / np.linalg.norm(silu(k)), largest_beta * sigmoid(number)
            memory = memory @ (np.eye(D) - beta * np.outer(k, k)) + beta * np.outer(v, k)
        S[b, head] = memory
        ys[t, b, head * D : (head + 1) * D] = memory @ silu(q) / np.linalg.norm(silu(q))
    return S, ys


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize(("factory", "options"), [(delta_net, {}), (gated_delta_net, {"forget_gate": True})])
def test_one_key_agrees_with_its_paper(factory, options, negative):
    cell = factory(H, num_heads=HEADS, negative_eigenvalues=negative)
    agree(cell, functools.partial(reference, largest_beta=1.0 + negative, **options))


@pytest.mark.parametrize(("n", "gated", "negative"), [(2, False, True), (3, True, True), (2, False, False)])
def test_several_keys_agree_with_their_paper(n, gated, negative):
    options = {"num_householder": n, "forget_gate": gated}
    cell = delta_product(H, num_heads=HEADS, negative_eigenvalues=negative, **options)
    agree(cell, functools.partial(reference, largest_beta=1.0 + negative, **options))


@pytest.mark.parametrize("heads", [1, 2])
def test_number_of_parameters(heads):
    assert num_parameters(delta_net(H, num_heads=heads)) == (3 * H + heads) * (I + 1)
    assert num_parameters(gated_delta_net(H, num_heads=heads)) == (3 * H + 2 * heads) * (I + 1) + heads
    assert num_parameters(delta_product(H, num_heads=heads)) == (5 * H + 2 * heads) * (I + 1)
    gated = delta_product(H, num_heads=heads, num_householder=3, forget_gate=True)
    assert num_parameters(gated) == (7 * H + 3 * heads) * (I + 1) + heads * (I + 2)


def run(cell, params, xs, carry=None):
    return jax.device_get(jax.jit(lambda params, xs, carry: unroll(cell, params, xs, carry))(params, xs, carry))


def random_params(cell):
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    return jax.tree.map(np.float32, random_like(shapes))


XS = np.random.default_rng(4).normal(size=(9, I)).astype(np.float32)


def test_delta_net_replaces_what_a_key_held():
    """With beta = 1, reading with the key just written gives the value just written."""
    cell = delta_net(H)
    params = random_params(cell)
    W, b = params.W.copy(), params.b.copy()
    W[:, :H], b[:H] = W[:, H : 2 * H], b[H : 2 * H]  # q = k
    W[:, -1], b[-1] = 0.0, 50.0
    values = (XS @ W + b)[:, 2 * H : 3 * H]
    np.testing.assert_allclose(run(cell, params._replace(W=W, b=b), XS)[1], values, atol=2e-5)


def test_a_gate_that_keeps_makes_gated_delta_net_delta_net():
    cell = gated_delta_net(H, num_heads=HEADS)
    gated = random_params(cell)
    plain = delta_net(H, num_heads=HEADS)
    expected = run(plain, random_params(plain)._replace(W=gated.W[:, :-HEADS], b=gated.b[:-HEADS]), XS)
    open_gate = run(cell, gated._replace(log_decay=np.full(HEADS, -30.0, np.float32)), XS)
    for a, b in zip(open_gate, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert np.abs(run(cell, gated, XS)[0] - expected[0]).max() > 0.1


def test_a_gate_that_forgets_leaves_the_last_write_alone():
    cell = gated_delta_net(H)
    params = random_params(cell)
    forgetful = params._replace(log_decay=np.float32([9.0]))
    _, k, v, beta, _ = np.split(XS[-1] @ params.W + params.b, [H, 2 * H, 3 * H, 3 * H + 1])
    expected = sigmoid(beta) * np.outer(v, silu(k) / np.linalg.norm(silu(k)))
    np.testing.assert_allclose(run(cell, forgetful, XS)[0][0], expected, atol=1e-5)


def a_table(cell, rows):
    """Parameters that answer symbol s of a one-hot alphabet with the pre-activations rows[s]."""
    params = cell.init(jax.random.key(0), len(rows))
    return params._replace(W=np.float32(rows), b=np.zeros_like(params.b))


def before_silu(wanted):
    """a with a σ(a) = wanted, above where it turns at -0.278."""
    a = np.array(wanted, float)
    for _ in range(50):
        a -= (silu(a) - wanted) / (sigmoid(a) * (1 + a * (1 - sigmoid(a))))
    return a


def test_negative_eigenvalues_count_modulo_two():
    """The parity of 500 bits stands in the sign of the memory: a 1 reflects it along a key, a 0 leaves it alone."""
    size = 2
    cell = delta_net(size, negative_eigenvalues=True)
    key = before_silu([0.2, 0.0])
    rows = [np.concatenate([key, key, np.zeros(size), [write]]) for write in (-50.0, 50.0)]
    bits = np.random.default_rng(0).integers(2, size=500)
    ys = run(cell, a_table(cell, rows), np.eye(2, dtype=np.float32)[bits], np.ones((1, size, size), np.float32))[1]
    np.testing.assert_allclose(ys[:, 0], 1 - 2 * (np.cumsum(bits) % 2), atol=1e-4)


def transpositions(order):
    """Pairs (i, j) whose swaps, one after another, take 0, 1, 2, ... to `order`."""
    current, pairs = list(range(len(order))), []
    for i, wanted in enumerate(order):
        j = current.index(wanted)
        if i != j:
            pairs.append((i, j))
            current[i], current[j] = current[j], current[i]
    return pairs


def test_delta_product_composes_permutations():
    """With beta = 2, four keys at a step reach every permutation of five: 60 of them in a row, a random walk in S5."""
    size, n = 5, 4
    cell = delta_product(size, num_householder=n)
    orders, rows = list(itertools.permutations(range(size))), []
    for order in orders:
        keys, writes = np.full((n, size), before_silu(0.1)), np.full(n, -50.0)  # beta = 0 where a factor is not needed
        for factor, (i, j) in enumerate(transpositions(order)):
            keys[factor] = before_silu(0.2 * (np.eye(size)[i] - np.eye(size)[j]))
            writes[factor] = 50.0
        rows.append(np.concatenate([np.ones(size), keys.ravel(), np.zeros(n * size), writes]))
    walk = np.random.default_rng(1).integers(len(orders), size=60)
    start = np.eye(size, dtype=np.float32)[None]
    S = run(cell, a_table(cell, rows), np.eye(len(orders), dtype=np.float32)[walk], start)[0]
    where = np.arange(size)
    for step in walk:
        where = where[list(orders[step])]
    np.testing.assert_allclose(S[0], np.eye(size)[:, where], atol=1e-4)
    assert not np.array_equal(where, np.arange(size))


def test_initial_gate_of_gated_delta_net():
    params = gated_delta_net(64, num_heads=64).init(jax.random.key(0), I)
    steps = np.log1p(np.exp(np.asarray(params.b[-64:], float)))
    assert np.all((steps >= 0.00099) & (steps <= 0.1001))
    assert steps.max() > 0.05
    assert np.all(np.exp(params.log_decay) <= 16)
    assert np.exp(params.log_decay).max() > 12
    assert np.all(np.asarray(params.b[:-64]) == 0)


@pytest.mark.parametrize("factory", [delta_net, gated_delta_net, delta_product])
def test_refuses_what_does_not_fit(factory):
    with pytest.raises(ValueError, match="hidden_size must be a multiple of num_heads = 4, got 6"):
        factory(6, num_heads=4)
    with pytest.raises(ValueError, match="num_householder must be a whole number of at least 1, got 0"):
        delta_product(6, num_householder=0)
