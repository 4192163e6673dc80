"""IndRNN and the cells of ParaRNN against their papers' equations, and what their independence means."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import (
    Chrono,
    IndRNNParams,
    LSTMCarry,
    Uniform,
    gru_reset_before,
    indrnn,
    lstm,
    para_gru,
    para_lstm,
)
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree, num_parameters, random_like

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def reference(p, xs, h, activation=lambda z: np.maximum(z, 0), bound=np.inf):
    hs = []
    for x in xs:
        h = activation(x @ p.W + np.minimum(np.maximum(p.u, -bound), bound) * h + p.b)
        hs.append(h)
    return h, np.stack(hs)


def test_indrnn():
    agree(indrnn(H), reference)
    agree(indrnn(H, activation=jnp.tanh), lambda p, xs, h: reference(p, xs, h, np.tanh))


def test_indrnn_with_a_bound():
    def beyond(shapes):
        rng = np.random.default_rng(0)
        return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)._replace(u=np.linspace(-2, 2, H))

    agree(indrnn(H, t_max=6), lambda p, xs, h: reference(p, xs, h, bound=2 ** (1 / 6)), params=beyond)
    agree(indrnn(H, t_max=6, max_gain=0.5), lambda p, xs, h: reference(p, xs, h, bound=0.5 ** (1 / 6)), params=beyond)


def test_gradient_over_t_max_steps_is_at_most_max_gain_and_still_reaches_u():
    cell, T = indrnn(3, t_max=50), 50
    params = IndRNNParams(W=np.ones((I, 3), np.float32), u=np.float32([1.5, -1.5, 1.0]), b=np.ones(3, np.float32))

    def last(h, params):
        p, x = cell.prepare(params), jnp.zeros(I)
        return jax.lax.scan(lambda h, _: cell.step(p, h, cell.project(p, x)), h, length=T)[0]

    by_state, by_params = jit(jax.jacobian(last, (0, 1)))(np.ones(3, np.float32), params)
    np.testing.assert_allclose(by_state[0, 0], 2.0, rtol=1e-4)
    assert np.abs(by_state).max() < 2.001
    assert by_params.u[0, 0] > 1


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        ({}, 0.0, 1.0),
        ({"t_max": 10}, 0.0, 2**0.1),
        ({"recurrent": Uniform(0.5**0.1, 2**0.1), "t_max": 10}, 0.5**0.1, 2**0.1),
    ],
)
def test_first_recurrent_weights(options, low, high):
    u = jit(lambda: indrnn(500, **options).init(jax.random.key(0), 1).u)()
    assert low <= u.min() < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < u.max() <= high


def test_parameter_count_and_first_input_weights():
    params = jit(lambda: indrnn(200).init(jax.random.key(0), 10))()
    assert sum(leaf.size for leaf in params) == 200 * (10 + 2)
    assert np.var(params.W) == pytest.approx(2 / 65 / 10, rel=0.1)


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"max_gain, .* must be above 0, got 0"):
        indrnn(H, max_gain=0)
    with pytest.raises(ValueError, match=r"t_max, .* must be at least 1 step, got 0"):
        indrnn(H, t_max=0)


def para_gru_reference(p, xs, h):
    (W_r, W_z, W_n), (u_r, u_z, u_n), (b_r, b_z, b_n) = np.split(p.W, 3, 1), np.split(p.u, 3), np.split(p.b, 3)
    hs = []
    for x in xs:
        r = sigmoid(u_r * h + x @ W_r + b_r)
        z = sigmoid(u_z * h + x @ W_z + b_z)
        new = np.tanh(u_n * (h * r) + x @ W_n + b_n)
        h = (1 - z) * h + z * new
        hs.append(h)
    return h, np.stack(hs)


def para_lstm_reference(p, xs, carry):
    (W_f, W_g, W_o), (u_f, u_g, u_o), (b_f, b_g, b_o) = np.split(p.W, 3, 1), np.split(p.u, 3), np.split(p.b, 3)
    w_f, w_o = np.split(p.w, 2)
    (h, c), hs = carry[:2], []
    for x in xs:
        f = sigmoid(u_f * h + x @ W_f + w_f * c + b_f)
        new = np.tanh(u_g * h + x @ W_g + b_g)
        c = f * c + (1 - f) * new
        o = sigmoid(u_o * h + x @ W_o + w_o * c + b_o)
        h = o * np.tanh(c)
        hs.append(h)
    return LSTMCarry(h, c), np.stack(hs)


def test_cells_of_pararnn():
    agree(para_gru(H), para_gru_reference)
    agree(para_lstm(H), para_lstm_reference)


def one_step(cell, params, carry, x):
    p = cell.prepare(params)
    return cell.step(p, carry, cell.project(p, x))[0]


def diagonal(u, number):
    """The recurrent matrices [H, number * H] whose diagonals stand in u."""
    return jnp.concatenate([jnp.diag(part) for part in jnp.split(u, number)], axis=1)


def test_para_gru_is_a_gru_with_diagonal_matrices():
    """One whose update gate is turned round: z = 1 writes here and keeps there."""
    full = gru_reset_before(H)
    turned = np.repeat(np.float32([1, -1, 1]), H)
    p = random_like(jax.eval_shape(lambda: para_gru(H).init(jax.random.key(0), I)))
    h, x = np.linspace(-1, 1, H), np.linspace(-2, 1, I)
    shapes = jax.eval_shape(lambda: full.init(jax.random.key(0), I))
    same = shapes._replace(W=p.W * turned, U=diagonal(p.u, 3) * turned, b=p.b * turned)
    np.testing.assert_allclose(one_step(para_gru(H), p, h, x), one_step(full, same, h, x), atol=1e-6)


def test_para_lstm_is_a_coupled_lstm_with_peepholes_and_diagonal_matrices():
    full = lstm(H, peepholes=True, coupled=True)
    p = random_like(jax.eval_shape(lambda: para_lstm(H).init(jax.random.key(0), I)))
    carry, x = LSTMCarry(np.linspace(-1, 1, H), np.linspace(2, -1, H)), np.linspace(-2, 1, I)
    shapes = jax.eval_shape(lambda: full.init(jax.random.key(0), I))
    w_f, w_o = np.split(p.w, 2)
    same = shapes._replace(W=p.W, U=diagonal(p.u, 3), b=p.b, peephole={"f": w_f, "o": w_o})
    for a, b in zip(one_step(para_lstm(H), p, carry, x)[:2], one_step(full, same, carry, x)[:2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(("factory", "size"), [(para_gru, 1), (para_lstm, 2)])
def test_the_jacobian_of_a_step_is_diagonal_by_unit(factory, size):
    cell = factory(H)
    p = random_like(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    carry = random_like(cell.initial_carry(p), seed=1)
    jacobian = jit(jax.jacobian(lambda carry: one_step(cell, p, carry, np.linspace(-2, 1, I))))(carry)
    blocks = jax.tree.leaves(jacobian)
    assert len(blocks) == size**2
    for block in blocks:
        assert np.all(np.abs(np.diag(block)) > 1e-4)
        np.testing.assert_array_equal(block - np.diag(np.diag(block)), 0)


def test_first_parameters_of_the_cells_of_pararnn():
    assert num_parameters(para_gru(H)) == 3 * H * (I + 2)
    assert num_parameters(para_lstm(H)) == H * (3 * I + 8)
    as_gru, as_lstm = jit(lambda: tuple(cell.init(jax.random.key(0), 20) for cell in (para_gru(500), para_lstm(500))))()
    even, none = np.linspace(0, -1, 500, dtype=np.float32), np.zeros(500)
    np.testing.assert_allclose(as_gru.b, np.concatenate([none, even, none]), atol=1e-6)
    np.testing.assert_allclose(as_lstm.b, np.concatenate([even, none, none]), atol=1e-6)
    for diagonals in (as_gru.u, as_lstm.u, as_lstm.w):
        assert np.std(diagonals) == pytest.approx(2 / np.sqrt(5 * 500), rel=0.1)
    assert 0.9 * np.sqrt(6 / 520) < np.abs(as_gru.W).max() <= np.sqrt(6 / 520)
    kept = para_gru(500, keep_bias=Chrono(20.0)).init(jax.random.key(0), 1).b[500:1000]
    assert np.all((kept >= -np.log(19) - 1e-5) & (kept <= 0))
    np.testing.assert_array_equal(para_lstm(H, forget_bias=2.0).init(jax.random.key(0), 1).b[:H], np.full(H, 2.0))
