"""Outputs of Keras' recurrent layers (stored in fixtures/peers.npz), and weights in and out."""

from pathlib import Path

import jax
import numpy as np
import pytest

from rnnjax import bidirectional, elman, elman_relu, gru, gru_reset_before, layer, lstm, lstm_1997, stack
from rnnjax.cells import GRUParams, lstm_vanilla
from rnnjax.interop.keras import from_keras, to_keras

STORED = np.load(Path(__file__).parents[2] / "fixtures" / "peers.npz")
H = 4
CASES = {
    "SimpleRNN": layer(elman(H)),
    "SimpleRNN relu": layer(elman_relu(H)),
    "LSTM": layer(lstm(H)),
    "LSTM without bias": layer(lstm(H)),
    "GRU": layer(gru(H)),
    "GRU without bias": layer(gru(H)),
    "GRU reset before": layer(gru_reset_before(H)),
    "GRU reset before, without bias": layer(gru_reset_before(H)),
    "Bidirectional LSTM": bidirectional(lstm(H)),
    "Bidirectional GRU": bidirectional(gru(H)),
    "two LSTM layers": stack(layer(lstm(H)), layer(lstm(H))),
}


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def weights_of(case):
    """What `get_weights()` gives, and for a stack what it gives for each layer."""
    prefix = f"keras/{case}/"
    names = sorted(key for key in STORED if key.startswith(prefix) and not key.endswith("ys"))
    arrays = [STORED[name].astype(float) for name in names]
    return [arrays[:3], arrays[3:]] if case == "two LSTM layers" else arrays


def params_of(case):
    return from_keras(weights_of(case), reset_after="before" not in case)


def test_every_stored_case_is_compared():
    assert {key.split("/")[1] for key in STORED if key.startswith("keras/")} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_same_outputs(case):
    params = params_of(case)
    run = jax.jit(CASES[case].apply, compiler_options={"xla_backend_optimization_level": 0})
    _, ys = run(params, STORED["xs"].astype(float))
    np.testing.assert_allclose(ys, STORED[f"keras/{case}/ys"], rtol=0, atol=1e-6)  # computed in float32 there
    wanted = jax.eval_shape(lambda: CASES[case].init(jax.random.key(0), 3))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, wanted)


@pytest.mark.parametrize("case", CASES)
def test_there_and_back_again(case):
    weights, params = weights_of(case), params_of(case)
    back = to_keras(params, bidirectional="Bidirectional" in case)
    assert jax.tree.structure(from_keras(back)) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, from_keras(back), params)
    if "without bias" in case:
        assert not back.pop().any()
    if "GRU" not in case or "before" in case:
        jax.tree.map(np.testing.assert_array_equal, back, weights)
        return
    for given, returned in zip(weights, back, strict=True):
        assert returned.shape == given.shape
        if given.shape[0] != 2:
            np.testing.assert_array_equal(returned, given)
        else:  # the two biases of z and r count by their sum
            np.testing.assert_array_equal(returned.sum(0)[: 2 * H], given.sum(0)[: 2 * H])
            np.testing.assert_array_equal(returned[:, 2 * H :], given[:, 2 * H :])
            assert not returned[1, : 2 * H].any()


def test_a_gru_without_bias_is_told_where_its_reset_is():
    weights = weights_of("GRU without bias")
    assert from_keras(weights).b_hn.shape == (H,)
    assert from_keras(weights, reset_after=False).b_hn is None
    assert from_keras(weights_of("GRU reset before")).b_hn is None


def kernels(*shapes):
    return [np.zeros(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "expected 2 or 3 arrays .* got 0"),
        (kernels((3, 16)), r"got 1, of shapes \[\(3, 16\)\]"),
        (
            kernels((3, 16), (4, 16), (16,), (4, 16), (4, 16), (16,)),
            r"twice as many of equal shapes; .* Several layers are given as \[layer.get_weights\(\) for layer in",
        ),
        (kernels((3, 8), (4, 8)), r"recurrent_kernel has shape \(4, 8\): .* columns H .SimpleRNN., 3H .GRU. or 4H"),
        (kernels((3, 16), (16,)), r"recurrent_kernel has shape \(16,\)"),
        (kernels((3, 12), (4, 16)), r"kernel has shape \(3, 12\), but an LSTM of 4 units needs \(I, 16\)"),
        (kernels((3, 16), (4, 16), (4,)), r"bias has shape \(4,\), but an LSTM of 4 units needs \(16,\)"),
        (kernels((3, 12), (4, 12), (3, 12)), r"bias has shape \(3, 12\), .* GRU .* needs \(12,\) or \(2, 12\)"),
        ([kernels((3, 4), (4, 4)), kernels((4, 4), (4, 5))], r"layer 1: recurrent_kernel has shape \(4, 5\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(weights, message):
    with pytest.raises(ValueError, match=message):
        from_keras(weights)


def init(cell):
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape), jax.eval_shape(lambda: cell.init(jax.random.key(0), 3)))


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        (init(lstm_vanilla(H)), {}, "no peepholes"),
        (init(lstm(H, projection_size=2)), {}, "no projection"),
        (init(lstm_1997(H)), {}, "Keras needs all gates: 4 blocks of 4 columns in LSTMParams.U, got 12"),
        (init(gru(H, reset_gate=False)), {}, "3 blocks of 4 columns in GRUParams.U, got 8"),
        (init(stack(lstm(H), stack(lstm(H)))), {}, "layer 1 of the params must be ElmanParams, GRUParams or LSTMPar"),
        ((init(lstm(H)),) * 3, {"bidirectional": True}, r"layer 0 of the params must be a pair"),
    ],
)
def test_cells_keras_does_not_have_are_refused(params, options, message):
    with pytest.raises(ValueError, match=message):
        to_keras(params, **options)


def test_both_orders_of_the_reset_go_out():
    assert [array.shape for array in to_keras(init(gru(H)))] == [(3, 12), (4, 12), (2, 12)]
    params = init(gru_reset_before(H))
    assert isinstance(params, GRUParams)
    assert [array.shape for array in to_keras(params)] == [(3, 12), (4, 12), (12,)]
