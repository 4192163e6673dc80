"""The deferred engine gives the gradients of the plain one, for any cell and in every mode of differentiation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Scan, dropout, elman, gru, gru_reset_before, layer_norm, lstm, lstm_fgr, lstm_vanilla, stack, unroll
from rnnjax.chunks import checkpoint_interval, chunk_size

T, B, I = 11, 3, 2
RNG = np.random.default_rng(0)
XS = RNG.normal(size=(T, B, I)).astype(np.float32)
LENGTHS = np.array([5, 11, 0])
RESETS = RNG.random((T, B)) < 0.3
CELLS = {
    "elman": elman(4),
    "gru": gru(4),
    "gru_reset_before": gru_reset_before(4),
    "lstm_vanilla": lstm_vanilla(4),
    "lstm_fgr": lstm_fgr(3, projection_size=2),
    "layer_norm": layer_norm(lstm(4)),
    "stack": stack(gru(3), lstm(2, projection_size=2)),
    "dropout": dropout(lstm(4), inputs=0.3, outputs=0.2, recurrent=0.4),
}


@functools.cache
def params_of(name):
    """Initial parameters, shaken so that none is zero."""
    params = CELLS[name].init(jax.random.key(0), I)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda a: np.asarray(a) + 0.1 * rng.normal(size=a.shape).astype(np.float32), params)


def loss(name, params, xs, scale, method, **options):
    cell = CELLS[name]
    carry = jax.tree.map(lambda a: a + scale, cell.initial_carry(params, (B,)))
    carry, ys = unroll(cell, params, xs, carry, key=jax.random.key(2), method=method, **options)
    return jnp.sum(jnp.sin(ys)) + sum(jnp.sum(jnp.cos(leaf)) for leaf in jax.tree.leaves(carry))


def assert_close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), found, expected)


WAYS = {  # fields of Scan, arguments of unroll
    "as it is": ({}, {}),
    "lengths and resets": ({}, {"lengths": LENGTHS, "resets": RESETS}),
    "reverse": ({}, {"reverse": True, "resets": RESETS}),
    "nothing saved": ({"save": "nothing"}, {}),
    "chunks": ({"save": "chunks"}, {}),
    "projected before": ({"project": "before"}, {}),
}


SOME = ("as it is", "lengths and resets")  # of every cell; the other ways know nothing of the cell


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in CELLS for way in (WAYS if name in ("lstm_vanilla", "stack") else SOME)]
)
def test_gradients_by_parameters_inputs_and_carry_are_those_of_the_plain_engine(name, way):
    fields, options = WAYS[way]

    @jax.jit
    def both(params, xs, scale):
        losses = [
            functools.partial(loss, name, method=Scan(engine=engine, **fields), **options)
            for engine in ("deferred", "plain")
        ]
        return [jax.value_and_grad(one, (0, 1, 2))(params, xs, scale) for one in losses]

    assert_close(*both(params_of(name), XS, 0.1))


def test_forward_second_derivatives_and_vmap_over_parameters():
    name = "lstm_vanilla"
    params = params_of(name)
    direction = jax.tree.map(lambda a: RNG.normal(size=a.shape).astype(np.float32), params)
    several = jax.tree.map(lambda a: np.stack([a, 0.5 * a]), params)

    @jax.jit
    def all_of_them(params, direction, several):
        results = []
        for engine in ("deferred", "plain"):
            f = functools.partial(loss, name, xs=XS, scale=0.1, method=Scan(engine=engine))
            gradient = jax.grad(f)
            results.append(
                {
                    "forward": jax.jvp(f, (params,), (direction,))[1],
                    "forward over reverse": jax.jvp(gradient, (params,), (direction,))[1],
                    "vmap": jax.vmap(gradient)(several),
                    "checkpoint": jax.grad(jax.checkpoint(f))(params),
                }
            )
        return results

    assert_close(*all_of_them(params, direction, several))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("save", ["preactivations", "chunks"])
def test_steps_that_no_chunk_size_divides(reverse, save):
    xs = np.random.default_rng(3).normal(size=(37, B, I)).astype(np.float32)

    def gradient(engine):
        method = Scan(save, engine)
        return jax.grad(loss, (1, 2))("gru", params_of("gru"), xs, 0.1, method, reverse=reverse)

    assert_close(gradient("deferred"), gradient("plain"))


def test_a_chunk_divides_the_steps_where_it_can():
    assert [chunk_size(T, 8) for T in (80, 96, 100, 784, 22, 7)] == [8, 8, 10, 8, 11, 7]
    assert chunk_size(37, 8) == 8
    assert [checkpoint_interval(T) for T in (80, 96, 192, 784, 100_000, 0)] == [8, 8, 12, 28, 250, 1]


def products(cell, engine):
    """How many matrix products one gradient takes."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))

    def objective(params, xs):
        return jnp.sum(unroll(cell, params, xs, method=Scan(engine=engine))[1] ** 2)

    def count(jaxpr):
        found = 0
        for equation in jaxpr.eqns:
            found += equation.primitive.name == "dot_general"
            for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    found += count(inner) * equation.params.get("length", 1)
        return found

    return count(jax.make_jaxpr(jax.grad(objective))(params, jax.ShapeDtypeStruct((T, B, I), np.float32)).jaxpr)


@pytest.mark.parametrize("cell", [elman(4), lstm(4)], ids=["elman", "lstm"])
def test_no_product_is_done_again_or_added_up_step_by_step(cell):
    """Plain: x W, h U and dz U', x' dz, h' dz at every step. Deferred: the last two only once for several steps."""
    assert products(cell, "plain") == 5 * T
    assert 3 * T < products(cell, "deferred") <= 3 * T + 4


@pytest.mark.parametrize(("cell", "stored"), [(elman(32), 1), (lstm(32), 6)], ids=["elman", "lstm"])
def test_what_the_output_tells_is_not_stored(cell, stored):
    """Beside the gradient of the outputs: a tanh RNN keeps its outputs, an LSTM also c and the four pre-activations."""
    num_steps, batch = 160, 8
    params = cell.init(jax.random.key(0), I)
    xs = jnp.zeros((num_steps, batch, I))

    def gradient(params):
        return jax.grad(lambda params: jnp.mean(unroll(cell, params, xs, method=Scan(engine="deferred"))[1] ** 2))(
            params
        )

    memory = jax.jit(gradient).lower(params).compile().memory_analysis()
    if memory is None:
        pytest.skip("this backend does not tell")
    assert stored + 1 <= memory.temp_size_in_bytes / (num_steps * batch * 32 * 4) < stored + 1.7


@pytest.mark.parametrize(
    ("hidden_size", "batch", "save", "chosen"),
    [
        (64, (16,), "preactivations", "deferred"),
        (64, (2, 8), "nothing", "deferred"),
        (64, (), "preactivations", "deferred"),
        (64, (17,), "preactivations", "plain"),  # many sequences
        (128, (256,), "preactivations", "deferred"),  # not too many for weights of this size
        (128, (257,), "preactivations", "plain"),
        (32, (8,), "preactivations", "plain"),  # small weights
        (64, (8,), "everything", "plain"),
    ],
)
def test_auto_defers_on_a_cpu_where_it_pays(hidden_size, batch, save, chosen):
    params = {"U": np.zeros((hidden_size, hidden_size), np.float32), "b": np.zeros(hidden_size, np.float32)}
    assert Scan(save=save).engine_for(params, batch) == chosen
    assert Scan(save=save, engine="plain").engine_for(params, batch) == "plain"
