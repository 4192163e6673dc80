"""The backward pass written by hand agrees with automatic differentiation and with PyTorch."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import numpy_lstm

PYTORCH = Path(__file__).parents[1] / "fixtures" / "pytorch.npz"
SEQ_LEN, BATCH_SIZE, INPUT_SIZE, HIDDEN_SIZE = 9, 3, 4, 5


def make_problem(seed):
    """Weights, inputs, initial states and a random derivative by the outputs, all float64."""
    rng = np.random.default_rng(seed)
    params = {
        "W": rng.normal(size=(INPUT_SIZE, 4 * HIDDEN_SIZE)),
        "U": rng.normal(size=(HIDDEN_SIZE, 4 * HIDDEN_SIZE)),
        "b": rng.normal(size=4 * HIDDEN_SIZE),
    }
    xs = rng.normal(size=(SEQ_LEN, BATCH_SIZE, INPUT_SIZE))
    h0, c0 = rng.normal(size=(2, BATCH_SIZE, HIDDEN_SIZE))
    dys = rng.normal(size=(SEQ_LEN, BATCH_SIZE, HIDDEN_SIZE))
    return params, xs, h0, c0, dys


def loss_jax(inputs, dys):
    """Σ ys ⊙ δys of an LSTM looped over in jax.numpy; gates are cut out of W, U, b one by one."""

    def preactivation(k, x, h):
        block = slice(k * HIDDEN_SIZE, (k + 1) * HIDDEN_SIZE)
        return x @ inputs["W"][:, block] + h @ inputs["U"][:, block] + inputs["b"][block]

    h, c, loss = inputs["h0"], inputs["c0"], 0.0
    for x, dy in zip(inputs["xs"], dys, strict=True):
        i = 1 / (1 + jnp.exp(-preactivation(0, x, h)))
        f = 1 / (1 + jnp.exp(-preactivation(1, x, h)))
        g = jnp.tanh(preactivation(2, x, h))
        o = 1 / (1 + jnp.exp(-preactivation(3, x, h)))
        c = f * c + i * g
        h = o * jnp.tanh(c)
        loss += jnp.sum(h * dy)
    return loss


@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_automatic_differentiation(seed):
    params, xs, h0, c0, dys = make_problem(seed)
    ys, cache = numpy_lstm.forward(params, xs, h0, c0)
    grads = numpy_lstm.backward(params, cache, dys)

    with jax.enable_x64(True):
        inputs = {**params, "xs": xs, "h0": h0, "c0": c0}
        inputs = {name: jnp.asarray(array) for name, array in inputs.items()}
        loss, expected = jax.jit(jax.value_and_grad(loss_jax))(inputs, jnp.asarray(dys))

    np.testing.assert_allclose(np.sum(ys * dys), loss, rtol=0, atol=1e-10)
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        assert expected[name].dtype == jnp.float64
        np.testing.assert_allclose(grad, expected[name], rtol=0, atol=1e-10, err_msg=name)


def test_agrees_with_pytorch():
    stored = np.load(PYTORCH)
    torch = {key.removeprefix("lstm/"): stored[key] for key in stored if key.startswith("lstm/")}
    params = {
        "W": torch["weight_ih_l0"].T,
        "U": torch["weight_hh_l0"].T,
        "b": torch["bias_ih_l0"] + torch["bias_hh_l0"],
    }
    ys, cache = numpy_lstm.forward(params, torch["xs"], torch["h_0"][0], torch["c_0"][0])
    grads = numpy_lstm.backward(params, cache, torch["dys"])

    expected = {
        "W": torch["grad/weight_ih_l0"].T,
        "U": torch["grad/weight_hh_l0"].T,
        "b": torch["grad/bias_ih_l0"],
        "xs": torch["grad/xs"],
        "h0": torch["grad/h_0"][0],
        "c0": torch["grad/c_0"][0],
    }
    np.testing.assert_allclose(ys, torch["ys"], rtol=0, atol=1e-12)
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, expected[name], rtol=0, atol=1e-12, err_msg=name)
