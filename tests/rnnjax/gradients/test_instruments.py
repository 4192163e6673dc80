"""Any cell goes through every instrument: each is traced with all of them, a few are run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import gru, layer_norm, lstm, stack
from rnnjax.cells import CELLS
from rnnjax.gradients import (
    gates,
    gradients_by_lag,
    histogram,
    jacobian_spectrum,
    keeping_gates,
    lyapunov_spectrum,
    output_derivatives,
    saturation,
    state_size,
    time_constants,
)
from rnnjax.wrappers.dropout import dropout

T, B, I, H = 4, 2, 3, 4
SUBJECTS = {
    **{name: factory(H) for name, factory in CELLS.items()},
    "stack": stack(lstm(H), gru(2)),
    "layer_norm": layer_norm(lstm(H)),
    "dropout": dropout(gru(H), recurrent=0.5),
}
A_FEW = ("elman", "stack")


def last(ys):
    return ys[-1].sum(axis=-1)


def measure(cell, params, xs):
    return {
        "by lag": gradients_by_lag(cell, params, xs, last)[0],
        "jacobian": jacobian_spectrum(cell, params, xs, [1, 3]),
        "lyapunov": lyapunov_spectrum(cell, params, xs, num_exponents=2, burn_in=1),
        "gates": gates(cell, params, xs),
        "reach": output_derivatives(cell, params, xs),
    }


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_cell_goes_through_every_instrument(name):
    cell = SUBJECTS[name]
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    found = jax.eval_shape(lambda params, xs: measure(cell, params, xs), params, jnp.zeros((T, B, I)))
    size = state_size(cell, params)
    assert found["by lag"].joined.shape == (T, B)
    assert all(leaf.shape == (T, B) for leaf in found["by lag"].leaves.values())
    assert found["jacobian"].log_singular_values.shape == (2, B, size)
    assert found["lyapunov"].running.shape == (T - 1, B, 2)
    assert found["reach"].log_rms.shape == found["reach"].coherence.shape == (T,)
    assert all(leaf.shape[:2] == (T, B) for leaf in found["gates"].values())


@pytest.mark.parametrize("name", A_FEW)
def test_a_few_give_numbers(name):
    cell = SUBJECTS[name]
    params = cell.init(jax.random.key(0), I)
    xs = jax.random.normal(jax.random.key(1), (T, B, I))
    found = jax.jit(lambda params, xs: measure(cell, params, xs))(params, xs)
    numbers = [leaf for leaf in jax.tree.leaves(found) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    assert all(not np.isnan(leaf).any() for leaf in numbers)
    assert np.isfinite(found["by lag"].joined).all()
    joined = np.logaddexp.reduce([2 * leaf for leaf in found["by lag"].leaves.values()])
    np.testing.assert_allclose(joined / 2, found["by lag"].joined, atol=1e-4)  # leaves make up the whole
    for values in found["gates"].values():
        shares, edges = histogram(values)
        np.testing.assert_allclose(shares.sum(), 1, rtol=1e-5)
        assert len(edges) == len(shares) + 1
        assert all(((share >= 0) & (share <= 1)).all() for share in saturation(values))
        assert (time_constants(values) >= 1).all()
    assert all(one.label in found["gates"] for one in keeping_gates(cell, params, xs))
