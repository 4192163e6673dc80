"""The simple, GRU and LSTM cells against their NumPy references, in float64, and the LSTM's switches in combination."""

import functools
import itertools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Chrono, Scan, Uniform, unroll
from rnnjax.cells import CELLS, LSTMCarry
from tests import reference

T, B, I, H = 7, 3, 4, 5


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def random_like(tree, seed=0):
    """Random normal float64 arrays of the same shapes: nothing stays at an initial zero or identity."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(0.7 * rng.normal(size=leaf.shape)), tree)


def make_case(cell, batch=(B,)):
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    params = random_like(params)
    carry = random_like(cell.initial_carry(params, batch), seed=1)
    return params, jnp.asarray(np.random.default_rng(2).normal(size=(T, *batch, I))), carry


def run(cell, params, xs, carry):
    return jax.jit(functools.partial(unroll, cell, method=Scan(save="everything")))(params, xs, carry)


def assert_close(actual, expected):
    assert jax.tree.leaves(actual)[0].dtype == jnp.float64
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


def lstm_reference(params, xs, carry, **options):
    peepholes = {f"w_{gate}": w for gate, w in (params.peephole or {}).items()}
    gates = {} if carry.gates is None else {"gates0": carry.gates, "R": params.R}
    ys, final = reference.lstm(
        xs, params.W, params.U, params.b, carry.h, carry.c, W_proj=params.W_proj, **peepholes, **gates, **options
    )
    return LSTMCarry(*final), ys


def elman_reference(params, xs, carry, **options):
    ys, h = reference.elman(xs, params.W, params.U, params.b, carry, **options)
    return h, ys


def gru_reference(params, xs, carry, **options):
    ys, h = reference.gru(xs, params.W, params.U, params.b, params.b_hn, carry, **options)
    return h, ys


def gru_reset_before_reference(params, xs, carry, **options):
    ys, h = reference.gru_reset_before(xs, params.W, params.U, params.b, carry, **options)
    return h, ys


def lstm_1997_reference(params, xs, carry):
    ys, (h, c) = reference.lstm_1997(xs, params.W, params.U, params.b, carry.h, carry.c)
    return LSTMCarry(h, c), ys


def relu(x):
    return np.maximum(x, 0.0)


REFERENCES = {
    "elman": elman_reference,
    "elman_relu": functools.partial(elman_reference, activation=relu),
    "irnn": functools.partial(elman_reference, activation=relu),
    "gru": gru_reference,
    "gru_reset_before": gru_reset_before_reference,
    "lstm": lstm_reference,
    "lstm_1997": lstm_1997_reference,
    "lstm_vanilla": lstm_reference,
    "lstm_np": lstm_reference,
    "lstm_nig": functools.partial(lstm_reference, input_gate=False),
    "lstm_nfg": functools.partial(lstm_reference, forget_gate=False),
    "lstm_nog": functools.partial(lstm_reference, output_gate=False),
    "lstm_niaf": functools.partial(lstm_reference, input_activation=None),
    "lstm_noaf": functools.partial(lstm_reference, output_activation=None),
    "lstm_cifg": functools.partial(lstm_reference, coupled=True),
    "lstm_fgr": lstm_reference,
}


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_cell_equals_its_reference(name):
    cell = CELLS[name](H)
    params, xs, carry = make_case(cell)
    assert_close(run(cell, params, xs, carry), REFERENCES[name](params, xs, carry))


@pytest.mark.parametrize(
    "name", [name for name in sorted(REFERENCES) if name.startswith("lstm_") and name != "lstm_1997"]
)
def test_variants_of_greff_have_peepholes_except_np(name):
    params = jax.eval_shape(lambda: CELLS[name](H).init(jax.random.key(0), I))
    gates = {"lstm_nig": "fo", "lstm_cifg": "fo", "lstm_nfg": "io", "lstm_nog": "fi"}.get(name, "fio")
    assert (params.peephole is None) if name == "lstm_np" else (sorted(params.peephole) == list(gates))
    assert (params.R is not None) == (name == "lstm_fgr")
    assert params.W.shape == (I, H * (len(gates) + 1))


@pytest.mark.parametrize("name", ["gru", "gru_reset_before"])
@pytest.mark.parametrize(("reset_gate", "update_gate"), [(False, True), (True, False), (False, False)])
def test_gru_without_gates(name, reset_gate, update_gate):
    options = {"reset_gate": reset_gate, "update_gate": update_gate}
    cell = CELLS[name](H, **options)
    params, xs, carry = make_case(cell)
    assert_close(run(cell, params, xs, carry), REFERENCES[name](params, xs, carry, **options))


def numpy_of(activation):
    return {None: None, jnp.tanh: np.tanh, jax.nn.soft_sign: lambda x: x / (1 + np.abs(x))}[activation]


def combinations(count):
    """A random sample of the settings of the switchboard; those the factory refuses are left out."""
    booleans = ("input_gate", "forget_gate", "output_gate", "peepholes", "coupled", "gate_recurrence")
    activations = (jnp.tanh, None, jax.nn.soft_sign)
    rows = [
        dict(zip((*booleans, "input_activation", "output_activation", "projection_size"), values, strict=True))
        for values in itertools.product(*[(True, False)] * 6, activations, activations, (None, 2))
    ]
    possible = [
        row
        for row in rows
        if not (row["coupled"] and not (row["input_gate"] and row["forget_gate"]))
        and not (row["gate_recurrence"] and not (row["input_gate"] or row["forget_gate"] or row["output_gate"]))
    ]
    return random.Random(7).sample(possible, count)


def label(options):
    shown = {k: getattr(v, "__name__", v) for k, v in options.items()}
    return " ".join(f"{k}={v}" for k, v in shown.items() if v is not True)


@pytest.mark.parametrize("options", combinations(40), ids=label)
def test_lstm_switches_in_combination(options):
    cell = CELLS["lstm"](H, **options)
    params, xs, carry = make_case(cell)
    switches = {k: v for k, v in options.items() if k not in ("peepholes", "gate_recurrence", "projection_size")}
    for k in ("input_activation", "output_activation"):
        switches[k] = numpy_of(switches[k])
    assert_close(run(cell, params, xs, carry), lstm_reference(params, xs, carry, **switches))
    assert (params.peephole is not None) == options["peepholes"]
    assert (params.R is not None) == options["gate_recurrence"]
    assert cell.output_size == (options["projection_size"] or H)


def test_sample_covers_every_switch_on_and_off():
    rows = combinations(40)
    for switch in rows[0]:
        assert len({row[switch] for row in rows}) == (3 if switch.endswith("activation") else 2), switch


def test_unbatched_equals_its_reference():
    cell = CELLS["lstm_fgr"](H, projection_size=2)
    params, xs, carry = make_case(cell, batch=())
    assert_close(run(cell, params, xs, carry), lstm_reference(params, xs, carry))


def test_gradients_of_the_references_by_finite_differences():
    """The gradients are those of the equations, not of a rewritten backward pass: along one random direction."""
    for name in ("gru", "gru_reset_before", "lstm_fgr"):
        cell = CELLS[name](H)
        params, xs, carry = make_case(cell)
        direction = random_like(params, seed=9)
        loss = lambda params: jnp.sum(jnp.sin(unroll(cell, params, xs, carry)[1]))
        gradient = jax.jit(jax.grad(loss))(params)
        slope = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))

        def moved(by):
            there = jax.tree.map(lambda p, d: p + by * d, params, direction)
            return np.sin(REFERENCES[name](there, xs, carry)[1]).sum()

        np.testing.assert_allclose(slope, (moved(1e-5) - moved(-1e-5)) / 2e-5, rtol=1e-6)


def test_cut_gradient_leaves_values_and_the_way_through_c():
    """Appendix A.1: with the gates shut to h, dc_T/dc_0 is the product of the forget gates, and U is still learnt."""
    cell, cut = CELLS["lstm"](H), CELLS["lstm"](H, cut_gradient=True)
    params, xs, carry = make_case(cell)
    assert_close(run(cut, params, xs, carry), run(cell, params, xs, carry))

    def last_c(params, c):
        return jnp.sum(unroll(cut, params, xs, carry._replace(c=c))[0].c)

    by_params, by_c = jax.jit(jax.grad(last_c, (0, 1)))(params, carry.c)
    assert np.abs(by_params.U).max() > 0
    h, product = np.asarray(carry.h), 1.0
    _, ys = lstm_reference(params, xs, carry)
    for x, before in zip(xs, [h, *ys[:-1]], strict=True):
        f = np.split(x @ params.W + before @ params.U + params.b, 4, axis=-1)[1]
        product = product * reference.sigmoid(np.asarray(f))
    np.testing.assert_allclose(by_c, product, atol=1e-12)
    by_h = jax.jit(jax.grad(lambda h: jnp.sum(unroll(cut, params, xs, carry._replace(h=h))[1])))(carry.h)
    assert np.all(by_h == 0)


# Biases alone: the matrices' initializers take long to compile.
NO_MATRICES = dict.fromkeys(("kernel_init", "recurrent_init"), jax.nn.initializers.zeros)


def bias_of(gate, packing="ifgo", **options):
    b = np.asarray(CELLS["lstm"](64, **NO_MATRICES, **options).init(jax.random.key(3), I).b)
    return b[64 * packing.index(gate) : 64 * (packing.index(gate) + 1)]


def test_biases_land_on_their_gates():
    biases = {"input_bias": 2.0, "cell_bias": 4.0, "output_bias": 5.0}
    for gate, expected in zip("ifgo", (2.0, 1.0, 4.0, 5.0), strict=True):
        assert np.all(bias_of(gate, **biases) == expected)
    assert np.all(bias_of("f", packing="fgo", coupled=True, forget_bias=3.0) == 3.0)
    for options, expected in (
        ({"reset_bias": 2.0, "update_bias": -3.0}, [2.0, -3.0, 0.0]),
        ({"reset_gate": False, "update_bias": -3.0}, [-3.0, 0.0]),
    ):
        b = CELLS["gru"](H, **NO_MATRICES, **options).init(jax.random.key(0), I).b
        np.testing.assert_array_equal(b, np.repeat(expected, H))


def test_chrono_biases():
    """b_f ~ log U[1, T − 1] and b_i = −b_f (Tallec & Ollivier 2018, equation 16)."""
    f, i = bias_of("f", forget_bias=Chrono(100)), bias_of("i", forget_bias=Chrono(100))
    assert np.all((f >= 0) & (f <= np.log(99)))
    assert f.max() > np.log(60)
    np.testing.assert_array_equal(i, -f)
    assert np.all(bias_of("i", forget_bias=Chrono(100), input_bias=0.0) == 0)
    np.testing.assert_array_equal(bias_of("f", packing="fgo", coupled=True, forget_bias=Chrono(100)), f)
    drawn = bias_of("f", forget_bias=Uniform(1.0, 2.0))
    assert np.all((drawn >= 1) & (drawn <= 2))
    assert drawn.std() > 0.1
    with pytest.raises(ValueError, match="t_max above 2"):
        bias_of("f", forget_bias=Chrono(2))


def test_a_chrono_input_bias_starts_the_gate_shut():
    f, i = (bias_of(gate, forget_bias=Chrono(100), input_bias=Chrono(100)) for gate in "fi")
    np.testing.assert_array_equal(i, -f)  # the same start as forget_bias=Chrono(100) alone
    np.testing.assert_array_equal(f, bias_of("f", forget_bias=Chrono(100)))
    without_forget_gate = bias_of("i", packing="igo", forget_gate=False, input_bias=Chrono(100))
    beside_another = bias_of("i", forget_bias=Chrono(20), input_bias=Chrono(100))
    np.testing.assert_array_equal(beside_another, without_forget_gate)
    assert np.all(bias_of("f", forget_bias=3.0, input_bias=Chrono(100)) == 3)
    assert np.all((without_forget_gate <= 0) & (without_forget_gate >= -np.log(99)))
    assert without_forget_gate.min() < -np.log(60)


@pytest.mark.parametrize("name", ["gru", "gru_reset_before"])
def test_a_chrono_update_bias_keeps(name):
    """z = 1 keeps: with biases alone a state decays over as many steps as chrono draws time constants for."""
    cell = CELLS[name](64, **NO_MATRICES, update_bias=Chrono(100))
    params = cell.init(jax.random.key(3), I)
    h, _ = cell.step(cell.prepare(params), np.ones(64, np.float32), cell.project(params, np.zeros(I, np.float32)))
    steps = 1 / (1 - np.asarray(h))
    assert np.all((steps >= 2 - 1e-3) & (steps <= 100))
    assert steps.max() > 60


def test_matrices_are_orthogonal_per_gate():
    params = CELLS["lstm_fgr"](H).init(jax.random.key(0), I)
    for block in np.split(np.asarray(params.U), 4, axis=1):
        np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-6)
    blocks = np.split(np.asarray(params.U), 4, axis=1)
    assert all(np.abs(a - b).max() > 0.1 for a, b in itertools.combinations(blocks, 2))
    for block in np.split(np.asarray(params.R), 3, axis=1):
        np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-6)
    assert np.abs(np.asarray(params.W)).max() <= np.sqrt(6 / (I + H))
    irnn = CELLS["irnn"](H, scale=0.01).init(jax.random.key(0), I)
    np.testing.assert_allclose(irnn.U, 0.01 * np.eye(H), rtol=1e-6)
    assert np.abs(irnn.W).max() < 0.01


REFUSED = [
    ({"coupled": True, "forget_gate": False}, "coupled=True sets i = 1 - f"),
    ({"coupled": True, "input_gate": False}, "coupled=True sets i = 1 - f"),
    ({"coupled": True, "input_bias": 0.0}, "input_bias=0.0 was given, but this cell has no input gate of its own"),
    ({"input_gate": False, "input_bias": 1.0}, "input_bias=1.0 was given"),
    ({"forget_gate": False, "forget_bias": Chrono(9)}, r"forget_bias=Chrono\(t_max=9\) was given, .* no forget gate"),
    ({"output_gate": False, "output_bias": 1.0}, "output_bias=1.0 was given, but this cell has no output gate"),
    ({"projection_size": 0}, "projection_size must be a whole number of at least 1, got 0"),
    (
        {"gate_recurrence": True, "input_gate": False, "forget_gate": False, "output_gate": False},
        "gate_recurrence=True needs at least one gate",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_settings_that_contradict_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CELLS["lstm"](H, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reset_gate": False, "reset_bias": 1.0}, "reset_bias=1.0 was given, but this cell has no reset gate"),
        ({"update_gate": False, "update_bias": 1.0}, "update_bias=1.0 was given, but this cell has no update gate"),
    ],
)
def test_gru_settings_that_contradict_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CELLS["gru"](H, **options)
