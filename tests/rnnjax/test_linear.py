"""Recurrences linear in their state: many steps at once give the numbers and gradients of one step after another."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import CELLS, Associative, Cell, dropout, harvest, layer, lru, lstm, mingru, minlstm, qrnn, stack, unroll
from rnnjax.cell import dense, name, zeros
from rnnjax.linear import advance, advance_blocks, advance_matrix, advance_max, delayed
from rnnjax.methods import LINEAR_KINDS, STRETCHES_SAVE

B, I, H = 3, 2, 3
OPTIONS = {"s4d": {"state_size": 4}, "s5": {"state_size": 4}, "linear_lmu": {"order": 4, "theta": 20.0}}
OPTIONS |= {label: {"state_size": 2} for label in ("selective_ssm", "ssd", "longhorn")}
LINEAR = [label for label, factory in CELLS.items() if factory(H).linear]
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


class EveryCarry(NamedTuple):
    h: jax.Array  # [*B, H] with a constant factor, and one that changes
    matrix: jax.Array  # [*B, 2, H] with one factor for each row
    rotated: jax.Array  # [*B, H]
    pairs: jax.Array  # [*B, H, 2]
    largest: jax.Array  # [*B, H]
    past: jax.Array  # [*B, H]


def every_recurrence() -> Cell:
    """A cell that goes through all functions of rnnjax/linear.py, from an initial carry that is not zero."""

    def init(key, input_size):
        return {"W": jax.random.normal(key, (input_size, 4 * H)), "a": jnp.array([0.9, -0.5, 0.2])}

    def initial_carry(params, batch_shape=()):
        some = zeros(params, *batch_shape, H) + 0.5
        pairs = jnp.stack([some, -some], axis=-1)
        return EveryCarry(some, jnp.stack([some, 2 * some], axis=-2), some, pairs, -some, 3 * some)

    def project(p, x):
        return name(dense(x, p["W"]), "preactivation")

    def step(p, carry, z):
        x, z_a, z_b, z_c = jnp.split(z, 4, axis=-1)
        h = advance(carry.h, p["a"], jnp.tanh(x))
        rate = jax.nn.sigmoid(z_a[..., :2, None])
        matrix = advance(carry.matrix, rate, h[..., None, :] * jnp.tanh(z_b[..., :2, None]))
        turn = 0.8 * jnp.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.1], [0.0, 0.2, 0.5]], x.dtype)
        rotated = advance_matrix(carry.rotated, turn, x)
        blocks = jnp.array([[[0.9, -0.3], [0.3, 0.8]], [[0.5, 0.0], [1.0, 0.5]], [[0.0, 1.0], [-1.0, 0.0]]], x.dtype)
        pairs = advance_blocks(carry.pairs, blocks, jnp.stack([x, jnp.tanh(z_a)], axis=-1))
        largest = advance_max(carry.largest, -jax.nn.softplus(z_c), x)
        before = delayed(carry.past, largest)
        y = jnp.concatenate(
            [h, matrix[..., 0, :] * matrix[..., 1, :], rotated, largest * before, pairs[..., 0]], axis=-1
        )
        return EveryCarry(h, matrix, rotated, pairs, largest, largest), y

    return Cell(5 * H, init, initial_carry, project, step, linear=True)


CELL = every_recurrence()
PARAMS = CELL.init(jax.random.key(0), I)
RNG = np.random.default_rng(1)
XS = RNG.normal(size=(11, B, I)).astype(np.float32)
CARRY = jax.tree.map(lambda leaf: leaf - 0.3, CELL.initial_carry(PARAMS, (B,)))
LENGTHS, RESETS = np.array([5, 11, 0]), RNG.random((11, B)) < 0.3
SITUATIONS = {
    "as it is": {},
    "lengths": {"lengths": LENGTHS},
    "resets": {"resets": RESETS},
    "reverse": {"reverse": True, "resets": RESETS},
    "all at once": {"lengths": LENGTHS, "resets": RESETS, "reverse": True},
}


def results(cell, params, xs, carry=None, **options):
    """(carry, ys) and the gradients of Σ sin(ys) + Σ |carry|² by params, xs and, if one is given, carry."""

    def loss(params, xs, carry):
        final, ys = unroll(cell, params, xs, carry, **options)
        return jnp.sin(ys).sum() + sum((jnp.abs(leaf) ** 2).sum() for leaf in jax.tree.leaves(final)), (final, ys)

    by = (0, 1) if carry is None else (0, 1, 2)
    return jax.value_and_grad(loss, by, has_aux=True)(params, xs, carry)


def assert_close(found, expected, rtol):
    """Equal up to rtol of the largest entry of each leaf: gradients of long sums have entries that cancel."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for path, leaf in jax.tree.leaves_with_path(expected):
        difference = np.abs(np.asarray(leaf) - np.asarray(dict(jax.tree.leaves_with_path(found))[path]))
        assert np.isfinite(difference).all(), path
        assert difference.max(initial=0) <= rtol * max(np.abs(leaf).max(initial=0), 1e-3), (path, difference.max())


@pytest.mark.parametrize("situation", SITUATIONS)
def test_stretches_give_the_numbers_and_gradients_of_steps(situation):
    options = SITUATIONS[situation]

    @jit
    def all_ways(params, xs, carry):
        run = functools.partial(results, CELL, params, xs, carry, **options)
        # T = 11: one stretch, or 2 of 4 and one of 3.
        return run(), run(method=Associative(None if options == {} else 4))

    by_steps, by_stretches = all_ways(PARAMS, XS, CARRY)
    assert_close(by_stretches, by_steps, rtol=2e-6)


def test_ways_of_saving_and_projecting_change_no_number():
    ways = [Associative(6, "preactivations", "before"), Associative(1, "nothing", "before")]

    @jit
    def all_ways(params, xs, carry):
        run = functools.partial(results, CELL, params, xs, carry, resets=RESETS)
        return [run(method=method) for method in (Associative(4, "everything"), *ways)]

    expected, *found = all_ways(PARAMS, XS, CARRY)
    for one in found:
        assert_close(one, expected, rtol=2e-6)


def test_nothing_grows_in_padding():
    """A state that doubles at every step overflows within T; where a sequence ends before, its gradient is finite."""

    def step(p, h, z):
        h = advance(h, p["a"], z)
        return h, h

    def initial_carry(params, batch_shape=()):
        return zeros(params, *batch_shape, 1) + 1.0

    def init(key, input_size):
        return {"W": jnp.ones((input_size, 1)), "a": jnp.ones(1)}

    cell = Cell(1, init, initial_carry, lambda p, x: dense(x, p["W"]), step, linear=True)
    params, xs = {"W": np.ones((I, 1), np.float32), "a": np.float32([2.0])}, np.ones((300, 1, I), np.float32)
    found = results(cell, params, xs, lengths=np.array([5]), method=Associative(300))
    assert_close(found, results(cell, params, xs, lengths=np.array([5])), rtol=1e-6)


def small(label):
    return CELLS[label](H, **OPTIONS.get(label, {}))


def shaken(label, dtype):
    """Initial parameters with nothing left at zero; a random carry would not be one that any sequence leads to."""
    rng = np.random.default_rng(2)
    params = small(label).init(jax.random.key(1), I)
    return jax.tree.map(lambda leaf: np.asarray(leaf + 0.1 * rng.normal(size=leaf.shape), dtype), params)


def both_methods(label, dtype, chunk):
    """Over 4096 steps: [results by scan, results by stretches]."""
    xs = np.random.default_rng(3).normal(size=(4096, 1, I)).astype(dtype)

    def run(params, xs):
        by_stretches = Associative(chunk, save="everything")
        return [results(small(label), params, xs), results(small(label), params, xs, method=by_stretches)]

    with jax.enable_x64(True):
        return jax.device_get(jit(run)(shaken(label, dtype), xs))


@pytest.mark.slow
@pytest.mark.parametrize("label", LINEAR)
def test_both_methods_agree_over_4096_steps(label):
    by_steps, by_stretches = both_methods(label, np.float64, chunk=8)
    assert_close(by_stretches, by_steps, rtol=1e-11)


# One for each kind of recurrence. A rounding is 6e-8; gradients are sums over 4096 steps, in another order, of terms
# that cancel in part: up to some hundred roundings, 2e-5 at most in these.
@pytest.mark.parametrize("label", ["mingru", "lru", "linear_lmu", "linear_attention"])
def test_both_methods_agree_in_single_precision(label):
    by_steps, by_stretches = both_methods(label, np.float32, chunk=64)
    assert_close(by_stretches, by_steps, rtol=1e-4)


def test_stretches_compose_with_stacks_and_dropout():
    cells = {
        "stack": stack(qrnn(H), lru(H), skip=True),
        "dropout in a stack": stack(dropout(mingru(H), inputs=0.3, outputs=0.3), minlstm(H)),
    }
    for cell in cells.values():
        params = cell.init(jax.random.key(0), I)
        options = {"lengths": LENGTHS, "resets": RESETS, "key": jax.random.key(5)}

        @jit
        def both(params):
            run = functools.partial(unroll, cell, params, XS, **options)
            return run(), run(method=Associative(4))

        by_steps, by_stretches = both(params)
        assert_close(by_stretches, by_steps, rtol=2e-6)


def test_a_linear_layer_among_others_runs_by_stretches():
    cells = mingru(H), lstm(H)
    plain, mixed = stack(*cells), stack(layer(cells[0], method=Associative()), cells[1])
    params = plain.init(jax.random.key(0), I)
    assert_close(mixed.apply(params, XS, lengths=LENGTHS), unroll(plain, params, XS, lengths=LENGTHS), rtol=2e-6)


def test_named_values_are_harvested_from_stretches():
    cell = minlstm(H)
    params = cell.init(jax.random.key(0), I)

    @jit
    def both(params):
        run = functools.partial(harvest, cell, params, XS, lengths=LENGTHS)
        return run(), run(method=Associative(4))

    by_steps, by_stretches = both(params)
    assert set(by_steps) == {"preactivation", "forget_gate", "input_gate"}
    assert_close(by_stretches, by_steps, rtol=2e-6)


def test_forward_mode_second_derivatives_and_vmap():
    cell = mingru(H)
    params = cell.init(jax.random.key(0), I)
    direction = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), params)
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), params)

    @jit
    def all_modes(params, direction, twice):
        def modes(**options):
            loss = lambda params: jnp.sum(jnp.sin(unroll(cell, params, XS, **options)[1]))
            slope = lambda params: jax.jvp(loss, (params,), (direction,))[1]
            return slope(params), jax.grad(slope)(params), jax.vmap(jax.grad(loss))(twice)

        return modes(), modes(method=Associative(4, save="everything"))

    by_steps, by_stretches = all_modes(params, direction, twice)
    assert_close(by_stretches, by_steps, rtol=1e-5)


@pytest.mark.parametrize("save", STRETCHES_SAVE)
def test_no_steps_at_all(save):
    carry, ys = unroll(CELL, PARAMS, XS[:0], CARRY, method=Associative(save=save))
    assert ys.shape == (0, B, 5 * H)
    assert_close(carry, CARRY, rtol=0)


def kept_bytes(num_steps, save, cell, batch_size=1):
    """Bytes kept between the forward and the backward pass beside the inputs, with the default stretches."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    xs = jax.ShapeDtypeStruct((num_steps, batch_size, I), jnp.float32)
    run = lambda params, xs: unroll(cell, params, xs, method=Associative(save=save))[1]
    kept = jax.eval_shape(lambda params, xs: jax.vjp(run, params, xs)[1], params, xs)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept)) - 4 * xs.size


def test_memory_for_a_hundred_thousand_steps():
    cell, batch_size = mingru(128), 8
    state = 4 * 128 * batch_size
    chunks = kept_bytes(100_000, "nothing", cell, batch_size)
    assert 100_000 / 700 * state < chunks < 100_000 / 200 * state + 10_000  # a carry for each of 400 stretches of 250
    named = kept_bytes(100_000, "preactivations", cell, batch_size)
    assert named - chunks == pytest.approx(100_000 * 2 * state, rel=1e-4)  # two pre-activations a step


@pytest.mark.parametrize("cell", [lstm(H), stack(mingru(H), lstm(H))], ids=["lstm", "stack"])
def test_a_cell_that_is_not_linear_is_refused(cell):
    message = r"needs a cell that is linear in its carry.*mingru.*layer\(cell, method=Associative\(\)\)"
    with pytest.raises(ValueError, match=message):
        unroll(cell, None, XS, method=Associative())


def test_the_error_names_all_kinds_there_are():
    named = {word.strip("(),") for word in LINEAR_KINDS.split()}
    assert set(LINEAR) <= named
    assert named & set(CELLS) == set(LINEAR)


def test_a_step_that_meets_its_carry_otherwise_is_refused():
    """A cell that claims to be linear and is not gives no wrong numbers."""
    cell = mingru(H)
    params = cell.init(jax.random.key(0), I)
    wrong = cell._replace(step=lambda p, h, z: (jnp.tanh(h * z[..., :H]),) * 2)
    with pytest.raises(TypeError):
        unroll(wrong, params, XS, method=Associative())
