"""The engine: every way of saving and projecting gives the same numbers, and its arguments are checked."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Scan, dropout, elman, layer, lstm, lstm_vanilla, unroll
from rnnjax.cell import intercept_recur, matmul_dtype, recur
from rnnjax.methods import SAVE

B, I, H = 3, 4, 5
EVERY_MODE = list(itertools.product(SAVE, ("inside", "before")))
MODES = list(zip(SAVE, ("before", "inside", "before", "inside"), strict=True))
CELL = lstm_vanilla(H)
PARAMS = CELL.init(jax.random.key(0), I)


def make_xs(T, *batch, seed=1):
    return np.random.default_rng(seed).normal(size=(T, *batch, I)).astype(np.float32)


def value_and_gradients(cell, params, xs, carry, **options):
    """(ys, carry) and the derivatives of Σ sin(ys) + Σ cos(carry) by params, xs and carry, compiled."""

    def loss(params, xs, carry):
        final, ys = unroll(cell, params, xs, carry, **options)
        return jnp.sin(ys).sum() + sum(jnp.cos(leaf).sum() for leaf in jax.tree.leaves(final)), (ys, final)

    quick = {"xla_backend_optimization_level": 0}  # to compile: each of these programs runs once
    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True), compiler_options=quick)(params, xs, carry)


def assert_close(actual, expected, atol=2e-6):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)


def resets_for(T):
    return np.random.default_rng(2).random((T, B)) < 0.3


# T = 7 leaves a remainder in chunks of 3, 9 leaves none, 1 is one chunk of one step.
SITUATIONS = {
    "plain": (7, {}),
    "square": (9, {"reverse": True}),
    "reverse": (7, {"reverse": True}),
    "one step": (1, {}),
    "lengths and resets": (7, {"lengths": np.array([4, 7, 0]), "resets": resets_for(7)}),
    "all at once": (7, {"lengths": np.array([6, 1, 3]), "resets": resets_for(7), "reverse": True}),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_saving_and_projecting_change_no_number(situation):
    T, options = SITUATIONS[situation]
    carry = jax.tree.map(lambda leaf: leaf + 0.3, CELL.initial_carry(PARAMS, (B,)))
    modes = EVERY_MODE if situation == "lengths and resets" else MODES
    results = {
        mode: value_and_gradients(CELL, PARAMS, make_xs(T, B), carry, method=Scan(mode[0], project=mode[1]), **options)
        for mode in modes
    }
    expected = results.pop(modes[-1])
    for mode, result in results.items():
        try:
            assert_close(result, expected)
        except AssertionError as error:
            raise AssertionError(f"{mode} differs from {modes[-1]}") from error


@pytest.mark.parametrize("save", SAVE)
def test_no_steps_at_all(save):
    carry = jax.tree.map(lambda leaf: leaf + 0.3, CELL.initial_carry(PARAMS, (B,)))
    final, ys = unroll(CELL, PARAMS, make_xs(0, B), carry, method=Scan(save))
    assert ys.shape == (0, B, H)
    assert_close(final, carry, atol=0)


def saved_bytes(T, **options):
    """Bytes kept between the forward and the backward pass, by what jax.vjp carries over."""
    xs = jax.ShapeDtypeStruct((T, B, I), jnp.float32)
    run = lambda params, xs: unroll(CELL, params, xs, **options)[1]
    kept = jax.eval_shape(lambda params, xs: jax.vjp(run, params, xs)[1], PARAMS, xs)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


def test_each_way_of_saving_keeps_less():
    kept = {save: saved_bytes(1024, method=Scan(save)) for save in SAVE}
    assert kept["preactivations"] < 0.6 * kept["everything"]
    assert kept["nothing"] < 0.6 * kept["preactivations"]
    assert kept["chunks"] < 0.5 * kept["nothing"]


def test_preactivations_are_kept_once_beside_the_carry_and_the_input():
    per_step = (saved_bytes(1024) - saved_bytes(512)) / 512
    assert per_step == 4 * B * (4 * H + 2 * H + I)


def test_chunks_grow_as_the_square_root():
    beside_xs = [saved_bytes(T, method=Scan("chunks")) - 4 * T * B * I for T in (256, 1024, 4096)]
    first, second = np.diff(beside_xs)
    assert second == pytest.approx(2 * first, rel=0.1)  # sqrt(4096) - sqrt(1024) = 2 (sqrt(1024) - sqrt(256))


def test_reverse_is_forward_on_the_reversed_sequence():
    xs, resets = make_xs(7, B), resets_for(7)
    carry, ys = unroll(CELL, PARAMS, xs, resets=resets, reverse=True)
    expected_carry, expected = unroll(CELL, PARAMS, xs[::-1], resets=resets[::-1])
    assert_close((carry, ys[::-1]), (expected_carry, expected), atol=1e-6)


def test_reverse_within_lengths_is_each_sequence_alone():
    xs, resets, lengths = make_xs(7, B), resets_for(7), (4, 7, 2)
    carry, ys = unroll(CELL, PARAMS, xs, lengths=np.array(lengths), resets=resets, reverse=True)
    for b, length in enumerate(lengths):
        final, alone = unroll(CELL, PARAMS, xs[:length, b], resets=resets[:length, b], reverse=True)
        assert_close((jax.tree.map(lambda leaf: leaf[b], carry), ys[:length, b]), (final, alone))
        assert np.all(ys[length:, b] == 0)


def test_a_reset_starts_a_sequence_anew():
    xs = make_xs(7, B)
    resets = np.zeros((7, B), bool)
    resets[3] = True
    carry = jax.tree.map(lambda leaf: leaf + 5.0, CELL.initial_carry(PARAMS, (B,)))
    _, ys = unroll(CELL, PARAMS, xs, carry, resets=resets)
    assert_close(ys[:3], unroll(CELL, PARAMS, xs[:3], carry)[1])
    assert_close(ys[3:], unroll(CELL, PARAMS, xs[3:])[1])


def test_no_gradient_passes_a_reset():
    resets = np.zeros((7, B), bool)
    resets[3] = True
    last = lambda xs: unroll(CELL, PARAMS, xs, resets=resets)[1][-1].sum()
    by_xs = jax.grad(last)(jnp.asarray(make_xs(7, B)))
    assert np.all(by_xs[:3] == 0)
    assert np.all(np.abs(by_xs[3:]).sum((1, 2)) > 0)


@pytest.mark.parametrize("batch", [(), (B,), (2, B)])
def test_batch_axes_with_lengths_and_resets(batch):
    rng = np.random.default_rng(3)
    xs, lengths = make_xs(7, *batch), rng.integers(0, 8, batch)
    resets = rng.random((7, *batch)) < 0.3
    carry, ys = unroll(CELL, PARAMS, xs, lengths=lengths, resets=resets, reverse=True)
    assert ys.shape == (7, *batch, H)
    for b in np.ndindex(*batch):
        n, at = lengths[b], (slice(None), *b)
        final, alone = unroll(CELL, PARAMS, xs[at][:n], resets=resets[at][:n], reverse=True)
        assert_close((jax.tree.map(lambda leaf: leaf[b], carry), ys[at][:n]), (final, alone))


def test_lists_numpy_and_small_integers_are_taken():
    xs = make_xs(7, B)
    resets = resets_for(7)
    expected = unroll(CELL, PARAMS, xs, lengths=jnp.array([4, 7, 2]), resets=jnp.asarray(resets), reverse=True)
    for lengths in ([4, 7, 2], np.array([4, 7, 2], np.uint8), np.array([4, 7, 2], np.int64)):
        given = resets.tolist() if isinstance(lengths, list) else resets
        assert_close(unroll(CELL, PARAMS, xs, lengths=lengths, resets=given, reverse=True), expected, atol=0)


def test_lengths_may_be_traced():
    xs = make_xs(7, B)
    run = jax.jit(lambda lengths: unroll(CELL, PARAMS, xs, lengths=lengths))
    assert_close(run(jnp.array([4, 7, 2])), unroll(CELL, PARAMS, xs, lengths=[4, 7, 2]))


@pytest.mark.parametrize("as_array", [list, np.array, jnp.array])
def test_lengths_known_inside_jit_are_checked(as_array):
    short, long = as_array([4, 7, 2]), as_array([4, 7, 8])
    run = lambda xs, lengths: jax.eval_shape(lambda xs: unroll(CELL, PARAMS, xs, lengths=lengths)[1], xs)
    assert run(make_xs(7, B), short).shape == (7, B, H)
    with pytest.raises(ValueError, match="lengths must lie between 0 and T = 7, got 4 to 8"):
        run(make_xs(7, B), long)


def test_nan_in_padding_reaches_no_gradient():
    lengths = np.array([4, 7, 2])
    xs = make_xs(7, B)
    spoiled = np.where((np.arange(7)[:, None] < lengths)[..., None], xs, np.float32(np.nan))
    carry = CELL.initial_carry(PARAMS, (B,))
    for options in ({}, {"reverse": True, "method": Scan(project="before")}):
        clean = value_and_gradients(CELL, PARAMS, xs, carry, lengths=lengths, **options)
        assert_close(value_and_gradients(CELL, PARAMS, spoiled, carry, lengths=lengths, **options), clean, atol=0)


def test_forward_mode_passes():
    xs = make_xs(7, B)
    run = lambda xs: unroll(CELL, PARAMS, xs)[1]
    _, forward = jax.jvp(run, (xs,), (np.ones_like(xs),))
    small = 1e-2
    numeric = (run(xs + small) - run(xs - small)) / (2 * small)
    assert_close(forward, numeric, atol=2e-3)


def test_matmul_dtype_ends_with_its_block():
    with matmul_dtype(jnp.bfloat16):
        rounded = unroll(CELL, PARAMS, make_xs(3, B))[1]  # unroll sets its own: None
    assert_close(rounded, unroll(CELL, PARAMS, make_xs(3, B))[1], atol=0)
    h, U = make_xs(1)[0], np.full((I, 2), 1 / 3, np.float32)
    exact = recur(h, U)
    with matmul_dtype(jnp.bfloat16):
        assert np.any(np.asarray(recur(h, U)) != np.asarray(exact))
    assert_close(recur(h, U), exact, atol=0)


def test_interceptions_nest_from_the_inside_out():
    h, U = np.ones((2, 2), np.float32), np.eye(2, dtype=np.float32)
    with intercept_recur(lambda product, h, U: product(h, U) + 1):  # outer: sees what the inner one hands on
        with intercept_recur(lambda product, h, U: 10 * product(2 * h, U)):
            np.testing.assert_array_equal(recur(h, U), 10 * (2 * h + 1))
        np.testing.assert_array_equal(recur(h, U), h + 1)
    np.testing.assert_array_equal(recur(h, U), h)


def test_a_jitted_helper_inside_a_step_sees_dtype_and_masks():
    """jax.jit keeps what it traced; the contexts are part of its key, so nothing stale comes back."""
    product = jax.jit(recur)

    def step(p, h, z):
        h = jnp.tanh(z + product(h, p.U))
        return h, h

    plain = elman(H)
    params, xs = plain.init(jax.random.key(0), I), make_xs(7, B)
    helped = plain._replace(step=step)
    for options in ({}, {"matmul_dtype": jnp.bfloat16}, {}):
        assert_close(unroll(helped, params, xs, **options), unroll(plain, params, xs, **options))
    key = jax.random.key(1)
    dropped = [unroll(dropout(cell, recurrent=0.5), params, xs, key=key) for cell in (helped, plain)]
    assert_close(*dropped)
    assert_close(unroll(helped, params, xs), unroll(plain, params, xs))


def test_auto_projects_inside_on_the_cpu(monkeypatch):
    shapes = []

    def project(p, x):
        shapes.append(x.shape)
        return CELL.project(p, x)

    watched = CELL._replace(project=project)
    for backend, shape in (("cpu", (B, I)), ("gpu", (7, B, I))):
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        shapes.clear()
        jax.eval_shape(lambda: unroll(watched, PARAMS, make_xs(7, B)))
        assert set(shapes) == {shape}


ERRORS = {
    "cell": (
        {"cell": layer(CELL)},
        r"unroll needs a Cell such as lstm\(64\), got layer\(lstm.*; a Layer has its own apply",
    ),
    "factory": ({"cell": lstm}, "unroll needs a Cell"),
    "xs": ({"xs": np.zeros(7)}, r"xs must be \[T, \*batch, input_size\], got shape \(7,\)"),
    "input size": (
        {"xs": np.zeros((7, B, 9), np.float32)},
        "the input has 9 features, but these parameters were initialised for input_size 4",
    ),
    "lengths shape": (
        {"lengths": np.array([1, 2])},
        r"lengths must be \[\*batch\] = \(3,\) for xs \(7, 3, 4\), got \(2,\)",
    ),
    "lengths dtype": ({"lengths": np.ones(B, np.float32)}, "lengths must be integers, got float32"),
    "lengths low": ({"lengths": [-1, 2, 3]}, "lengths must lie between 0 and T = 7, got -1 to 3"),
    "lengths high": ({"lengths": [1, 2, 8]}, "lengths must lie between 0 and T = 7, got 1 to 8"),
    "resets": (
        {"resets": np.zeros(B, bool)},
        r"resets must be \[T, \*batch\] = \(7, 3\) for xs \(7, 3, 4\), got \(3,\)",
    ),
    "carry structure": (
        {"carry": np.zeros((B, H))},
        r"the carry has the structure PyTreeDef\(\*\), but this cell's is .*namedtuple\[LSTMCarry\]",
    ),
    "carry shape": (
        {"carry": CELL.initial_carry(PARAMS, (2,))},
        r"the carry has a leaf of shape \(2, 5\) where this cell and batch need \(3, 5\)",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_arguments_that_do_not_fit_are_named(case):
    arguments, message = ERRORS[case]
    arguments = {"cell": CELL, "params": PARAMS, "xs": make_xs(7, B)} | arguments
    with pytest.raises(ValueError, match=message):
        unroll(**arguments)
