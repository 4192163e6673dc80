"""The structurally constrained network against its paper's equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import SCRNCarry, scrn, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import H, I, agree

S = 3


def reference(p, xs, carry, alpha=0.95):
    h, s = carry
    ys = []
    for x in xs:
        s = (1 - alpha) * (x @ p.B) + alpha * s
        h = sigmoid(s @ p.P + x @ p.A + h @ p.R)
        ys.append(np.concatenate([h, s], axis=-1))
    return SCRNCarry(h, s), np.stack(ys)


def test_agrees_with_its_paper():
    agree(scrn(H, context_size=S), reference)


def test_another_alpha():
    agree(scrn(H, context_size=S, alpha=0.3), lambda p, xs, carry: reference(p, xs, carry, 0.3))


@pytest.mark.parametrize(("options", "size"), [({}, H // 2), ({"context_size": S}, S)])
def test_number_of_parameters(options, size):
    cell = scrn(H, **options)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == H * (I + H + size) + I * size
    assert cell.output_size == H + size


def test_context_without_input_decays_by_alpha():
    cell = scrn(H, context_size=S)
    start = SCRNCarry(jnp.zeros(H), jnp.arange(1.0, S + 1))
    carry, _ = jax.jit(lambda key: unroll(cell, cell.init(key, I), jnp.zeros((10, I)), start))(jax.random.key(0))
    np.testing.assert_allclose(carry.s, 0.95**10 * np.arange(1.0, S + 1), rtol=1e-5)


@pytest.mark.parametrize("alpha", [-0.1, 1.0, float("nan")])
def test_refuses_an_alpha_outside_its_range(alpha):
    with pytest.raises(ValueError, match=rf"alpha.* must lie in \[0, 1\), got {alpha}"):
        scrn(H, alpha=alpha)


def test_refuses_a_context_of_no_units():
    with pytest.raises(ValueError, match="context_size must be a whole number of at least 1, got 0"):
        scrn(H, context_size=0)
