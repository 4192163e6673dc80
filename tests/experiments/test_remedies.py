"""Remedies against plain equations: cells from cells, terms of the loss, the sweep and its report."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments.remedies import ALL, main, reading as remedies_report
from experiments.shared.cells import build_cell
from experiments.sweep.spec import Trial
from experiments.sweep.tables.table import best_rows
from experiments.sweep.trials.terms import terms_of
from rnnjax import elman, gru, lstm, stack, unroll
from rnnjax.intercept import intercept_unroll
from rnnjax.models.model import make_model
from rnnjax.tasks import make_task
from rnnjax.training.losses import omega, reconstruction
from rnnjax.training.optimizers import Hyper
from rnnjax.training.train import TRAINING, _batches, make_data, make_trainer
from rnnjax.wrappers.gradient import STARTS, recurrent_start, truncated
from rnnjax.wrappers.norms import spectral_norm
from rnnjax.wrappers.skips import leaky_integration, skip_through_time

T, B, I, H = 7, 2, 3, 4
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def xs():
    return np.random.default_rng(0).normal(size=(T, B, I)).astype(np.float32)


@pytest.fixture(scope="module")
def params():
    """Of an Elman network, none of them zero."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: elman(H).init(jax.random.key(0), I))
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def outputs(cell, params, xs):
    return jit(lambda params, xs: unroll(cell, params, xs)[1])(params, xs)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-6)


# --- cells from cells ------------------------------------------------------------------------------------------------


def test_leaky_integration_moves_by_a_share(params, xs):
    h, expected = np.zeros((B, H)), []
    for x in xs:
        h = 0.7 * h + 0.3 * np.tanh(x @ params.W + h @ params.U + params.b)
        expected.append(h)
    close(outputs(leaky_integration(elman(H), 0.3), params, xs), expected)


def test_skip_through_time_adds_what_was_some_steps_before(params, xs):
    cell, skip = skip_through_time(elman(H), 3), 3
    own = jit(lambda key: cell.init(key, I))(jax.random.key(0))
    assert [V.shape for V in own.V] == [(H, H)]
    V = np.asarray(own.V[0])
    states, zero = [], np.zeros((B, H))
    for t, x in enumerate(xs):
        before, earlier = (states[t - k] if t >= k else zero for k in (1, skip))
        states.append(np.tanh(x @ params.W + before @ params.U + earlier @ V + params.b))
    close(outputs(cell, own._replace(cell=params), xs), states)


def test_spectral_norm_holds_every_block_at_the_limit(params, xs):
    largest = np.linalg.svd(params.U, compute_uv=False)[0]
    scaled = params._replace(U=0.8 * params.U / largest)
    close(outputs(spectral_norm(elman(H), 0.8), params, xs), outputs(elman(H), scaled, xs))
    cell = spectral_norm(gru(H), 0.8)
    p = jit(lambda key: cell.prepare(cell.init(key, I), None, (I,)))(jax.random.key(0))
    blocks = [leaf for leaf in jax.tree.leaves(p) if leaf.ndim == 2 and leaf.shape[0] == H]
    assert blocks
    for leaf in blocks:
        for block in np.split(np.asarray(leaf), leaf.shape[1] // H, axis=1):
            close(np.linalg.svd(block, compute_uv=False)[0], 0.8)


def test_recurrent_start_replaces_the_recurrent_matrices_alone():
    key = jax.random.key(0)
    made = jit(lambda key: {start: recurrent_start(elman(H), start).init(key, I) for start in STARTS})(key)
    for own in made.values():
        close(own.W, made["glorot"].W)
    close(made["identity"].U, np.eye(H))
    for start in ("orthogonal", "rotations"):
        U = np.asarray(made[start].U)
        close(U @ U.T, np.eye(H))
        assert np.abs(U - np.eye(H)).max() > 0.1
    assert np.abs(made["glorot"].U).max() <= math.sqrt(3 / H)
    packed = jit(lambda key: recurrent_start(lstm(H), "identity", 0.5).init(key, I))(key)
    close(packed.U, 0.5 * np.tile(np.eye(H), 4))


def test_truncated_cuts_the_gradient_and_nothing_else(params, xs):
    cell = truncated(elman(H), 3)
    close(outputs(cell, params, xs), outputs(elman(H), params, xs))
    dxs = jit(jax.grad(lambda xs: jnp.sum(unroll(cell, params, xs)[1][-1])))(xs)
    reached = np.abs(dxs).max(axis=(1, 2)) > 0
    assert list(reached) == [False] * 6 + [True]  # the cuts are before steps 0, 3 and 6
    dxs = jit(jax.grad(lambda xs: jnp.sum(unroll(cell, params, xs)[1][-2])))(xs)
    assert list(np.abs(dxs).max(axis=(1, 2)) > 0) == [False] * 3 + [True] * 3 + [False]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: leaky_integration(elman(H), 0.0), "alpha=0.0 must lie in"),
        (lambda: skip_through_time(elman(H), 1), "it must be at least 2"),
        (lambda: spectral_norm(elman(H), 0.0), "limit must be above 0, got 0.0"),
        (lambda: recurrent_start(elman(H), "ortogonal"), "unknown start 'ortogonal'; did you mean 'orthogonal'"),
        (lambda: truncated(elman(H), 0), "steps must be a whole number of at least 1"),
        (lambda: spectral_norm(build_cell("indrnn", H, T)).init(jax.random.key(0), I), "meets no square matrix"),
        (lambda: skip_through_time(build_cell("indrnn", H, T), 2).init(jax.random.key(0), I), "meets no matrix"),
        (lambda: trainer(omega=-1.0), "omega=-1.0 must be 0 or above"),
        (
            lambda: trainer(auxiliary=1.0, auxiliary_lag=5),
            "auxiliary_lag=5 must be of absolute value below the 5 steps",
        ),
    ],
)
def test_what_does_not_fit_is_named(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


# --- terms of the loss -----------------------------------------------------------------------------------------------


def test_omega_and_its_immediate_gradient_equal_the_equation(params, xs):
    W, U, b = (np.asarray(leaf, np.float64) for leaf in params)
    states = [np.zeros((B, H))]
    for x in xs:
        states.append(np.tanh(x @ W + states[-1] @ U + b))
    gradients = [np.ones((B, H))]  # of the sum of the last output
    for h in states[:1:-1]:
        gradients.insert(0, (gradients[0] * (1 - h**2)) @ U.T)

    def by_hand(U):
        total = 0.0
        for x, before, gradient in zip(xs, states[:-1], gradients, strict=True):
            after = np.tanh(x @ W + before @ U + b)
            back = (gradient * (1 - after**2)) @ U.T
            total += ((np.linalg.norm(back, axis=-1) / np.linalg.norm(gradient, axis=-1) - 1) ** 2).mean()
        return total

    def by_cell(params, xs):
        return omega(elman(H), params, xs, lambda ys: jnp.sum(ys[-1], axis=-1))

    value, slope = jit(jax.value_and_grad(by_cell))(params, xs)
    np.testing.assert_allclose(value, by_hand(U), rtol=2e-5)
    differences = np.zeros((H, H))
    for place in np.ndindex(H, H):
        step = np.zeros((H, H))
        step[place] = 1e-6
        differences[place] = (by_hand(U + step) - by_hand(U - step)) / 2e-6
    np.testing.assert_allclose(slope.U, differences, rtol=1e-3, atol=1e-4)


def test_omega_is_of_any_cell(xs):
    cell = truncated(stack(lstm(3), skip_through_time(gru(2), 3)), 4)

    def by_cell(params, xs):
        return omega(cell, params, xs, lambda ys: jnp.sum(ys[-1], axis=-1))

    own = jit(lambda key: cell.init(key, I))(jax.random.key(0))
    value, slope = jit(jax.value_and_grad(by_cell))(own, xs)
    assert value > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("lag", [2, 0, -1])
def test_reconstruction_counts_pairs_within_a_sequence(lag, xs):
    rng = np.random.default_rng(2)
    ys, V, c = rng.normal(size=(T, B, H)), rng.normal(size=(H, I)), rng.normal(size=I)
    lengths = [T, 4]
    errors = [
        np.sum((ys[t, b] @ V + c - xs[t - lag, b]) ** 2)
        for b, length in enumerate(lengths)
        for t in range(length)
        if 0 <= t - lag < length
    ]
    close(reconstruction(ys, xs, V, c, lag, jnp.array(lengths)), np.mean(errors))
    close(reconstruction(ys, xs, V, c, lag), reconstruction(ys, xs, V, c, lag, jnp.array([T, T])))


def trainer(steps=2, optimizer="adam", **fields):
    task = make_task("recall", 4)
    terms = terms_of(Trial(**fields), task, elman(H))
    return make_trainer(task, elman(H), batch_size=2, steps_per_chunk=steps, optimizer=optimizer, terms=terms)


def test_terms_change_what_is_learnt():
    key, data = jax.random.key(0), make_data(make_task("recall", 4), 8, 8)
    ends = {}
    for name, terms in {"plain": {}, "omega": {"omega": 1.0}, "both": {"auxiliary": 1.0, "auxiliary_lag": -1}}.items():
        one = trainer(**terms)
        start = jit(lambda key, one=one: one.start(one.init(key)))(key)
        state, _ = jit(one.chunk)(start, key, Hyper(0.1), data)
        assert not state.diverged
        ends[name] = np.asarray(state.params.recurrent.U)
        if name == "both":
            assert np.abs(state.params.terms[0][0] - start.params.terms[0][0]).max() > 0.01
    for name in ("omega", "both"):
        assert np.abs(ends[name] - ends["plain"]).max() > 1e-4


@pytest.mark.parametrize("lag", [-1, 2])
def test_the_auxiliary_term_reads_the_same_pass_as_the_loss(lag):
    """One step of descent is that by the sum of both terms, each with a pass of its own, and runs the network once."""
    task, key, rate = make_task("recall", 4), jax.random.key(0), 0.1
    one = trainer(auxiliary=0.5, auxiliary_lag=lag, optimizer="sgd", steps=1)
    data = make_data(task, 8, 8)
    params = jit(one.init)(key)
    seen = []

    def note(run, **arguments):
        seen.append(arguments["xs"].shape)
        return run(**arguments)

    with intercept_unroll(note):
        state, _ = jit(one.chunk)(jit(one.start)(params), key, Hyper(rate), data)
    assert seen == [(task.num_steps, 2, task.input_size), (task.num_steps, 8, task.input_size)]  # batch, validation

    def objective(params):
        batch = _batches(task, None, jax.random.split(jax.random.fold_in(key, TRAINING))[0], 0, 2)(0)
        xs = jnp.moveaxis(task.prepare_inputs(batch.inputs), 0, 1)
        outputs = make_model(elman(H), task.output_size).apply(params, xs, batch.length)
        _, ys = unroll(elman(H), params.recurrent, xs, lengths=batch.length)
        told = reconstruction(ys, xs, *params.terms[0], lag, batch.length)
        return jax.vmap(task.loss)(outputs, batch.target).mean() + 0.5 * told

    gradient = jit(jax.grad(objective))(params)
    assert np.abs(gradient.terms[0][0]).max() > 1e-3
    for got, start, slope in zip(*map(jax.tree.leaves, (state.params, params, gradient)), strict=True):
        close(got, start - rate * slope)


# --- trials, settings, the report ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "known"),
    [
        ({"cell": "elman", "seq_len": 50, "learning_rate": 0.003}, "recall-50-elman-lr0.003-s0-f3e3cc650d"),
        (
            {"cell": "lstm_np:forget_bias=chrono", "seq_len": 300, "learning_rate": 0.03},
            "recall-300-lstm_np-forget_bias=chrono-lr0.03-s0-089ecaf798",
        ),
        (
            {"task": "adding", "cell": "lstm_nfg", "seq_len": 300, "learning_rate": 0.03, "num_steps": 1000, "seed": 4},
            "adding-300-lstm_nfg-lr0.03-s4-63c6b507e8",
        ),
    ],
)
def test_ids_of_earlier_runs_hold(own, known):
    """Those of runs that were made before a trial had fields for remedies."""
    same = {"hidden_size": 16, "clip_norm": 1.0, "num_steps": 500, "num_validation": 300}
    trial = Trial(**{**same, **own})
    assert trial.id == known
    assert dataclasses.replace(trial, omega=0.1).id != known


def test_the_remedies_are_cells_of_their_own_names():
    assert len({one["label"] for one in ALL}) == len(ALL)
    for one in ALL:
        assert build_cell(one["cell"], H, 20).output_size == H


def made_up_runs(slope):
    """Variants whose test loss falls (slope 1) or grows (-1) with their reach, at two lags and two seeds."""
    return pd.DataFrame(
        {
            **{"task": "recall", "seq_len": lag, "variant": f"v{reach}", "seed": seed, "learning_rate": 0.01},
            **{"validation_loss": 1.0, "test_loss": 2.0 - slope * 0.1 * reach * 20 / lag, "chance_loss": 4.0},
            **{"gradient_horizon": float(reach), "gradient_horizon_trained": float(reach), "solved": reach > 5},
            **{"gradient_horizon_censored": False, "gradient_horizon_trained_censored": False, "diverged": False},
            **{"test_accuracy": 0.5, "chance_accuracy": 0.1, "num_params": 5, "steps_to_solve": math.nan},
            **{"num_train": 1, "num_validation": 1, "num_test": 1, "run_seconds": 1.0},
        }
        for lag in (20, 50)
        for reach in range(1, 9)
        for seed in range(2)
    )


@pytest.mark.parametrize("slope", [1, -1])
def test_the_correlation_of_reach_with_what_is_learnt(slope):
    cells = remedies_report.settings(made_up_runs(slope))
    found = remedies_report.correlation(cells, "gradient_horizon")
    assert found["n"] == 16
    assert found["variants"] == 8
    assert found["rho"] == pytest.approx(slope, abs=1e-9)
    assert found["rho_low"] == pytest.approx(slope, abs=1e-6)
    assert found["within"] == pytest.approx(slope)
    assert found["low"] == pytest.approx(slope)


def test_a_sweep_under_way_is_ranked_by_what_it_has():
    runs = made_up_runs(1)
    runs = runs[~((runs["variant"] == "v8") & (runs["seq_len"] == 50))]
    cells = remedies_report.settings(runs)
    lines = remedies_report.ranking_table(cells).splitlines()
    assert "| recall 20 | recall 50 |" in lines[0]
    assert "| 1 | v7 | 50 | 2 of 2 |" in lines[2]
    last = next(line for line in lines if "| v8 |" in line)
    assert "| v8 | 20 | 1 of 1 (1 not run) |" in last
    assert "| 2/2 · 30 % | – |" in last
    assert remedies_report.correlation(cells[cells["variant"] == "v1"], "gradient_horizon") is None


def test_the_report_is_written(tmp_path):
    made_up_runs(1).to_csv(tmp_path / "runs.csv", index=False)
    assert main.main([str(tmp_path)]) == 0
    text = (tmp_path / "remedies.md").read_text()
    assert "| 1 | v8 | 50 | 2 of 2 |" in text
    assert "| at the start | 1.00 [1.00, 1.00] |" in text
    assert (tmp_path / "reach_and_success.png").stat().st_size > 10_000


def test_terms_of_the_loss_are_settings_in_tables():
    runs = made_up_runs(1).assign(omega=0.0)
    other = runs.assign(omega=0.5, validation_loss=0.5)
    assert set(best_rows(pd.concat([runs, other])).omega) == {0.5}
    older = runs.drop(columns="omega").assign(seed=7)
    assert len(best_rows(pd.concat([runs, older]))) == len(runs) + len(older)
