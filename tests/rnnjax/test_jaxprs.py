"""What is read of a step: calls are written out, programs that run otherwise are taken whole, unknown ones are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import mlir

from rnnjax import Scan, elman, harvest, unroll
from rnnjax.cell import name
from rnnjax.jaxprs import recurrent_leaves, write_out

T, B, I, H = 4, 2, 3, 5
CELL = elman(H)
PARAMS = CELL.init(jax.random.key(0), I)
XS = np.random.default_rng(0).normal(size=(T, B, I)).astype(np.float32)


def doubling_call():
    """A primitive that holds a program, of which nobody here has heard."""
    call = Primitive("novel_call")
    body = jax.make_jaxpr(lambda h: 2 * h)(jnp.zeros((B, H)))
    call.def_impl(lambda h, program: 2 * h)
    call.def_abstract_eval(lambda h, program: h)
    mlir.register_lowering(call, mlir.lower_fun(lambda h, program: 2 * h, multiple_results=False))
    return lambda h: call.bind(h, program=body)


def through(function):
    """The cell, with a function of its state at the end of each step."""

    def step(p, h, z):
        h = function(CELL.step(p, h, z)[0])
        return h, h

    return CELL._replace(step=step)


def kinds(function, *args):
    program = write_out(jax.make_jaxpr(function)(*args).jaxpr, 1, 1)
    return [equation.kind for equation in program.equations]


def test_calls_are_written_out():
    inner = jax.jit(lambda x: jnp.sin(x) + 1)
    assert kinds(jax.jit(lambda x: jnp.cos(inner(x))), 1.0) == ["sin", "add", "cos"]


@jax.custom_jvp
def ruled(x):
    return jnp.sin(x)


ruled.defjvp(lambda primals, tangents: (ruled(*primals), tangents[0]))

WHOLE = {
    "scan": lambda x: lax.scan(lambda c, _: (jnp.sin(c), None), x, length=2)[0],
    "while": lambda x: lax.while_loop(lambda c: c < 1, jnp.sin, x),
    "cond": lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x),
    "custom_jvp_call": ruled,
    "remat2": jax.checkpoint(jnp.sin),
    "scatter-add": lambda x: jnp.zeros(2).at[0].add(x),
    "shard_map": lambda x: jax.shard_map(
        jnp.sin, mesh=jax.make_mesh((1,), ("all",)), in_specs=jax.P(), out_specs=jax.P()
    )(x),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_programs_that_run_otherwise_are_taken_whole(kind):
    found = kinds(WHOLE[kind], 0.5)
    assert kind in found
    assert "sin" not in found


@pytest.mark.parametrize("look", [harvest, lambda *args: unroll(*args, method=Scan(engine="deferred"))])
def test_a_primitive_with_an_unknown_program_is_named(look):
    cell = through(doubling_call())
    with pytest.raises(NotImplementedError, match=r"'novel_call', which holds a program of its own.*engine='plain'"):
        look(cell, PARAMS, XS)


def test_the_plain_engine_does_without_reading_the_step():
    method = Scan(engine="plain", save="everything")
    found = unroll(through(doubling_call()), PARAMS, XS, method=method)[1]
    np.testing.assert_allclose(found, unroll(through(lambda h: 2 * h), PARAMS, XS)[1], rtol=1e-6)


def test_names_are_seen_in_calls_and_recomputed_programs_and_not_in_loops():
    def function(h):
        h = jax.jit(lambda h: name(h, "in a call"))(h)
        h = jax.checkpoint(lambda h: name(jnp.sin(h), "recomputed"))(h)
        return lax.fori_loop(0, 2, lambda _, h: name(h, "in a loop"), h)

    found = harvest(through(function), PARAMS, XS)
    assert set(found) == {"preactivation", "in a call", "recomputed"}
    np.testing.assert_allclose(found["recomputed"], np.sin(found["in a call"]), rtol=1e-6)


def test_recurrent_leaves_are_those_a_product_with_the_state_is_made_of():
    found = jax.tree.unflatten(jax.tree.structure(PARAMS), recurrent_leaves(CELL, PARAMS, I))
    assert found == PARAMS._replace(**dict.fromkeys(PARAMS._fields, False))._replace(U=True)
