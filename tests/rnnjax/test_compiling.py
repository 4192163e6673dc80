"""Training as users compile it: all other tests run what the compiler makes at its lowest level."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRAINING = """
import jax, jax.numpy as jnp, numpy as np
from rnnjax import Scan, lstm, unroll
from rnnjax.compiling import compiler_options
from tests import numpy_lstm

T, B, I, H, STEPS, RATE = 24, 8, 6, 64, 5, 1.0
rng = np.random.default_rng(0)
xs, targets = rng.normal(size=(T, B, I)), 0.5 * rng.normal(size=(T, B, H))
start = {"W": rng.normal(size=(I, 4 * H)) / I**0.5, "U": rng.normal(size=(H, 4 * H)) / H**0.5, "b": np.zeros(4 * H)}

def by_hand(params):
    ys, cache = numpy_lstm.forward(params, xs, np.zeros((B, H)), np.zeros((B, H)))
    found = numpy_lstm.backward(params, cache, 2 * (ys - targets) / (T * B))
    return np.sum((ys - targets) ** 2) / (T * B), {name: found[name] for name in params}

cell = lstm(H)
narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (xs, targets))
like = cell.init(jax.random.key(0), I)

def trained(engine):
    def loss(params):
        ys = unroll(cell, like._replace(**params), narrow[0], method=Scan(engine=engine))[1]
        return jnp.sum((ys - narrow[1]) ** 2) / (T * B)
    step = jax.jit(jax.value_and_grad(loss), compiler_options=compiler_options())
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), start)
    for _ in range(STEPS):
        value, gradient = step(params)
        params = jax.tree.map(lambda p, g: p - RATE * g, params, gradient)
    return value, gradient

params, first = start, by_hand(start)[0]
for _ in range(STEPS):
    expected = by_hand(params)
    params = {name: params[name] - RATE * expected[1][name] for name in params}
assert expected[0] < 0.95 * first, "it learns"
for engine in ("plain", "deferred"):
    value, gradient = trained(engine)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    for name, leaf in gradient.items():
        np.testing.assert_allclose(leaf, expected[1][name], rtol=0, atol=2e-5 * np.abs(expected[1][name]).max())
print("both engines agree")
"""


def test_a_few_training_steps_with_the_flags_users_run_with():
    """Loss and gradient of an LSTM after five steps, in float32, against those written by hand, in float64."""
    environment = {name: value for name, value in os.environ.items() if "XLA_FLAGS" not in name}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", TRAINING]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "both engines agree", done.stderr
