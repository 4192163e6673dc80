"""Params, and cells, that are not those a sequence is to be run with: refused where they are given."""

import jax
import numpy as np
import pytest

from rnnjax import bidirectional, gru, harvest, lstm, unroll

T, B, I, H = 6, 3, 4, 5


@pytest.mark.parametrize(
    ("params_of", "message"),
    [
        (gru(H), r"structure .*GRUParams.*, but those of lstm\(5\) on 4 inputs have .*LSTMParams"),
        (lstm(H, peepholes=True), "structure"),  # whose peepholes would be left out in silence
        (lstm(H + 1), r"params.W has shape \(4, 24\), but lstm\(5\) on 4 inputs needs \(4, 20\)"),
    ],
)
def test_params_of_another_cell_or_size_are_refused(params_of, message):
    params = jax.tree.map(lambda a: np.zeros(a.shape), jax.eval_shape(lambda: params_of.init(jax.random.key(0), I)))
    for run in (unroll, harvest):
        with pytest.raises(ValueError, match=message):
            run(lstm(H), params, np.zeros((T, B, I), np.float32))


def test_inputs_of_another_size_than_the_params_are_refused():
    params = jax.eval_shape(lambda: lstm(H).init(jax.random.key(0), I))
    with pytest.raises(
        ValueError, match="the input has 3 features, but these parameters were initialised for input_size 4"
    ):
        jax.eval_shape(lambda p: unroll(lstm(H), p, np.zeros((T, B, 3), np.float32)), params)


def test_a_layer_is_refused_alike():
    one = bidirectional(lstm(H))
    for name, run in (("unroll", unroll), ("harvest", harvest)):
        with pytest.raises(ValueError, match=rf"{name} needs a Cell such as lstm\(64\), got bidirectional.*own apply"):
            run(one, None, np.zeros((T, B, I), np.float32))
