"""Methods of `unroll`: their fields are checked where they are made, and one from outside needs no leave."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Associative, Scan, gru, mingru, unroll
from rnnjax.methods import ENGINE, PROJECT, SAVE, STRETCHES_SAVE

T, B, I, H = 6, 3, 2, 4
XS = np.random.default_rng(0).normal(size=(T, B, I)).astype(np.float32)
CELL = gru(H)
PARAMS = CELL.init(jax.random.key(0), I)

WRONG = {
    "save": (lambda: Scan(save="chunk"), "unknown save 'chunk'; did you mean 'chunks'"),
    "engine": (lambda: Scan(engine="defered"), "unknown engine 'defered'; did you mean 'deferred'"),
    "project": (lambda: Scan(project="after"), "unknown project 'after'; known: auto, inside, before"),
    "two fields": (lambda: Scan(save="everything", engine="deferred"), "it needs engine='plain' or 'auto'"),
    "save of stretches": (
        lambda: Associative(save="chunks"),
        "unknown save 'chunks'; known: preactivations, nothing, everything",
    ),
    "project of stretches": (lambda: Associative(project="befor"), "unknown project 'befor'; did you mean 'before'"),
    "no chunk": (lambda: Associative(chunk=0), "chunk must be a whole number of at least 1, got 0"),
    "half a chunk": (lambda: Associative(chunk=2.5), "chunk must be a whole number of at least 1, got 2.5"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_field_that_cannot_be_is_named_where_the_method_is_made(case):
    make, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "associative",
            r"method='associative': a method is an object such as Associative\(\); from rnnjax",
        ),
        ("scan", r"method='scan': a method is an object such as Scan\(\); from rnnjax import Scan"),
        (Associative, r"a method is an object such as Associative\(\)"),
        (None, r"method=None: a method is an object such as Scan\(\)"),
    ],
)
def test_what_is_no_method_is_told_what_one_is(given, message):
    with pytest.raises(ValueError, match=message):
        unroll(CELL, PARAMS, XS, method=given)


def test_fields_are_those_documented():
    assert all(f'"{word}"' in Scan.__doc__ for word in SAVE + ENGINE + PROJECT)
    assert all(f'"{word}"' in Associative.__doc__ for word in STRETCHES_SAVE)


def test_methods_that_are_equal_compile_once():
    traces = []

    def run(params, xs, method):
        traces.append(method)
        return unroll(mingru(H), params, xs, method=method)[1]

    run = jax.jit(run, static_argnames="method")
    params = mingru(H).init(jax.random.key(0), I)
    for method in (Scan(), Scan(), Associative(2), Associative(chunk=2), Scan(save="nothing")):
        run(params, XS, method=method)
    assert traces == [Scan(), Associative(2), Scan(save="nothing")]


@dataclass(frozen=True)
class Loop:
    """Steps written out one after the other, with the number of steps handed on beside the carry."""

    before: bool

    def check(self, cell):
        if cell.output_size != H:
            raise ValueError(f"Loop is for {H} units")

    def projects_before(self):
        return self.before

    def run(self, recurrence, carry, inputs, num_steps, reverse):
        assert recurrence.batch_shape == (B,)
        assert recurrence.params is PARAMS
        ys = {}
        for t in reversed(range(num_steps)) if reverse else range(num_steps):
            carry, ys[t] = recurrence.step(carry, jax.tree.map(lambda leaf: leaf[t], inputs))
        return (carry, num_steps), jnp.stack([ys[t] for t in range(num_steps)])


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, np.array([4, 6, 0])])
def test_a_method_from_outside_gives_what_a_scan_gives(before, reverse, lengths):
    resets = np.random.default_rng(1).random((T, B)) < 0.3
    options = {"lengths": lengths, "resets": resets, "reverse": reverse}
    (carry, num_steps), ys = unroll(CELL, PARAMS, XS, method=Loop(before), **options)
    assert num_steps == T
    expected = unroll(CELL, PARAMS, XS, **options)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), (carry, ys), expected)


def test_a_method_from_outside_refuses_cells_itself():
    with pytest.raises(ValueError, match="Loop is for 4 units"):
        unroll(gru(H + 1), PARAMS, XS, method=Loop(before=True))
