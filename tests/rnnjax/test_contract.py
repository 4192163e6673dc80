"""What every cell promises, checked for each in CELLS and for some compositions.

A cell is compiled three times: one step, variations of one step, and one program for whole sequences; the tests share
them. Parameters are the initial ones, shaken so that none is zero.
"""

import functools
import importlib
import inspect
import math
import pkgutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import (
    Cell,
    LSTMCarry,
    Scan,
    deep_input,
    deep_output,
    deep_transition,
    dilated,
    dropout,
    elman,
    gru,
    gru_reset_before,
    layer_norm,
    leaky_integration,
    lstm,
    lstm_fgr,
    recurrent_start,
    residual,
    skip_through_time,
    spectral_norm,
    stack,
    truncated,
    unroll,
    weight_norm,
    zoneout,
)
from rnnjax.cell import matmul_dtype
from rnnjax.cells import CELLS, cell_options
from rnnjax.initializers import Chrono, Normal, Uniform

T, B, I, H = 8, 3, 4, 5
LENGTHS = (5, 8, 0)
ALL = (T, T, T)
# Compiled for a quick compilation: these programs run once or a few times.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
KEY = jax.random.key(3)  # what is random in a cell, and is turned off where it has to be

COMPOSITIONS = {
    "stack": stack(lstm(H), gru(H + 1)),
    "stack_skip": stack(gru(H), stack(lstm(H + 1, projection_size=2), gru(H)), skip=True),
    "lstm_projected": lstm_fgr(H, projection_size=2),
    "dropout": dropout(lstm(H), inputs=0.2, outputs=0.3, recurrent=0.4),
    "layer_norm": layer_norm(lstm(H)),
    "layer_norm_in_dropout": dropout(layer_norm(gru(H)), recurrent=0.3),
    "dropout_in_stack": stack(dropout(gru(H), recurrent=0.5), dropout(lstm(H + 1), inputs=0.5)),
    "zoneout": zoneout(lstm(H), LSTMCarry(h=0.3, c=0.5)),
    "residual_dilated": residual(dilated(gru(I), 3)),
    "weight_norm": weight_norm(gru_reset_before(H)),
    "leaky_skip": skip_through_time(leaky_integration(lstm(H), 0.5), 3),
    "truncated_spectral": truncated(spectral_norm(recurrent_start(gru(H), "rotations"), 0.9), 3),
    "deep": deep_output(deep_transition(deep_input(elman(H), 3), layers=2, shortcut=True), H),
}
SUBJECTS = sorted(CELLS) + sorted(COMPOSITIONS)
REVERSED = {"elman", "gru", "lstm", *COMPOSITIONS}  # `unroll` turns time round without knowing the cell

# (cell, path of a parameter): why the gradient of the parameter may be zero.
NO_GRADIENT: dict[tuple[str, str], str] = {
    ("urnn", ".h0"): "the learned initial state, and the sequences here start from another",
    ("full_capacity_urnn", ".h0"): "the learned initial state, and the sequences here start from another",
}


class Subject(NamedTuple):
    cell: Cell
    params: object
    xs: jax.Array
    carry: object  # where some other sequence has led
    step: object  # (params, carry, x) -> (carry, y)
    steps: dict  # variations of a step on the arguments above, each (carry, y)
    run: object  # (params, xs, carry, lengths, resets) -> {result: ...}
    traces: list  # one entry for every time `run` was traced


def shaken(params, rng):
    return jax.tree.map(lambda leaf: np.asarray(leaf) + 0.2 * rng.normal(size=leaf.shape).astype(np.float32), params)


def step_of(cell, params, carry, x, key=None):
    p = cell.prepare(params, key, x.shape)
    return cell.step(p, carry, cell.project(p, x))


@functools.cache
def subject(name) -> Subject:
    cell = CELLS[name](H) if name in CELLS else COMPOSITIONS[name]
    rng = np.random.default_rng(0)
    dys = rng.normal(size=(T, B, cell.output_size)).astype(np.float32)
    traces = []

    def run(params, xs, carry, lengths, resets):
        traces.append(name)

        def loss(params, xs, engine):
            carry_out, ys = unroll(
                cell, params, xs, carry, lengths=lengths, resets=resets, key=KEY, method=Scan(engine=engine)
            )
            return jnp.sum(ys * dys), (carry_out, ys)

        gradient = jax.value_and_grad(loss, (0, 1), has_aux=True)
        (_, (carry_out, ys)), (dparams, dxs) = gradient(params, xs, "plain")
        result = {"carry": carry_out, "ys": ys, "dparams": dparams, "dxs": dxs}
        if name in CELLS:
            result["deferred"] = gradient(params, xs, "deferred")[1]
        if name in REVERSED:
            result["reverse"] = unroll(cell, params, xs, carry, lengths=lengths, resets=resets, key=KEY, reverse=True)
        return result

    def steps(params, carry, x):
        step = functools.partial(step_of, cell)
        first = jax.tree.map(lambda leaf: leaf[0], (carry, x))
        twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1]]), (carry, x))
        with matmul_dtype(jnp.bfloat16):
            rounded = step(params, carry, x)
        return {
            "plain": step(params, carry, x),
            "unbatched": step(params, *first),
            "two axes": step(params, *twice),
            "other params": step(doubled(params), carry, x),
            "vmap": jax.vmap(step, (0, None, None))(
                jax.tree.map(lambda a, b: jnp.stack([a, b]), params, doubled(params)), carry, x
            ),
            "bfloat16": rounded,
        }

    if name in CELLS:
        params = shaken(cell.init(jax.random.key(1), I), rng)
    else:  # parts tested as cells; their initializers would take longer to compile than all the rest
        shapes = jax.eval_shape(lambda: cell.init(jax.random.key(1), I))
        params = jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape).astype(np.float32), shapes)
    xs = rng.normal(size=(T, B, I)).astype(np.float32)
    step = jit(functools.partial(step_of, cell, key=KEY))
    carry = cell.initial_carry(params, (B,))
    for x in rng.normal(size=(3, B, I)).astype(np.float32):
        carry, _ = step(params, carry, x)
    return Subject(cell, params, xs, carry, step, jit(steps)(params, carry, xs[0]), jit(run), traces)


def doubled(params):
    return jax.tree.map(lambda leaf: 2 * leaf, params)


def run(s, xs=None, carry=None, lengths=ALL, resets=None, params=None):
    """The program of a subject, with defaults for what a test does not vary."""
    return s.run(
        s.params if params is None else params,
        s.xs if xs is None else xs,
        s.carry if carry is None else carry,
        np.array(lengths, np.int32),
        np.zeros((T, B), bool) if resets is None else resets,
    )


def looped(s, lengths=ALL, resets=None, reverse=False):
    """Sequence by sequence what `unroll` should give, by a plain loop over steps: (carry, ys)."""
    initial = s.cell.initial_carry(s.params, (B,))
    ends, ys = [], np.zeros((T, B, s.cell.output_size), np.float32)
    for b, length in enumerate(lengths):
        carry = s.carry
        for t in range(length)[::-1] if reverse else range(length):
            if resets is not None and resets[t, b]:
                carry = initial
            carry, y = s.step(s.params, carry, s.xs[t])
            ys[t, b] = y[b]
        ends.append(jax.tree.map(lambda leaf: np.asarray(leaf)[b], carry))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *ends), ys


def assert_close(actual, expected, atol=2e-6):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert jnp.shape(a) == jnp.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)


def avals(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def some_resets():
    resets = np.random.default_rng(5).random((T, B)) < 0.3
    resets[0, 0] = resets[4, 1] = True
    return resets


# By scope all tests of a subject follow each other, so that one process compiles it, and once.
every_subject = pytest.mark.parametrize("name", SUBJECTS, scope="module")
every_cell = pytest.mark.parametrize("name", sorted(CELLS), scope="module")


@every_subject
def test_shapes_and_dtypes_are_stable_over_a_step(name):
    s = subject(name)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(s.params))
    for batch in ((), (B,), (2, B)):
        carry = s.cell.initial_carry(s.params, batch)
        assert all(leaf.shape[: len(batch)] == batch for leaf in jax.tree.leaves(carry))
        x = jnp.zeros((*batch, I))
        new, y = jax.eval_shape(functools.partial(step_of, s.cell), s.params, carry, x)
        assert avals(new) == avals(carry)
        assert (y.shape, y.dtype) == ((*batch, s.cell.output_size), jnp.float32)


@every_subject
def test_initial_carry_is_the_same_for_every_example(name):
    s = subject(name)
    one, many = s.cell.initial_carry(s.params, ()), s.cell.initial_carry(s.params, (2, B))
    assert_close(many, jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (2, B, *leaf.shape)), one), atol=0)


@every_subject
def test_jit_equals_eager(name):
    s = subject(name)
    assert_close(s.step(s.params, s.carry, s.xs[0]), step_of(s.cell, s.params, s.carry, s.xs[0], KEY))


@every_subject
def test_batch_axes_agree(name):
    steps = subject(name).steps
    assert_close(steps["unbatched"], jax.tree.map(lambda leaf: leaf[0], steps["plain"]))
    assert_close(steps["two axes"], jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1]]), steps["plain"]))


@every_subject
def test_vmap_over_params_equals_loop(name):
    steps = subject(name).steps
    loop = jax.tree.map(lambda a, b: jnp.stack([a, b]), steps["plain"], steps["other params"])
    assert_close(steps["vmap"], loop)


@every_subject
def test_bfloat16_products(name):
    s = subject(name)
    exact, rounded = jax.tree.leaves(s.steps["plain"]), jax.tree.leaves(s.steps["bfloat16"])
    for a, b in zip(rounded, exact, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-2)
    assert np.any(np.asarray(s.steps["bfloat16"][1]) != np.asarray(s.steps["plain"][1]))
    whole = functools.partial(unroll, s.cell, key=KEY)
    carry, ys = jax.eval_shape(functools.partial(whole, matmul_dtype=jnp.bfloat16), s.params, s.xs)
    assert (avals(carry), ys.dtype) == (avals(s.carry), jnp.float32)


@every_subject
def test_whole_sequence_equals_loop_of_steps(name):
    s = subject(name)
    result = run(s)
    assert_close((result["carry"], result["ys"]), looped(s))
    if name in REVERSED:
        assert_close(result["reverse"], looped(s, reverse=True))


@every_subject
def test_gradients_are_finite_and_not_zero(name):
    s = subject(name)
    for path, leaf in jax.tree.leaves_with_path(run(s)["dparams"]):
        assert np.isfinite(leaf).all(), path
        if (name, jax.tree_util.keystr(path)) not in NO_GRADIENT:
            assert np.abs(leaf).max() > 1e-6, path


@every_cell
def test_both_engines_give_the_same_gradients(name):
    s = subject(name)
    for result in (run(s), run(s, lengths=LENGTHS, resets=some_resets())):
        plain, deferred = (result["dparams"], result["dxs"]), result["deferred"]
        for a, b in zip(jax.tree.leaves(deferred), jax.tree.leaves(plain), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


@every_subject
def test_lengths_and_resets_equal_loop_of_steps(name):
    s = subject(name)
    resets = some_resets()
    result = run(s, lengths=LENGTHS, resets=resets)
    carry, ys = looped(s, LENGTHS, resets)
    assert_close((result["carry"], result["ys"]), (carry, ys))
    outputs = [result["ys"]]
    if name in REVERSED:
        assert_close(result["reverse"], looped(s, LENGTHS, resets, reverse=True))
        outputs.append(result["reverse"][1])
    for out in outputs:
        assert all(np.all(np.asarray(out)[length:, b] == 0) for b, length in enumerate(LENGTHS))
    # A sequence of no steps hands its carry on, bit by bit.
    for a, b in zip(jax.tree.leaves(result["carry"]), jax.tree.leaves(s.carry), strict=True):
        np.testing.assert_array_equal(a[2], b[2])


@every_subject
def test_padding_is_not_read(name):
    s = subject(name)
    padding = (np.arange(T)[:, None] >= np.array(LENGTHS))[..., None]
    clean = run(s, lengths=LENGTHS)
    assert_close(run(s, xs=np.where(padding, np.float32(np.nan), s.xs), lengths=LENGTHS), clean, atol=0)
    assert np.all(np.where(padding, clean["dxs"], 0) == 0)


@every_subject
def test_two_halves_equal_the_whole(name):
    s = subject(name)
    whole, half = run(s), T // 2
    first = run(s, lengths=[half] * B)
    second = run(s, xs=np.roll(s.xs, -half, axis=0), carry=first["carry"], lengths=[T - half] * B)
    assert_close(second["carry"], whole["carry"])
    assert_close(jnp.concatenate([first["ys"][:half], second["ys"][: T - half]]), whole["ys"])


@every_subject
def test_traced_once(name):
    s = subject(name)
    before = run(s, carry=s.cell.initial_carry(s.params, (B,)))
    run(s, carry=before["carry"], resets=some_resets())
    run(s, params=doubled(s.params), lengths=LENGTHS)
    assert len(s.traces) == 1


@every_subject
def test_dtype_follows_the_parameters_where_float64_is_enabled(name):
    s = subject(name)
    with jax.enable_x64(True):
        initial = jax.eval_shape(lambda: s.cell.init(KEY, I))
        assert {leaf.dtype for leaf in jax.tree.leaves(initial)} == {np.dtype(np.float32)}
        for dtype in (jnp.float32, jnp.float64):
            cast = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype)
            params, xs = jax.tree.map(cast, s.params), cast(s.xs)
            start = jax.eval_shape(lambda params: s.cell.initial_carry(params, (B,)), params)
            assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(start) if jnp.issubdtype(leaf.dtype, float))
            carry, ys = jax.eval_shape(lambda params, xs: unroll(s.cell, params, xs, key=KEY), params, xs)
            assert avals(carry) == avals(start)
            assert ys.dtype == dtype


@every_cell
def test_factory_has_a_docstring_and_checks_its_size(name):
    factory = CELLS[name]
    assert inspect.getdoc(factory)
    assert inspect.getdoc(factory) != inspect.getdoc(functools.partial)
    for size in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="hidden_size must be a whole number of at least 1"):
            factory(size)


@every_cell
def test_input_of_another_size_is_refused(name):
    s = subject(name)
    with pytest.raises(ValueError, match=f"the input has {I + 1} features.* initialised for input_size {I}"):
        unroll(s.cell, s.params, jnp.zeros((T, B, I + 1)))


def test_every_public_factory_is_registered():
    """A public callable of a module in rnnjax/cells that returns a Cell stands in CELLS under its own name."""
    for info in pkgutil.iter_modules(rnnjax.cells.__path__):
        module = importlib.import_module(f"rnnjax.cells.{info.name}")
        for label, value in vars(module).items():
            if label.startswith("_") or not _is_factory(value, module):
                continue
            assert CELLS.get(label) is value, f"{info.name}.{label} is not in CELLS"
            assert label in rnnjax.cells.__all__
            assert getattr(rnnjax, label) is value


def _is_factory(value, module) -> bool:
    function = value.func if isinstance(value, functools.partial) else value
    if not inspect.isfunction(function) or function.__module__ != module.__name__:
        return False
    return inspect.signature(function).return_annotation in (Cell, "Cell")


def test_every_registered_cell_is_found_as_a_factory():
    for name, factory in CELLS.items():
        function = factory.func if isinstance(factory, functools.partial) else factory
        assert _is_factory(factory, importlib.import_module(function.__module__)), name


def test_unknown_cells_and_options_are_named():
    with pytest.raises(ValueError, match="unknown cell 'lstmm'; did you mean 'lstm"):
        rnnjax.make_cell("lstmm", H)
    with pytest.raises(
        ValueError, match=r"unknown option of cell 'gru' 'forget_bias'.* known: reset_gate, update_gate"
    ):
        rnnjax.make_cell("gru", H, forget_bias=1.0)
    assert isinstance(rnnjax.make_cell("lstm_nfg", H, input_bias=-1.0), Cell)


BIASES = [
    (name, option)
    for name, factory in CELLS.items()
    for option in cell_options(factory)
    if option == "bias" or option.endswith("_bias")
]


@pytest.mark.parametrize("value", ["chrono", math.nan, math.inf, True, Chrono(math.nan), Normal(-1.0), Uniform(2, 1)])
def test_biases_that_are_none_are_refused_where_they_are_given(value):
    assert ("lstm", "input_bias") in BIASES
    for name, option in BIASES:
        with pytest.raises(ValueError, match=r"allowed: a finite number|needs"):
            CELLS[name](H, **{option: value})
    with pytest.raises(ValueError, match=r"forget_bias='chrono'; allowed: a finite number, .*Chrono\(t_max\)"):
        rnnjax.lstm(H, forget_bias="chrono")
