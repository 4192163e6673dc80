"""Online learning: the step, the rule of stopping, and the program from its command to its record."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments.online import learning, main
from experiments.online.settings import PRESETS
from rnnjax import lstm_blocks, unroll
from rnnjax.tasks import make_task
from tests.reference import sigmoid

ORDER = PRESETS["order"]


def test_a_sequence_is_a_step_of_gradient_descent_on_half_the_squared_error():
    """The readout's part by hand: ∂E/∂W = h ((y − target) y (1 − y))ᵀ, with targets of ones and zeros."""
    settings = replace(ORDER, lag=20)
    online = learning.make_online(settings)
    key = jax.random.key(3)
    before = online.start(key)
    after = jax.jit(online.run)(before, key, 1)
    task = make_task("temporal_order", 20)
    example = task.sample(jax.random.fold_in(key, 0))
    cell = lstm_blocks(4, block_size=2)
    h = unroll(cell, before.params.recurrent, example.inputs, lengths=example.length)[0].h
    y = sigmoid(np.asarray(h @ before.params.W + before.params.b, np.float64))
    miss = y - np.eye(4)[example.target]
    delta = miss * y * (1 - y)
    np.testing.assert_allclose(after.params.b, before.params.b - 0.5 * delta, atol=1e-6)
    np.testing.assert_allclose(after.params.W, before.params.W - 0.5 * np.outer(h, delta), atol=1e-6)
    assert float(after.errors[0]) == pytest.approx((miss**2).sum(), rel=1e-5)
    assert (int(after.sequences), int(after.in_a_row)) == (1, 0)
    moved = jax.tree.map(lambda old, new: float(jnp.abs(new - old).max()), before.params, after.params)
    assert min(moved.recurrent) > 0


@pytest.mark.parametrize(("tolerance", "error_below", "ended"), [(2.0, 10.0, 5), (2.0, 1e-9, None), (1e-9, 10.0, None)])
def test_it_ends_where_enough_in_a_row_are_right_and_their_error_is_small(monkeypatch, tolerance, error_below, ended):
    monkeypatch.setitem(learning.TOLERANCE, "temporal_order", tolerance)
    online = learning.make_online(replace(ORDER, lag=10, in_a_row=5, error_below=error_below))
    key = jax.random.key(0)
    run = jax.jit(online.run)
    state = run(online.start(key), key, 8)
    assert int(state.sequences) == (ended or 8)
    assert bool(state.ended) == bool(ended)
    later = run(state, key, 4)
    stands_still = all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), state.params, later.params)))
    assert stands_still == bool(ended)


def test_a_test_sequence_is_wrong_where_any_output_is_off(monkeypatch):
    online = learning.make_online(replace(ORDER, lag=10))
    params = online.start(jax.random.key(0)).params
    params = params._replace(W=jnp.zeros_like(params.W), b=jnp.array([9.0, -9.0, -9.0, -9.0]))  # class 0, always
    wrong, error = jax.jit(online.test)(params, jax.random.key(1))
    assert int(wrong) == pytest.approx(0.75 * learning.NUM_TEST, abs=100)
    assert float(error) == pytest.approx(2 * int(wrong) / learning.NUM_TEST, rel=1e-2)


def test_from_the_command_to_the_record(tmp_path, capsys):
    out = tmp_path / "online"
    few = [
        "--lag",
        "11",
        "--seeds",
        "2",
        "--max-sequences",
        "40",
        "--in-a-row",
        "3",
        "--cell",
        "elman",
        "--out",
        str(out),
    ]
    assert main.main(["adding-100", *few]) == 0
    assert "not within 40" in capsys.readouterr().out
    runs = pd.read_csv(out / "runs.csv")
    learnt = runs[runs["metric"] == "sequences until it ended"]
    assert learnt["value"].isna().all()
    assert list(learnt["num_train"]) == [40, 40]
    assert set(runs["cell"]) == {"elman"}
    assert set(runs["preset"]) == {"adding-100 --lag 11 --in-a-row 3 --max-sequences 40"}
    wrong = runs[runs["metric"] == "wrong of 2,560"]
    assert (wrong["value"] > 1000).all()
    assert (wrong["chance"] == 2161).all()  # 0.5 is right for 0.675 * 0.1536 + 0.325 * 0.16 of them at T = 11
    assert "| chance |" in (out / "README.md").read_text()


def test_what_no_memory_holds_is_refused_before_any_work(capsys):
    assert main.main(["order", "--hidden-size", "65536"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --hidden-size 65536, --seeds 10, --lag 100: too large: training needs at least ")
