"""A long training: the same losses when interrupted and resumed, checkpoints, and steps spread over devices."""

import logging
import os
import re
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from experiments.shared import fit as fit_module
from experiments.shared.fit import fit
from rnnjax.training.checkpoint import Checkpoints
from rnnjax.training.learner import Learning, Measured, local_mesh, make_evaluate, make_learner

STEPS, BATCH, SIZE = 3, 4, 5
RNG = np.random.default_rng(0)
XS = RNG.normal(size=(64, SIZE)).astype(np.float32)
DATA = {"x": XS, "y": XS @ RNG.normal(size=SIZE).astype(np.float32)}
QUIET = Console(quiet=True)


def objective(params, carry, batch, key, data):
    index, weight = batch
    error = data["x"][index] @ params["w"] + 0.01 * jax.random.normal(key) - data["y"][index]
    return jnp.sum(weight * error**2), (jnp.sum(weight), carry)


def measure(params, carry, batch, data):
    total, (weight, carry) = objective(params, carry, batch, jax.random.key(0), data)
    return (total, weight), carry


MESH = local_mesh(BATCH)
LEARNER = make_learner(objective, optax.adam(0.05), MESH)
EVALUATE = make_evaluate(measure, MESH)


def training(**options):
    data = LEARNER.place(DATA)

    def chunk(state, i):
        order = np.random.default_rng(i).permutation(64)[: STEPS * BATCH].reshape(STEPS, BATCH)
        return LEARNER.chunk(state, (order, np.ones((STEPS, BATCH), np.float32)), STEPS, jax.random.key(7), data)

    def evaluate(state):
        batches = np.arange(64).reshape(-1, BATCH), np.ones((16, BATCH), np.float32)
        (total, weight), _ = EVALUATE(state.params, (), batches, 16, data)
        return {"validation_loss": float(total / weight)}

    what = dict(
        state=LEARNER.start({"w": np.zeros(SIZE, np.float32)}),
        chunk=chunk,
        num_chunks=8,
        evaluate=evaluate,
        every=2,
        score="validation_loss",
        console=QUIET,
        title="line",
        put=LEARNER.put,
        config={"size": SIZE},
    )
    return fit(**{**what, **options})


def values(fitted):
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in fitted.history]


@pytest.fixture(scope="module")
def undisturbed():
    return training()


def test_it_learns_and_keeps_the_best(undisturbed):
    losses = [entry["validation_loss"] for entry in undisturbed.history]
    assert [entry["chunk"] for entry in undisturbed.history] == [2, 4, 6, 8]
    assert losses[-1] < 0.7 * losses[0]
    assert undisturbed.best_entry["validation_loss"] == min(losses)
    assert not undisturbed.diverged


@pytest.mark.parametrize(
    ("accuracies", "losses", "chosen"),
    [
        ((0.5, 1, 1, 1), (0.9, 0.675, 0.05, 0.3), 6),
        ((1, 1, 1, 0.5), (0.2, 0.2, 0.3, 0.1), 2),
        ((1, 1, 1, 1), (np.nan, 0.2, np.nan, 0.3), 4),
    ],
)
def test_of_equal_scores_the_lower_loss_is_kept(accuracies, losses, chosen):
    entries, seen = zip(accuracies, losses, strict=True), []

    def evaluate(state):
        seen.append(jax.device_get(state.params["w"]))
        return dict(zip(("accuracy", "loss"), next(entries), strict=True))

    fitted = training(evaluate=evaluate, score="-accuracy", ties="loss")
    assert fitted.best_entry["chunk"] == chosen
    np.testing.assert_array_equal(fitted.best["w"], seen[chosen // 2 - 1])


@pytest.mark.parametrize("stop_at", [3, 4])
def test_ctrl_c_keeps_all_and_the_same_call_goes_on_with_the_same_losses(tmp_path, undisturbed, stop_at, monkeypatch):
    original = LEARNER.chunk

    def pressed(state, *rest):
        if int(state.step) == STEPS * (stop_at - 1):
            os.kill(os.getpid(), signal.SIGINT)
        return original(state, *rest)

    monkeypatch.setitem(globals(), "LEARNER", LEARNER._replace(chunk=pressed))
    with pytest.raises(KeyboardInterrupt):
        training(folder=tmp_path)
    monkeypatch.undo()
    resumed = training(folder=tmp_path)
    assert values(resumed) == values(undisturbed)
    np.testing.assert_array_equal(resumed.best["w"], undisturbed.best["w"])
    np.testing.assert_array_equal(
        jax.device_get(resumed.state.params["w"]), jax.device_get(undisturbed.state.params["w"])
    )


def test_a_damaged_checkpoint_is_told_of_and_passed_over(tmp_path, undisturbed, capsys):
    training(folder=tmp_path)
    newest = tmp_path / "checkpoints" / "8"
    for file in (newest / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10])
    console = Console(width=300)
    resumed = training(folder=tmp_path, console=console)
    printed = capsys.readouterr().out
    assert str(newest) in printed
    assert "going on from checkpoint 6" in printed
    assert values(resumed) == values(undisturbed)


@pytest.mark.parametrize(
    ("level", "path", "said"),
    [
        (logging.WARNING, "site-packages/orbax/checkpoint/checkpoint_manager.py", False),
        (logging.ERROR, "site-packages/orbax/checkpoint/checkpoint_manager.py", True),
        (logging.WARNING, "mine/model.py", True),
    ],
)
def test_remarks_of_orbax_are_not_said_and_errors_are(tmp_path, level, path, said):
    Checkpoints(tmp_path)
    logger = logging.getLogger("absl")
    assert bool(logger.filter(logger.makeRecord("absl", level, path, 1, "Waiting took 2 seconds.", (), None))) == said


def test_what_changes_after_saving_is_not_in_the_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    note, state = [1], np.zeros(3)
    checkpoints.save(1, note, state=state)
    note.append(2)
    state += 1
    checkpoints.close()
    step, saved, parts = Checkpoints(tmp_path).latest(state=np.zeros(3))
    assert (step, saved) == (1, [1])
    np.testing.assert_array_equal(parts["state"], 0)


def test_arrays_of_another_shape_are_not_taken(tmp_path):
    """orbax gives what was written, whatever shape it is asked for."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state={"w": np.zeros((2, 3))})
    checkpoints.close()
    for shape in ((3, 3), (2,), (3, 2)):
        with pytest.raises(ValueError, match=r"\['state'\]\['w'\] has the shape \(2, 3\) there"):
            Checkpoints(tmp_path).latest(state={"w": np.zeros(shape)})


def test_no_readable_checkpoint_is_an_error_and_nothing_is_deleted(tmp_path):
    training(folder=tmp_path)
    for file in (tmp_path / "checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read"):
        training(folder=tmp_path)
    assert (tmp_path / "checkpoints" / "8").exists()


def test_a_folder_of_another_training_is_refused(tmp_path):
    training(folder=tmp_path)
    with pytest.raises(ValueError, match="size: 5 there, 6 now"):
        training(folder=tmp_path, config={"size": 6})


def test_a_folder_in_which_nothing_was_trained_yet_is_taken(tmp_path):
    def refused(state, i):
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        training(folder=tmp_path, chunk=refused, config={"size": 6})
    assert len(training(folder=tmp_path).history) == 4


def test_divergence_stops_and_is_told():
    def chunk(state, i):
        return state, Measured(1.0 if i < 2 else float("nan"), 1.0, 1.0)

    fitted = training(chunk=chunk)
    assert fitted.diverged
    assert [entry["chunk"] for entry in fitted.history] == [2, 3]
    assert np.isfinite(fitted.best["w"]).all()


@pytest.mark.parametrize(("last", "diverged"), [((99.0, 99.0), True), ((99.0, 1.0), False), ((9.9, 9.9), False)])
def test_a_loss_that_stayed_far_above_that_of_the_first_step_is_diverged(tmp_path, last, diverged):
    """The first chunk's mean is far above, too, so what counts is its first step; the same after a resumption."""
    losses = [99.0, 99.0, 1.0, 1.0, 1.0, 1.0, *last]

    def chunk(state, i):
        return state, Measured(losses[i], 1.0, 1.0 if i == 0 else 50.0)

    def until_the_last(state, i):
        if i == 7:
            raise KeyboardInterrupt
        return chunk(state, i)

    with pytest.raises(KeyboardInterrupt):
        training(chunk=until_the_last, folder=tmp_path)
    fitted = training(chunk=chunk, folder=tmp_path)
    assert fitted.diverged is diverged
    assert fitted.history[-1]["chunk"] == 8


def test_a_chunk_measures_the_loss_of_its_first_step():
    data, key = LEARNER.place(DATA), jax.random.key(0)
    order, weights = np.arange(STEPS * BATCH).reshape(STEPS, BATCH), np.ones((STEPS, BATCH), np.float32)
    begun = lambda: LEARNER.start({"w": np.ones(SIZE, np.float32)})
    _, one = LEARNER.chunk(begun(), (order, weights), 1, key, data)
    _, all_of = LEARNER.chunk(begun(), (order, weights), STEPS, key, data)
    assert float(all_of.first_loss) == float(one.first_loss) == float(one.train_loss)
    assert float(all_of.train_loss) != float(one.train_loss)


def test_where_nothing_can_be_drawn_a_line_now_and_then_has_the_time_left(monkeypatch, capsys):
    monkeypatch.setattr(fit_module, "SAY_EVERY_SECONDS", 0.0)
    training(console=Console(width=200))
    printed = capsys.readouterr().out
    assert re.findall(r"line: loss [\d.]+, (\d) of 8, left 0:00:00", printed) == ["3", "5", "7"]
    assert "line: 8 of 8, train loss" in printed


def test_padding_counts_for_nothing():
    """A batch with two examples of weight zero takes the step of the two that count."""
    data, key = LEARNER.place(DATA), jax.random.key(0)
    order = np.array([[0, 1, 2, 3]])
    padded = (order, np.array([[1, 1, 0, 0]], np.float32))
    state, measured = LEARNER.chunk(LEARNER.start({"w": np.ones(SIZE, np.float32)}), padded, 1, key, data)

    total, (weight, _) = objective(
        {"w": np.ones(SIZE)}, (), (order[0, :2], np.ones(2)), jax.random.fold_in(jax.random.fold_in(key, 0), 0), DATA
    )
    assert float(measured.train_loss) == pytest.approx(float(total / weight), rel=1e-5)
    assert isinstance(state, Learning)
