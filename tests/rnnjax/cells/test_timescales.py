"""Clockwork and fast-slow networks against their papers' equations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import ClockworkCarry, FastSlow, clockwork, elman, fast_slow, gru, lstm, unroll
from tests.rnnjax.cells.agree import B, H, I, T, agree, num_parameters


def clockwork_reference(params, xs, carry, modules):
    """modules: (period, its units), fast to slow."""
    h, t = carry.h, carry.t[0]
    U, used = {}, 0
    for source in range(H):  # U holds the allowed connections row by row
        for target in range(H):
            period = {unit: period for period, units in modules for unit in units}
            if period[source] >= period[target]:
                U[source, target] = params.U[used]
                used += 1
    hs = []
    for x in xs:
        new = h.copy()
        for period, units in modules:
            if t % period == 0:
                for unit in units:
                    a = x @ params.W[:, unit] + params.b[unit]
                    for source in range(H):
                        a = a + h[:, source] * U.get((source, unit), 0.0)
                    new[:, unit] = np.tanh(a)
        h, t = new, t + 1
        hs.append(h)
    return ClockworkCarry(h, np.full(B, t, np.int32)), np.stack(hs)


@pytest.mark.parametrize(
    ("periods", "modules", "start"),
    [
        ((1, 3), [(1, (0, 1, 2)), (3, (3, 4))], 0),
        (None, [(1, (0,)), (2, (1,)), (4, (2,)), (8, (3,)), (16, (4,))], 15),
    ],
)
def test_clockwork_agrees_with_its_paper(periods, modules, start):
    h = np.random.default_rng(1).normal(size=(B, H))
    carry = ClockworkCarry(h, np.full(B, start, np.int32))
    agree(clockwork(H, periods=periods), lambda *args: clockwork_reference(*args, modules), carry=carry)


def test_idle_modules_stand_still_and_slow_ones_see_no_fast_ones():
    cell = clockwork(4, periods=(1, 4))
    params = jax.jit(lambda key: cell.init(key, I))(jax.random.key(0))
    p = cell.prepare(params)
    assert np.all(np.asarray(p.U)[:2, 2:] == 0)
    assert np.count_nonzero(p.U) == params.U.size == 12
    xs = np.random.default_rng(0).normal(size=(8, I)).astype(np.float32)
    hs = np.asarray(jax.jit(lambda xs: unroll(cell, params, xs))(xs)[1])
    moved = [t for t in range(1, 8) if np.any(hs[t, 2:] != hs[t - 1, 2:])]
    assert moved == [4]


def fast_slow_reference(params, xs, carry, slow_steps):
    """Fast cells are Elman networks, and so is the slow one."""
    f, s = carry.fast, carry.slow

    def cell(p, h, x):
        return np.tanh(x @ p.W + h @ p.U + p.b)

    ys = []
    for x in xs:
        f = cell(params.fast[0], f, x)
        s = cell(params.slow, s, f)
        f = cell(params.fast[1], f, s)
        for p in params.fast[2:]:
            f = cell(p, f, np.zeros((B, 1)))
        ys.append(f)
        slow_steps.append(s)
    return FastSlow(f, s), np.stack(ys)


@pytest.mark.parametrize(("fast_cells", "slow_size"), [(2, None), (4, 3)])
def test_fast_slow_agrees_with_its_paper(fast_cells, slow_size):
    steps = []
    agree(
        fast_slow(H, fast_cells=fast_cells, slow_size=slow_size, cell=elman),
        lambda *args: fast_slow_reference(*args, steps),
    )
    assert len(steps) == T
    assert steps[0].shape == (B, slow_size or H)


def test_fast_slow_of_any_cells():
    cell = fast_slow(H, slow_size=3, cell=partial(lstm, forget_bias=2.0), slow_cell=gru)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    assert [p.W.shape for p in params.fast] == [(I, 4 * H), (3, 4 * H)]
    assert params.slow.W.shape == (H, 9)
    carry = cell.initial_carry(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), params), (2,))
    assert carry.fast.c.shape == (2, H)
    assert carry.slow.shape == (2, 3)


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        (clockwork(6, periods=(1, 2, 4)), 6 * (I + 1) + 36 * 4 // 6),
        (fast_slow(H, fast_cells=3, cell=elman), H * (I + H + 1) + 2 * H * (2 * H + 1) + H * (1 + H + 1)),
    ],
)
def test_number_of_parameters(cell, count):
    assert num_parameters(cell) == count


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: clockwork(2, periods=(1, 2, 4)), r"periods=\(1, 2, 4\) make 3 modules; hidden_size 2 can have 1 to 2"),
        (lambda: clockwork(2, periods=()), "make 0 modules"),
        (lambda: clockwork(2, periods=(1, 0)), "periods must be a whole number of at least 1, got 0"),
        (lambda: fast_slow(2, fast_cells=1), "fast_cells must be a whole number of at least 2, got 1"),
        (lambda: fast_slow(2, slow_size=0), "slow_size must be a whole number of at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
