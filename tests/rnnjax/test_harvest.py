"""harvest: the named values of each step, against the equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Scan, dropout, elman_relu, gru, harvest, lstm, lstm_fgr, stack, unroll
from rnnjax.cell import name, recur
from tests.reference import sigmoid

T, B, I, H = 7, 3, 4, 5
KEY = jax.random.key(4)
LENGTHS = np.array([4, 7, 0])
XS = np.random.default_rng(1).normal(size=(T, B, I)).astype(np.float32)


def params_of(cell):
    """Random parameters in the shapes of the cell's own; its initializers would take longer to compile than to test."""
    rng = np.random.default_rng(7)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    return jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape).astype(np.float32), shapes)


def assert_close(actual, expected, atol=2e-6):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=atol)


def before(ys):
    """What each step started from, where the initial state is zero and the output is the state."""
    return np.concatenate([np.zeros((1, *ys.shape[1:])), ys[:-1]])


def test_lstm_gates():
    cell = lstm(H)
    params = params_of(cell)
    found = harvest(cell, params, XS)
    ys = np.asarray(unroll(cell, params, XS)[1])
    z = XS @ np.asarray(params.W) + before(ys) @ np.asarray(params.U) + np.asarray(params.b)
    i, f, _, o = np.split(z, 4, axis=-1)
    expected = {"preactivation": z, "input_gate": sigmoid(i), "forget_gate": sigmoid(f), "output_gate": sigmoid(o)}
    assert set(found) == set(expected)
    for label, value in expected.items():
        assert_close(found[label], value)


def test_gru_gates():
    cell = gru(H)
    params = params_of(cell)
    found = harvest(cell, params, XS)
    ys = np.asarray(unroll(cell, params, XS)[1])
    from_x = np.split(XS @ np.asarray(params.W) + np.asarray(params.b), 3, axis=-1)
    from_h = np.split(before(ys) @ np.asarray(params.U), 3, axis=-1)
    assert set(found) == {"preactivation/0", "preactivation/1", "preactivation/2", "reset_gate", "update_gate"}
    r = sigmoid(from_x[0] + from_h[0])
    assert_close(found["reset_gate"], r)
    assert_close(found["update_gate"], sigmoid(from_x[1] + from_h[1]))
    assert_close(found["preactivation/2"], from_x[2] + r * found["preactivation/1"])


def test_labels_are_numbered_in_a_stack():
    network = stack(lstm(H), lstm(2, output_gate=False))
    params = params_of(network)
    found = harvest(network, params, XS)
    shapes = {label: value.shape[-1] for label, value in found.items()}
    gates = {"input_gate/0": H, "input_gate/1": 2, "forget_gate/0": H, "forget_gate/1": 2, "output_gate": H}
    assert shapes == {"preactivation/0": 4 * H, "preactivation/1": 3 * 2, **gates}
    lower = harvest(lstm(H), params[0], XS)
    assert_close(found["forget_gate/0"], lower["forget_gate"])
    upper = harvest(lstm(2, output_gate=False), params[1], unroll(lstm(H), params[0], XS)[1])
    assert_close(found["forget_gate/1"], upper["forget_gate"])


def test_past_the_length_all_is_zero():
    cell = lstm(H)
    params = params_of(cell)
    whole, cut = harvest(cell, params, XS), harvest(cell, params, XS, lengths=LENGTHS)
    active = (np.arange(T)[:, None] < LENGTHS)[..., None]
    for label, value in cut.items():
        assert_close(value, np.where(active, whole[label], 0))


@pytest.mark.parametrize(
    "options", [{"reverse": True}, {"method": Scan(save="chunks")}, {"method": Scan(project="before")}]
)
def test_options_of_unroll(options):
    cell = lstm(H)
    params = params_of(cell)
    order = slice(None, None, -1) if "reverse" in options else slice(None)
    expected = harvest(cell, params, XS[order])["output_gate"][order]
    assert_close(harvest(cell, params, XS, **options)["output_gate"], expected)


def test_a_carry_given_is_where_it_starts():
    cell = lstm_fgr(H)
    params = params_of(cell)
    middle, _ = unroll(cell, params, XS[:3])
    assert_close(harvest(cell, params, XS[3:], middle)["forget_gate"], harvest(cell, params, XS)["forget_gate"][3:])


def test_under_jit_vmap_and_grad():
    cell = lstm(H)
    params = params_of(cell)
    expected = harvest(cell, params, XS)
    found = jax.jit(lambda params, xs: harvest(cell, params, xs))(params, XS)
    assert found.keys() == expected.keys()
    for label, value in expected.items():
        assert_close(found[label], value)
    each = jax.vmap(lambda xs: harvest(cell, params, xs)["forget_gate"], 1, 1)(XS)
    assert_close(each, expected["forget_gate"])
    openness = lambda params: harvest(cell, params, XS)["forget_gate"].mean()
    by_b = np.split(np.asarray(jax.grad(openness)(params).b), 4)
    assert np.all(by_b[1] > 0)


def test_dropout_is_seen_through():
    cell = lstm(H)
    params = params_of(cell)
    dropped = dropout(cell, recurrent=0.5)
    assert_close(harvest(dropped, params, XS)["forget_gate"], harvest(cell, params, XS)["forget_gate"], atol=0)
    found = harvest(dropped, params, XS, key=KEY)
    mask = np.asarray(dropped.prepare(params, KEY, (B, I)).recurrent[H])
    h = before(np.asarray(unroll(dropped, params, XS, key=KEY)[1]))
    z = XS @ np.asarray(params.W) + (h * mask) @ np.asarray(params.U) + np.asarray(params.b)
    assert_close(found["preactivation"], z)
    assert_close(found["forget_gate"], sigmoid(np.split(z, 4, axis=-1)[1]))


def test_products_in_bfloat16_are_those_of_unroll():
    """Also after a harvest of the same cell in float32: nothing traced before is taken up again."""
    cell = elman_relu(H)
    params = params_of(cell)
    exact = harvest(cell, params, XS)["preactivation"]
    found = harvest(cell, params, XS, matmul_dtype=jnp.bfloat16)["preactivation"]
    assert_close(np.maximum(found, 0), unroll(cell, params, XS, matmul_dtype=jnp.bfloat16)[1], atol=0)
    assert np.any(np.asarray(found) != np.asarray(exact))


def test_names_inside_helpers_are_found_and_those_in_loops_are_not():
    cell = elman_relu(H)
    params = params_of(cell)

    @jax.jit
    def jitted(h, U):
        return name(recur(h, U), "in_jit")

    def step(p, h, z):
        u = jitted(h, p.U)
        kept = jax.checkpoint(lambda a: name(2 * a, "in_checkpoint"))(u)
        looped, _ = jax.lax.scan(lambda a, _: (name(a + 1, "in_loop"), None), z, None, 3)
        rectified = jax.nn.relu(looped + kept)  # a custom rule on the way
        h = name(jnp.tanh(rectified), "after")
        return h, h

    cell = cell._replace(step=step)
    found = harvest(cell, params, XS)
    assert set(found) == {"in_jit", "in_checkpoint", "after"}
    ys = np.asarray(unroll(cell, params, XS)[1])
    assert_close(found["after"], ys)
    assert_close(found["in_jit"], before(ys) @ np.asarray(params.U))
    assert_close(found["in_checkpoint"], 2 * found["in_jit"])


def test_a_cell_that_names_nothing_gives_nothing():
    cell = elman_relu(H)
    silent = cell._replace(step=lambda p, h, z: (jnp.tanh(z + h), z))
    assert harvest(silent, params_of(cell), XS) == {}
