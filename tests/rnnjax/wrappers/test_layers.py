"""Stacks, both directions and dropout, against the same thing written out by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import (
    Associative,
    Layer,
    Scan,
    bidirectional,
    dropout,
    elman,
    gru,
    gru_reset_before,
    layer,
    layer_norm,
    lstm,
    stack,
    unroll,
)
from rnnjax.cell import Cell, intercept_recur
from rnnjax.cells import CELLS

T, B, I, H = 7, 3, 4, 5
KEY = jax.random.key(4)
LENGTHS = (4, 7, 2)
XS = np.random.default_rng(1).normal(size=(T, B, I)).astype(np.float32)
RESETS = np.random.default_rng(2).random((T, B)) < 0.3

run = jax.jit(unroll, static_argnums=0, static_argnames=("reverse", "method"))


def params_of(cell, input_size=I):
    """Random parameters in the shapes of the cell's own; its initializers would take longer to compile than to test."""
    rng = np.random.default_rng(7)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    return jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape).astype(np.float32), shapes)


def assert_close(actual, expected, atol=2e-6):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("skip", [False, True])
def test_stack_is_one_layer_on_the_other(skip):
    cells = (lstm(H), gru(6), elman(2))
    network = stack(*cells, skip=skip)
    params = params_of(network)
    assert [p.W.shape[0] for p in params] == ([I, I + H, I + 6] if skip else [I, H, 6])
    final, ys = run(network, params, XS, resets=RESETS, lengths=np.array(LENGTHS))

    below, carries, outputs = XS, [], []
    for cell, p in zip(cells, params, strict=True):
        carry, out = run(cell, p, below, resets=RESETS, lengths=np.array(LENGTHS))
        carries.append(carry)
        outputs.append(out)
        below = np.concatenate([XS, out], axis=-1) if skip else out
    assert network.output_size == (H + 6 + 2 if skip else 2)
    assert_close((final, ys), (tuple(carries), np.concatenate(outputs, axis=-1) if skip else outputs[-1]))


@pytest.mark.parametrize("skip", [False, True])
def test_stack_of_cells_equals_stack_of_layers(skip):
    cells = (lstm(H), gru(6))
    as_cell, as_layer = stack(*cells, skip=skip), stack(layer(cells[0]), cells[1], skip=skip)
    assert isinstance(as_layer, Layer)
    assert as_layer.output_size == as_cell.output_size
    params = params_of(as_cell)
    carry = jax.tree.map(lambda leaf: leaf + 0.2, as_cell.initial_carry(params, (B,)))
    options = {"lengths": np.array(LENGTHS), "resets": RESETS}
    expected = run(as_cell, params, XS, carry, **options)
    assert_close(as_layer.apply(params, XS, carry, **options), expected)
    assert_close(layer(as_cell).apply(params, XS, carry, **options), expected)


def test_projecting_before_the_scan_sees_what_a_skip_needs():
    network = stack(dropout(lstm(H), inputs=0.5), gru(6), skip=True)
    params = params_of(network)
    expected = run(network, params, XS, key=KEY, method=Scan(project="inside"))
    assert_close(run(network, params, XS, key=KEY, method=Scan(project="before")), expected)


def test_stacks_nest():
    nested, flat = stack(stack(lstm(H), gru(6)), elman(2)), stack(lstm(H), gru(6), elman(2))
    first, second, third = params_of(flat)
    ((carry_a, carry_b), carry_c), ys = run(nested, ((first, second), third), XS)
    assert_close(((carry_a, carry_b, carry_c), ys), run(flat, (first, second, third), XS))


def test_a_stack_decodes_step_by_step():
    network = stack(lstm(H), gru(6), skip=True)
    params = params_of(network)
    step = jax.jit(lambda carry, x: network.step(params, carry, network.project(params, x)))
    carry, outputs = network.initial_carry(params, (B,)), []
    for x in XS:
        carry, y = step(carry, x)
        outputs.append(y)
    assert_close((carry, jnp.stack(outputs)), run(network, params, XS))


def test_layers_fix_options_of_unroll():
    params = params_of(lstm(H))
    expected = run(lstm(H), params, XS, reverse=True)
    assert_close(layer(lstm(H), reverse=True, method=Scan(save="nothing")).apply(params, XS), expected)
    network = stack(layer(lstm(H), reverse=True), gru(6))
    params = params_of(network)
    _, below = run(lstm(H), params[0], XS, reverse=True)
    assert_close(network.apply(params, XS)[1], run(gru(6), params[1], below)[1])


def test_bidirectional_equals_each_sequence_alone():
    both = bidirectional(lstm(H), gru(6))
    params = params_of(both)
    (ahead, back), ys = both.apply(params, XS, lengths=np.array(LENGTHS), resets=RESETS)
    assert ys.shape == (T, B, both.output_size) == (T, B, H + 6)
    for b, n in enumerate(LENGTHS):
        xs, resets = XS[:n, b], RESETS[:n, b]
        carry_ahead, first = unroll(lstm(H), params[0], xs, resets=resets)
        parted_back = np.append(resets[1:], False)[::-1]
        carry_back, second = unroll(gru(6), params[1], xs[::-1], resets=parted_back)
        assert_close(ys[:n, b], np.concatenate([first, second[::-1]], axis=-1))
        assert np.all(ys[n:, b] == 0)
        assert_close(jax.tree.map(lambda leaf: leaf[b], (ahead, back)), (carry_ahead, carry_back))


def test_a_reset_parts_a_sequence_in_both_directions():
    both = bidirectional(lstm(H), gru(6))
    params = params_of(both)
    resets = np.zeros((T, B), bool)
    resets[3] = True
    _, whole = both.apply(params, XS, resets=resets)
    _, before = both.apply(params, XS[:3])
    _, after = both.apply(params, XS[3:])
    assert_close(whole, np.concatenate([before, after]))


def test_bidirectional_has_parameters_of_its_own_for_each_direction():
    ahead, back = bidirectional(gru(H)).init(KEY, I)
    assert np.all(np.asarray(ahead.W) != np.asarray(back.W))


def test_bidirectional_layers_stack():
    network = stack(bidirectional(gru(H)), bidirectional(gru(2)), lstm(3), skip=True)
    params = params_of(network)
    assert params[1][0].W.shape[0] == I + 2 * H
    assert params[2].W.shape[0] == I + 4
    carry, ys = jax.eval_shape(functools.partial(network.apply, lengths=jnp.array(LENGTHS)), params, XS)
    assert ys.shape == (T, B, 2 * H + 4 + 3)
    assert len(carry) == 3


# Dropout.


def masks_of(cell, input_shape=(B, I), key=KEY):
    params = params_of(cell, input_shape[-1])
    return cell.prepare(params, key, input_shape)


def test_evaluation_is_the_identity():
    cell = lstm(H)
    params = params_of(cell)
    dropped = dropout(cell, inputs=0.5, outputs=0.5, recurrent=0.5)
    assert_close(run(dropped, params, XS), run(cell, params, XS), atol=0)
    nothing = dropout(cell)
    assert_close(run(nothing, params, XS, key=KEY), run(cell, params, XS), atol=0)


def test_output_mask_is_constant_over_time_and_differs_between_examples_and_keys():
    cell = lstm(64)
    params = params_of(cell)
    dropped = dropout(cell, outputs=0.5)
    plain = np.asarray(run(cell, params, XS)[1])
    masks = np.asarray(run(dropped, params, XS, key=KEY)[1]) / plain
    np.testing.assert_allclose(masks, np.broadcast_to(masks[0], masks.shape), atol=1e-5)
    assert set(np.round(masks[0], 4).ravel()) == {0.0, 2.0}
    assert all(np.any(masks[0, a] != masks[0, b]) for a, b in ((0, 1), (1, 2), (0, 2)))
    other = np.asarray(run(dropped, params, XS, key=jax.random.key(5))[1]) / plain
    assert np.any(np.round(other[0]) != np.round(masks[0]))


def test_masks_act_where_they_are_said_to():
    """The masked input meets W, the masked h meets U, the output is masked; the carry, h and c, stays whole."""
    cell = lstm(H)
    params = params_of(cell)
    dropped = dropout(cell, inputs=0.3, outputs=0.4, recurrent=0.5)
    p = masks_of(dropped)
    assert [sorted(p.recurrent), p.inputs.shape, p.outputs.shape] == [[H], (B, I), (B, H)]
    step = jax.jit(lambda carry, x: cell.step(params, carry, cell.project(params, x)))
    carry, outputs = cell.initial_carry(params, (B,)), []
    for x in XS:
        carry, y = step(carry._replace(h=carry.h * p.recurrent[H]), x * p.inputs)
        outputs.append(y * p.outputs)
    assert_close(run(dropped, params, XS, key=KEY), (carry, jnp.stack(outputs)))


def test_a_masked_gru_keeps_its_carry():
    """h = (1 − z) n + z h: the h that is kept is whole, that which meets U is not."""
    cell = gru(H)
    params = params_of(cell)
    dropped = dropout(cell, recurrent=0.5)
    mask = masks_of(dropped).recurrent[H]
    h = np.random.default_rng(3).normal(size=(B, H)).astype(np.float32)
    z = np.split(np.asarray(XS[0] @ params.W + params.b), 3, axis=-1)
    u = np.split(np.asarray((h * mask) @ params.U), 3, axis=-1)
    reset, update = (1 / (1 + np.exp(-(a + b))) for a, b in zip(z[:2], u[:2], strict=True))
    expected = (1 - update) * np.tanh(z[2] + reset * (u[2] + params.b_hn)) + update * h
    assert_close(run(dropped, params, XS[:1], h, key=KEY)[0], expected)


def test_rates_are_right_on_average():
    cell = dropout(elman(400), inputs=0.1, outputs=0.5, recurrent=0.8)
    p = masks_of(cell, (200, 300))
    for mask, rate in ((p.inputs, 0.1), (p.outputs, 0.5), (p.recurrent[400], 0.8)):
        mask = np.asarray(mask)
        assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / (1 - rate))}
        assert abs(np.mean(mask == 0) - rate) < 0.01
        assert abs(mask.mean() - 1) < 0.02


def test_each_width_has_a_mask_of_its_own():
    p = masks_of(dropout(lstm(H, gate_recurrence=True, projection_size=2), recurrent=0.5))
    assert {width: mask.shape for width, mask in p.recurrent.items()} == {
        width: (B, width) for width in sorted({2, 3 * H} | set(p.recurrent))
    }
    assert {2, 3 * H} <= set(p.recurrent)


def test_layers_of_a_stack_are_dropped_independently():
    one = dropout(elman(64), recurrent=0.5, outputs=0.5)
    network = stack(one, one)
    first, second = masks_of(network)
    assert np.any(np.asarray(first.outputs) != np.asarray(second.outputs))
    assert np.any(np.asarray(first.recurrent[64]) != np.asarray(second.recurrent[64]))
    assert np.any(np.asarray(first.outputs) != np.asarray(first.recurrent[64]))


def test_dropout_inside_dropout_multiplies():
    inner = dropout(elman(H), recurrent=0.5)
    outer = dropout(inner, recurrent=0.5)
    p = masks_of(outer)
    masks = p.recurrent[H] * p.p.recurrent[H]
    h = jnp.ones((B, H))
    seen = []
    with intercept_recur(lambda product, h, U: (seen.append(h), product(h, U))[1]):
        outer.step(p, h, outer.project(p, jnp.asarray(XS[0])))
    np.testing.assert_array_equal(seen[0], masks)


def test_no_gradient_to_what_is_dropped():
    cell = dropout(elman(H), inputs=0.5)
    params = params_of(cell)
    mask = np.asarray(masks_of(cell).inputs)
    by_xs = jax.jit(jax.grad(lambda xs: jnp.sum(unroll(cell, params, xs, key=KEY)[1] ** 2)))(XS)
    assert np.all(np.asarray(by_xs)[:, mask == 0] == 0)
    assert np.all(np.asarray(by_xs)[:, mask > 0] != 0)


def test_dropout_keeps_float32_where_float64_is_enabled():
    with jax.enable_x64(True):
        cell = dropout(lstm(H), inputs=0.5, outputs=0.5, recurrent=0.5)
        params = params_of(cell)
        run = functools.partial(unroll, cell, key=KEY)
        assert jax.eval_shape(run, params, jnp.asarray(XS))[1].dtype == jnp.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: stack(), "stack needs at least one cell or layer"),
        (lambda: layer(layer(gru(H)), reverse=True), "reverse: options of unroll belong to cells, this is a Layer"),
        (lambda: dropout(gru(H), inputs=1.0), r"dropout rate inputs=1.0 must lie in \[0, 1\)"),
        (lambda: dropout(gru(H), recurrent=-0.1), r"dropout rate recurrent=-0.1 must lie in \[0, 1\)"),
        (
            lambda: bidirectional(gru(H)).apply(params_of(bidirectional(gru(H))), XS, carry=np.zeros((B, H))),
            "a bidirectional layer takes no carry",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_layer_norm_is_its_equation():
    """g * (a - mean(a)) / sqrt(var(a) + eps) in the place of a = h U, the rest of the cell as it is."""
    cell = layer_norm(elman(4), epsilon=1e-5)
    params = cell.init(jax.random.key(0), 3)
    gain = np.array([1.0, 2.0, -1.0, 0.5], np.float32)
    params = params._replace(gains=(gain,))
    h = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    x = np.ones((2, 3), np.float32)
    _, y = cell.step(cell.prepare(params), h, cell.project(params, x))
    W, U, b = (np.float64(leaf) for leaf in params.cell)
    a = h @ U
    a = gain * (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, np.tanh(x @ W + a + b), rtol=2e-5, atol=1e-6)


def test_layer_norm_has_a_gain_for_every_product():
    params = layer_norm(gru_reset_before(4)).init(jax.random.key(0), 3)
    assert [gain.shape for gain in params.gains] == [(8,), (4,)]


def test_a_list_is_stacked_as_its_entries_are():
    key = jax.random.key(0)
    listed, given = stack([lstm(3), gru(2)]), stack(lstm(3), gru(2))
    assert isinstance(listed, Cell)
    jax.tree.map(np.testing.assert_array_equal, listed.init(key, 4), given.init(key, 4))
    assert isinstance(stack([bidirectional(lstm(3)), gru(2)], skip=True), Layer)
    for wrong, message in (([], "at least one"), ([lstm(3), 5], "needs cells or layers, .* got 5")):
        with pytest.raises(ValueError, match=message):
            stack(wrong)
    with pytest.raises(ValueError, match="needs cells or layers"):
        stack([lstm(3)], gru(2))


@pytest.mark.parametrize("make", [layer, bidirectional])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save": "nothing"}, r"takes no save: it belongs to the method, as in method=Scan\(save=...\)"),
        ({"engine": "plain"}, "takes no engine: it belongs to the method"),
        ({"metod": Scan()}, "unknown option of .* 'metod'; did you mean 'method'"),
        ({"method": "scan"}, "a method is an object"),
        ({"method": Associative()}, "needs a cell that is linear in its carry"),
        ({"lengths": None}, "unknown option of .* 'lengths'"),
    ],
)
def test_options_are_checked_when_a_layer_is_made(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(lstm(3), **options)


def test_a_layer_is_no_half_of_a_bidirectional_one():
    with pytest.raises(ValueError, match="bidirectional needs a Cell"):
        bidirectional(layer(lstm(3)))


@pytest.mark.parametrize("size", [0, -1, None, 2.0])
@pytest.mark.parametrize("make", [lstm, gru, lambda n: stack(gru(n), gru(n)), lambda n: bidirectional(gru(n))])
def test_an_input_size_that_is_none_is_refused(make, size):
    with pytest.raises(ValueError, match=f"input_size must be a whole number of at least 1, got {size}"):
        make(3).init(jax.random.key(0), size)


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_refuses_to_be_drawn_for_no_inputs(name):
    with pytest.raises(ValueError, match="input_size must be a whole number of at least 1, got 0"):
        CELLS[name](8).init(jax.random.key(0), 0)
