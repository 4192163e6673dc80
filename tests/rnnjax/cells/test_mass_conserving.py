"""The mass-conserving LSTM against its paper's equations, and its mass."""

import jax
import numpy as np
import pytest

from rnnjax import mclstm, unroll
from tests.reference import sigmoid
from tests.rnnjax.cells.agree import B, H, I, agree, num_parameters


def softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def reference(params, xs, c, masses, time_dependent):
    hs = []
    for x in xs:
        mass, a = x[:, :masses], x[:, masses:]
        share = c / np.abs(c).sum(axis=-1, keepdims=True)
        logits = a @ params.W + share @ params.U
        o = sigmoid(logits[:, :H] + params.b[:H])
        i = softmax((logits[:, H : H + masses * H] + params.b[H:]).reshape(B, masses, H))
        if time_dependent:
            R = softmax(logits[:, H + masses * H :].reshape(B, H, H) + params.B)
        else:
            R = np.broadcast_to(softmax(params.B), (B, H, H))
        m = np.zeros((B, H))
        for example in range(B):
            m[example] = R[example].T @ c[example] + i[example].T @ mass[example]
        c, h = (1 - o) * m, o * m
        hs.append(h)
    return c, np.stack(hs)


@pytest.mark.parametrize(("masses", "time_dependent"), [(1, False), (2, True), (I, False)])
def test_agrees_with_its_paper(masses, time_dependent):
    cell = mclstm(H, mass_size=masses, time_dependent=time_dependent)
    agree(cell, lambda *args: reference(*args, masses, time_dependent))


@pytest.mark.parametrize("time_dependent", [False, True])
def test_no_mass_is_lost(time_dependent):
    cell = mclstm(H, mass_size=2, time_dependent=time_dependent, output_bias=-1.0)
    params = jax.jit(lambda key: cell.init(key, I))(jax.random.key(0))
    rng = np.random.default_rng(0)
    xs = np.concatenate([rng.exponential(size=(50, B, 2)), rng.normal(size=(50, B, I - 2))], axis=-1)
    c, hs = jax.jit(lambda xs: unroll(cell, params, xs))(xs.astype(np.float32))
    assert np.all(np.asarray(hs) >= 0)
    assert np.all(np.asarray(c) >= 0)
    np.testing.assert_allclose(hs.sum((0, -1)) + c.sum(-1), xs[..., :2].sum((0, -1)), rtol=1e-5)


@pytest.mark.parametrize(("masses", "time_dependent", "N"), [(2, False, 3 * H), (1, True, 2 * H + H * H)])
def test_number_of_parameters(masses, time_dependent, N):
    count = N * (I - masses + H) + H * (1 + masses) + H * H
    assert num_parameters(mclstm(H, mass_size=masses, time_dependent=time_dependent)) == count


def test_fewer_inputs_than_masses_are_refused():
    with pytest.raises(ValueError, match="mass_size=5 needs at least as many inputs, got input_size 4"):
        mclstm(H, mass_size=5).init(jax.random.key(0), I)
