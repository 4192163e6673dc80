"""Newton's method over the whole trajectory gives the numbers and derivatives of one step after another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import (
    CELLS,
    Cell,
    LSTMCarry,
    Newton,
    dilated,
    dropout,
    elman,
    gru,
    harvest,
    lstm,
    skip_through_time,
    stack,
    truncated,
    unroll,
    zoneout,
)
from rnnjax.newton import NotConverged, scan, solve

T, B, I, H = 7, 3, 2, 3
KEY = jax.random.key(5)
RNG = np.random.default_rng(0)
XS = RNG.normal(size=(T, B, I)).astype(np.float32)
LENGTHS, RESETS = np.array([5, T, 0]), RNG.random((T, B)) < 0.3
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
ALONE = Newton(fallback=False)  # a scan can not stand in for it

COMPOSITIONS = {
    "stack": stack(lstm(H), gru(H + 1)),
    "dropout": dropout(stack(gru(H), lstm(H)), inputs=0.2, recurrent=0.4),
    "zoneout": zoneout(lstm(H), LSTMCarry(h=0.3, c=0.5)),
    "dilated": dilated(gru(H), 2),
    "skip_through_time": skip_through_time(gru(H), 3),
    "truncated": truncated(lstm(H), 3),
}
SITUATIONS = {
    "as it is": {},
    "lengths": {"lengths": LENGTHS},
    "resets, reverse, in chunks": {"resets": RESETS, "reverse": True, "chunk": 3},
    "lengths, resets, reverse, in chunks": {"lengths": LENGTHS, "resets": RESETS, "reverse": True, "chunk": 3},
}


def start(cell, gain=1.0):
    """Parameters shaken so that none is zero, U and all of `gain` times their size, and a carry on its way."""
    params = cell.init(jax.random.key(1), I)
    params = jax.tree.map(lambda leaf: gain * (np.asarray(leaf) + 0.1), params)
    carry, _ = unroll(cell, params, XS[::-1], key=KEY)
    return params, carry


def results(cell, params, xs, carry, **options):
    """(carry, ys) and the gradients of a function of both by params, xs and carry."""

    def loss(params, xs, carry):
        final, ys = unroll(cell, params, xs, carry, **options)
        real = [leaf for leaf in jax.tree.leaves(final) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        return jnp.sin(ys).sum() + sum((jnp.abs(leaf) ** 2).sum() for leaf in real), (final, ys)

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True, allow_int=True)(params, xs, carry)


def assert_close(found, expected, rtol):
    """Equal up to rtol of the largest entry of each leaf."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        if jax.dtypes.float0 in (getattr(a, "dtype", None), getattr(b, "dtype", None)):
            continue
        difference = np.abs(np.asarray(a) - np.asarray(b))
        assert np.isfinite(difference).all(), path
        assert difference.max(initial=0) <= rtol * max(np.abs(b).max(initial=0), 1e-2), (path, difference.max())


def both(cell, params, xs, carry, method=ALONE, **options):
    """Results by scan and by Newton's method, from one program."""

    @jit
    def run(params, xs, carry):
        run = functools.partial(results, cell, params, xs, carry, **options)
        return run(), run(method=method)

    return run(params, xs, carry)


def check(cell, rtol=2e-5, **options):
    params, carry = start(cell)
    by_steps, at_once = both(cell, params, XS, carry, lengths=LENGTHS, resets=RESETS, key=KEY, **options)
    assert_close(at_once, by_steps, rtol)


# All of them qualify; the few here stand for all in a hurry: whole numbers in the carry, complex ones, both.
QUICK = ("clockwork", "full_capacity_urnn", "lstm", "slstm")


@pytest.mark.parametrize("name", QUICK)
def test_some_cells(name):
    check(CELLS[name](H))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CELLS) - set(QUICK)))
def test_every_other_cell(name):
    check(CELLS[name](H))


@pytest.mark.parametrize("name", ["stack", "dropout"])
def test_some_compositions(name):
    check(COMPOSITIONS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(COMPOSITIONS) - {"stack", "dropout"}))
def test_every_other_composition(name):
    check(COMPOSITIONS[name])


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_situation(situation):
    options = dict(SITUATIONS[situation])
    method = Newton(fallback=False, chunk=options.pop("chunk", None))
    params, carry = start(gru(H))
    by_steps, at_once = both(gru(H), params, XS, carry, method, **options)
    assert_close(at_once, by_steps, rtol=2e-6)


@pytest.mark.parametrize("name", ["elman", "lstm", "urnn", "clockwork"])
def test_float64(name):
    with jax.enable_x64(True):
        cell = CELLS[name](H)
        params, carry = start(cell)
        params, carry, xs = jax.tree.map(
            lambda leaf: np.asarray(leaf, {"f": np.float64, "c": np.complex128}.get(leaf.dtype.kind)),
            (params, carry, np.concatenate([XS] * 5)),
        )
        by_steps, at_once = both(cell, params, xs, carry)
        assert at_once[0][1][1].dtype == np.float64
        assert_close(at_once, by_steps, rtol=1e-10)


@pytest.mark.parametrize(
    "method",
    [
        Newton(jacobian="diagonal", fallback=False),
        Newton(damping=0.5, fallback=False),
        Newton(jacobian="diagonal", damping=1.0, chunk=4, fallback=False),
    ],
    ids=["diagonal", "damped", "Jacobi's"],
)
def test_other_iterations_end_at_the_same_numbers(method):
    """Derivatives too: they are not those of the iteration."""
    params, carry = start(gru(H))
    by_steps, at_once = both(gru(H), params, np.concatenate([XS] * 3), carry, method)
    assert_close(at_once, by_steps, rtol=1e-5)


def test_forward_mode_second_derivatives_and_vmap():
    cell = gru(H)
    params, _ = start(cell)
    direction = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), params)
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), params)

    @jit
    def all_modes(params, direction, twice):
        def modes(**options):
            loss = lambda params: jnp.sum(jnp.sin(unroll(cell, params, XS, lengths=LENGTHS, **options)[1]))
            slope = lambda params: jax.jvp(loss, (params,), (direction,))[1]
            curvature = jax.grad(slope)(params)  # reverse over forward
            other = jax.jvp(jax.grad(loss), (params,), (direction,))[1]  # forward over reverse
            return slope(params), curvature, other, jax.vmap(jax.grad(loss))(twice)

        return modes(), modes(method=ALONE)

    by_steps, at_once = all_modes(params, direction, twice)
    assert np.abs(by_steps[1].U).max() > 0.1
    assert_close(at_once, by_steps, rtol=1e-5)


def test_what_happened_is_told():
    cell = gru(H)
    params, carry = start(cell)
    found = jit(functools.partial(solve, cell))(params, XS, carry)
    assert_close((found.carry, found.ys), unroll(cell, params, XS, carry), rtol=1e-6)
    assert bool(found.record.converged)
    assert 2 <= found.record.iterations <= 5
    assert 0 < found.record.residual <= 8 * 2.0**-23
    assert 1 <= found.record.growth < 10
    parts = solve(cell, params, XS, carry, method=Newton(chunk=4))
    assert found.record.iterations < parts.record.iterations <= 10


def test_a_linear_recurrence_takes_one_iteration():
    cell = CELLS["lru"](H)
    params, carry = start(cell)
    assert solve(cell, params, XS, carry).record.iterations == 1


def test_rounding_grows_with_the_memory_of_the_cell():
    """With s_t = a s_{t-1} + x_t it adds up to √(1 + a² + a⁴ + ...), in the mean."""
    xs = np.ones((400, 64), np.float32)
    growth = {}
    for a in (0.5, 0.99):
        step = lambda s, x: (a * s + x, s)
        growth[a] = float(scan(step, jnp.full(64, 1 / (1 - a)), xs, 400, batch_shape=(64,)).record.growth)
    assert 2 > growth[0.5] > 1.3  # the largest of all that add up to 1.15 in the mean, and to 2 at most
    assert 7.1 < growth[0.99] < 50


CHAOS = elman(16)


def chaos(gain):
    params = CHAOS.init(jax.random.key(0), I)
    return params._replace(U=gain * params.U)


def test_chaos_is_noticed_and_left_to_a_scan():
    """Also beside a calm network under vmap, and derivatives stay finite."""
    xs = np.asarray(jax.random.normal(KEY, (60, I)))
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), chaos(3.0), chaos(0.9))

    @jit
    def run(params):
        def loss(params, method=None):
            if method is None:
                return jnp.sum(unroll(CHAOS, params, xs)[1][:12] ** 2), None
            found = solve(CHAOS, params, xs, method=method)
            return jnp.sum(found.ys[:12] ** 2), found.record  # later numbers no two programs agree on

        by = lambda **options: jax.vmap(jax.value_and_grad(functools.partial(loss, **options), has_aux=True))(params)
        return by(), by(method=Newton(max_iterations=20)), by(method=Newton(max_iterations=100))

    ((values, _), slopes), *found = run(both)
    for (at_once, record), at_once_slopes in found:
        np.testing.assert_array_equal(record.converged, [False, True])
        np.testing.assert_allclose(at_once, values, rtol=1e-3)
        assert_close(at_once_slopes, slopes, rtol=1e-2)
    assert found[1][0][1].growth[0] > 1e5


def test_products_in_a_narrow_dtype_take_longer_and_end_at_the_same_numbers():
    """A step is then one of stairs; which of them a state stands on is seen by the residual too."""
    cell, xs = gru(H), np.concatenate([XS] * 3)
    params, _ = start(cell)

    @jit
    def run(params):
        by_steps, method = lambda **options: unroll(cell, params, xs, **options)[1], Newton(fallback=False)
        narrow = solve(cell, params, xs, method=method, matmul_dtype=jnp.bfloat16)
        wide = solve(cell, params, xs, method=method).record
        return by_steps(), by_steps(matmul_dtype=jnp.bfloat16), narrow.ys, narrow.record, wide

    exact, by_steps, at_once, narrow, wide = run(params)
    assert narrow.converged
    assert narrow.iterations > wide.iterations
    assert np.abs(exact - by_steps).max() > 2e-3
    np.testing.assert_allclose(at_once, by_steps, atol=2e-4)


def test_without_fallback_a_failure_is_an_error_or_nan():
    xs = np.asarray(jax.random.normal(KEY, (60, I)))
    method = Newton(max_iterations=5, fallback=False)
    run = functools.partial(unroll, CHAOS, chaos(3.0), method=method)
    with pytest.raises(NotConverged, match=r"no trajectory after 5 iterations.*roundings grow.*fallback=True"):
        run(xs)
    with pytest.raises(NotConverged):
        jax.grad(lambda xs: run(xs)[1].sum())(xs)
    carry, ys = jit(run)(xs)
    assert np.isnan(carry).all()
    assert np.isnan(ys).all()


def test_what_is_not_finite_on_the_way_is_recovered_from():
    """s_t = s_{t-1}² overflows from a guess of 30, and not from the 0.9 that is put in its place at once.

    Small numbers are exact though a large one went before.
    """
    step = lambda s, x: ((jnp.where(x > 0, x, s)) ** 2, s)
    xs = np.zeros(12, np.float32)
    xs[0] = 0.9
    found = scan(step, jnp.float32(30.0), xs, 12, method=Newton(fallback=False))
    np.testing.assert_allclose(found.ys, [30, *0.9**2.0 ** np.arange(1, 12)], rtol=1e-4, atol=1e-18)


def test_a_carry_that_starts_at_minus_infinity_and_stays_there():
    """In a sequence of no steps, as in padding, the sLSTM's m stays at -∞."""
    cell = CELLS["slstm"](H)
    params, _ = start(cell)
    run = jit(functools.partial(unroll, cell, xs=XS, lengths=LENGTHS), static_argnames="method")
    expected, found = run(params), run(params, method=ALONE)
    assert np.isneginf(found[0].m[2]).all()
    np.testing.assert_array_equal(found[0].m[2], expected[0].m[2])
    written = lambda result: (jax.tree.map(lambda leaf: leaf[:2], result[0]), result[1])
    assert_close(written(found), written(expected), rtol=2e-6)


def test_named_values_are_harvested():
    params, carry = start(lstm(H))
    expected = harvest(lstm(H), params, XS, carry, lengths=LENGTHS)
    assert_close(harvest(lstm(H), params, XS, carry, lengths=LENGTHS, method=Newton()), expected, rtol=1e-6)


def test_no_steps_at_all():
    params, carry = start(lstm(H))
    found = solve(lstm(H), params, XS[:0], carry)
    assert_close(found.carry, carry, rtol=0)
    assert found.ys.shape == (0, B, H)
    assert bool(found.record.converged)


def counting(counts_its_state: bool) -> Cell:
    """A network whose clock may go by what it has seen."""

    def step(p, carry, x):
        h, t = carry
        h = jnp.tanh(x + h / (1 + t))
        return (h, t + (h > 0 if counts_its_state else 1)), h

    def initial_carry(params, batch_shape=()):
        return jnp.zeros((*batch_shape, I)), jnp.zeros((*batch_shape, I), jnp.int32)

    return Cell(I, lambda key, input_size: (), initial_carry, lambda p, x: x, step)


def test_a_clock_of_its_own_is_served_and_one_that_reads_the_state_refused():
    assert_close(
        unroll(counting(False), (), XS, method=ALONE, resets=RESETS),
        unroll(counting(False), (), XS, resets=RESETS),
        1e-6,
    )
    with pytest.raises(ValueError, match=r"leaf 1 of dtype int32 is made of real ones.*method=Scan"):
        unroll(counting(True), (), XS, method=ALONE)


def test_a_carry_without_real_entries_is_refused():
    with pytest.raises(ValueError, match="this one has none"):
        scan(lambda t, x: (t + 1, x), jnp.int32(0), np.ones(3, np.float32), 3)


def test_no_inputs_are_refused():
    with pytest.raises(ValueError, match="needs inputs"):
        scan(lambda s, _: (0.5 * s, s), jnp.float32(1), None, 3)


def test_the_backward_pass_keeps_the_trajectory_alone():
    """T B H numbers; with Jacobians H times as many."""
    num_steps, size = 1000, 32
    params = jax.eval_shape(lambda: gru(size).init(KEY, I))
    xs = jax.ShapeDtypeStruct((num_steps, B, I), jnp.float32)
    run = lambda params, xs: unroll(gru(size), params, xs, method=Newton())[1]
    kept = jax.eval_shape(lambda params, xs: jax.vjp(run, params, xs)[1], params, xs)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(kept))
    state, projected = num_steps * B * size, 3 * num_steps * B * size
    assert state <= numbers < 1.1 * (state + projected)


FIELDS = {
    "jacobian": ({"jacobian": "diag"}, "unknown jacobian 'diag'; did you mean 'diagonal'"),
    "damping": ({"damping": 1.5}, r"damping must lie in \[0, 1\], got 1.5"),
    "tolerance": ({"tolerance": 0.0}, r"tolerance must lie in \(0, 1\), got 0.0"),
    "max_iterations": ({"max_iterations": 0}, "max_iterations must be a whole number of at least 1, got 0"),
    "chunk": ({"chunk": 2.5}, "chunk must be a whole number of at least 1, got 2.5"),
}


@pytest.mark.parametrize("field", FIELDS)
def test_fields_are_checked(field):
    fields, message = FIELDS[field]
    with pytest.raises(ValueError, match=message):
        Newton(**fields)
