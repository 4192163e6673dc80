"""Every cell lowers for accelerators: what `jax.export` can tell of them on a CPU."""

import jax
import jax.numpy as jnp
import pytest
from jax import export

from rnnjax import Associative, Scan, unroll
from rnnjax.cells import CELLS

T, B, I, H = 3, 2, 2, 4
PLATFORMS = ("cuda", "rocm", "tpu")


@pytest.mark.parametrize("label", sorted(CELLS))
def test_forward_and_gradient_lower_for_every_accelerator(label):
    cell = CELLS[label](H)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    methods = [Scan(engine="plain", project="before"), Scan(engine="deferred")]  # the first is what accelerators take
    if cell.linear:
        methods.append(Associative(chunk=2))

    def gradients(params, xs):
        def loss(params, xs, method):
            return jnp.sum(unroll(cell, params, xs, method=method)[1] ** 2)

        return [jax.value_and_grad(loss, (0, 1))(params, xs, method) for method in methods]

    exported = export.export(jax.jit(gradients), platforms=PLATFORMS)(
        params, jax.ShapeDtypeStruct((T, B, I), "float32")
    )
    assert exported.platforms == PLATFORMS
