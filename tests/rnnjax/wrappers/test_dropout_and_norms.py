"""Zoneout, residual connections, dilation and weight normalisation, against the same thing written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import (
    Associative,
    LSTMCarry,
    Scan,
    br,
    clockwork,
    dilated,
    elman,
    fastrnn,
    gru,
    gru_reset_before,
    lstm,
    residual,
    slstm,
    stack,
    t_lstm,
    unroll,
    weight_norm,
    zoneout,
)
from tests.rnnjax.wrappers.test_layers import assert_close, params_of

T, B, I, H = 7, 3, 4, 5
KEY = jax.random.key(4)
XS = np.random.default_rng(1).normal(size=(T, B, I)).astype(np.float32)

run = jax.jit(unroll, static_argnums=0, static_argnames="method")


# Zoneout.


def test_evaluation_takes_the_mean_of_both_values():
    """c = r c_before + (1 - r) c~, and the output is the zoned h, made from the c that was not zoned."""
    cell = lstm(H)
    params = params_of(cell)
    zoned = zoneout(cell, LSTMCarry(h=0.25, c=0.5))
    step = jax.jit(lambda carry, x: cell.step(params, carry, cell.project(params, x)))
    carry, outputs = cell.initial_carry(params, (B,)), []
    for x in XS:
        made, _ = step(carry, x)
        carry = LSTMCarry(h=0.25 * carry.h + 0.75 * made.h, c=0.5 * carry.c + 0.5 * made.c)
        outputs.append(carry.h)
    found, ys = run(zoned, params, XS)
    assert_close((found.cell, ys), (carry, jnp.stack(outputs)))
    assert np.all(np.asarray(found.t) == T)


def test_each_unit_keeps_its_value_or_takes_the_new_one():
    cell = elman(40)
    params = params_of(cell)
    zoned = zoneout(cell, 0.3)
    _, hs = run(zoned, params, XS, key=KEY)
    hs = np.concatenate([np.zeros((1, B, 40), np.float32), hs])
    made = np.tanh(XS @ params.W + hs[:-1] @ params.U + params.b)
    kept = hs[1:] == hs[:-1]
    np.testing.assert_allclose(hs[1:], np.where(kept, hs[:-1], made), atol=1e-5)
    assert abs(kept[1:].mean() - 0.3) < 0.05
    assert np.any(kept[1] != kept[2])
    assert np.any(kept[1, 0] != kept[1, 1])
    other = np.asarray(run(zoned, params, XS, key=jax.random.key(5))[1])
    assert np.any((other[1:] == other[:-1]) != kept[1:])


def test_rates_of_zero_and_one():
    cell = lstm(H)
    params = params_of(cell)
    start = jax.tree.map(lambda leaf: leaf + 0.5, cell.initial_carry(params, (B,)))
    carry, _ = run(cell, params, XS, start)
    zoned = zoneout(cell, 0.0)
    nothing = zoned.initial_carry(params, (B,))._replace(cell=start)
    assert_close(run(zoned, params, XS, nothing, key=KEY)[0].cell, carry, atol=0)
    frozen, ys = run(zoneout(cell, LSTMCarry(h=1.0, c=0.0)), params, XS, nothing, key=KEY)
    assert_close((frozen.cell.h, ys[-1]), (start.h, start.h), atol=0)
    assert np.all(frozen.cell.c != start.c)


def test_masks_go_on_where_a_sequence_is_cut():
    zoned = zoneout(gru(H), 0.5)
    params = params_of(zoned)
    whole, ys = run(zoned, params, XS[:6], key=KEY)
    carry, first = run(zoned, params, XS[:3], key=KEY)
    carry, second = run(zoned, params, XS[3:6], carry, key=KEY)
    assert_close((carry, np.concatenate([first, second])), (whole, ys))


def test_counters_are_left_alone_and_either_engine_takes_it():
    zoned = zoneout(clockwork(H, periods=(1, 2)), 0.5)
    params = params_of(zoned)

    def gradient(engine):
        def loss(params):
            carry, ys = unroll(zoned, params, XS, key=KEY, method=Scan(engine=engine))
            return jnp.sum(ys**2), carry.cell.t

        program = jax.jit(jax.grad(loss, has_aux=True), compiler_options={"xla_backend_optimization_level": 0})
        found, t = program(params)
        assert np.all(np.asarray(t) == T)
        return found

    assert_close(gradient("deferred"), gradient("plain"), atol=1e-5)


@pytest.mark.parametrize(
    ("rates", "message"),
    [(1.5, r"zoneout rate 1.5 must lie in \[0, 1\]"), (LSTMCarry(0.1, -0.5), "zoneout rate -0.5")],
)
def test_rates_are_checked(rates, message):
    with pytest.raises(ValueError, match=message):
        zoneout(lstm(H), rates)


def test_rates_must_fit_the_carry():
    zoned = zoneout(gru(H), LSTMCarry(h=0.1, c=0.1))
    with pytest.raises(ValueError, match=r"structure|prefix"):
        zoned.initial_carry(params_of(zoned))


# Residual.


def test_residual_adds_the_input():
    cell = stack(*[residual(gru(I))] * 2)
    params = params_of(cell)
    below = XS
    for p in params:
        below = below + run(gru(I), p, below)[1]
    assert_close(run(cell, params, XS)[1], below)


def test_residual_of_a_linear_cell_runs_in_parallel():
    cell = residual(t_lstm(I))
    params = params_of(cell)
    assert cell.linear
    assert_close(run(cell, params, XS, method=Associative()), run(cell, params, XS), atol=1e-5)


def test_residual_needs_one_size():
    with pytest.raises(ValueError, match="the input is of size 4, the output of 5"):
        residual(gru(H)).init(KEY, I)


# Dilation.


@pytest.mark.parametrize("dilation", [1, 3])
def test_dilated_is_that_many_networks_in_turn(dilation):
    cell = lstm(H)
    params = params_of(cell)
    _, ys = run(dilated(cell, dilation), params, XS)
    for first in range(dilation):
        assert_close(ys[first::dilation], run(cell, params, XS[first::dilation])[1])


def test_dilated_starts_over_at_a_reset():
    cell = dilated(gru(H), 3)
    params = params_of(cell)
    resets = np.zeros((T, B), bool)
    resets[4, 1] = True
    _, ys = run(cell, params, XS, resets=resets)
    assert_close(ys[4:, 1], run(cell, params, XS[4:, 1])[1])
    assert_close(ys[:, 0], run(cell, params, XS[:, 0])[1])


def test_dilation_is_checked():
    with pytest.raises(ValueError, match="dilation must be a whole number of at least 1, got 0"):
        dilated(gru(H), 0)


# Weight normalisation.


def test_weight_norm_is_its_equation():
    cell = weight_norm(elman(H))
    params = params_of(cell)
    v, g = params.cell.U, params.gains.U
    plain = params.cell._replace(U=g * v / np.linalg.norm(v, axis=0))
    assert_close(run(cell, params, XS), run(elman(H), plain, XS), atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "normalised"),
    [
        (lstm(H, peepholes=True, gate_recurrence=True, projection_size=3), {".U": (4 * H,), ".R": (3 * H,)}),
        (gru_reset_before(H), {".U": (3 * H,)}),
        (fastrnn(H, recurrent_rank=2), {".U[0]": (2,), ".U[1]": (H,)}),
        (slstm(6, num_heads=2), {".U": (2, 12)}),
        (stack(elman(H), gru(3)), {"[0].U": (H,), "[1].U": (9,)}),
    ],
)
def test_gains_stand_beside_the_matrices_that_recur(cell, normalised):
    gains = jax.eval_shape(lambda: weight_norm(cell).init(KEY, I)).gains
    found = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(gains)}
    assert found == normalised


def test_weight_norm_starts_as_the_cell_does():
    cell = lstm(H)
    params = jax.jit(lambda key: weight_norm(cell).init(key, I))(KEY)
    assert_close(run(weight_norm(cell), params, XS), run(cell, params.cell, XS), atol=1e-5)


def test_weight_norm_of_no_matrix_is_refused():
    with pytest.raises(ValueError, match="the state of this cell meets no matrix"):
        weight_norm(br(H)).init(KEY, I)
