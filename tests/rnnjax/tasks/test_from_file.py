"""Tasks made of a file: both forms give the same task, scores are those of plain NumPy, and what is wrong is named."""

import jax
import numpy as np
import pandas as pd
import pytest

from rnnjax.tasks import TASKS, Task, check_task, make_task, task_from_file
from rnnjax.training.train import make_data

N, T, I = 12, 5, 3
SPLITS = np.repeat(["train", "validation", "test"], [6, 3, 3])


def arrays(**others):
    rng = np.random.default_rng(0)
    return {"sequences": rng.normal(size=(N, T, I)), "targets": np.arange(N) % 3, "splits": SPLITS} | others


def saved(tmp_path, **others):
    path = tmp_path / "mine.npz"
    np.savez(path, **{name: array for name, array in arrays(**others).items() if array is not None})
    return path


def test_classes_of_whole_sequences(tmp_path):
    given = arrays(targets=np.array([0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0]))
    task = task_from_file(saved(tmp_path, targets=given["targets"]))
    check_task(task)
    assert (task.name, task.seq_len, task.num_steps, task.input_size, task.output_size) == ("mine", T, T, I, 2)
    data = make_data(task)
    np.testing.assert_array_equal(data.train.inputs, given["sequences"][:6].astype(np.float32))
    np.testing.assert_array_equal(data.test.target, given["targets"][9:])
    assert data.test.length is None
    assert task.chance_loss == pytest.approx(-(2 * np.log(4 / 6) + np.log(2 / 6)) / 3)
    assert task.chance_accuracy == pytest.approx(2 / 3)
    assert task.loss(np.array([2.0, 1.0]), np.int32(1)) == pytest.approx(np.log(1 + np.e))


def test_symbols_are_one_hot_and_nothing_beyond_their_length(tmp_path):
    sequences = np.tile(np.arange(T), (N, 1))
    lengths = np.full(N, 3)
    task = task_from_file(saved(tmp_path, sequences=sequences, lengths=lengths))
    check_task(task)
    train = task.splits["train"]
    assert task.input_size == 3  # symbols 3 and 4 stand beyond the lengths only
    inputs = np.asarray(task.prepare_inputs(train.inputs))
    np.testing.assert_array_equal(inputs[0], np.vstack([np.eye(3), np.zeros((2, 3))]))
    np.testing.assert_array_equal(train.length, [3] * 6)


def test_a_class_at_every_step_that_is_asked(tmp_path):
    targets = np.tile([-1, 0, 1, 1, 0], (N, 1))
    task = task_from_file(saved(tmp_path, targets=targets, lengths=np.full(N, 4)))
    check_task(task)
    np.testing.assert_array_equal(task.splits["test"].target[0], [-1, 0, 1, 1, -1])
    logits = np.array([[9, 0], [0, 2], [0, 1], [1, 0], [9, 0]], np.float32)
    expected = np.mean([np.log(1 + np.exp(2)), np.log(1 + np.exp(-1)), np.log(1 + np.e)])
    assert task.loss(logits, task.splits["test"].target[0]) == pytest.approx(expected)
    assert task.correct(logits, task.splits["test"].target[0]) == pytest.approx(1 / 3)
    assert (task.outputs, task.output_size) == ("all", 2)
    gradient = jax.grad(task.loss)(logits, task.splits["test"].target[0])
    assert not gradient[np.array([0, 4])].any()
    assert task.chance_accuracy == pytest.approx(2 / 3)


def test_values_are_judged_by_the_spread_of_the_training_targets(tmp_path):
    targets = np.linspace(0, 11, N)
    task = task_from_file(saved(tmp_path, targets=targets))
    check_task(task)
    train, test = targets[:6], targets[9:]
    assert task.chance_loss == pytest.approx(np.mean((test - train.mean()) ** 2))
    tenth = train.std() / 10
    assert task.correct(np.array([1 + 0.9 * tenth]), np.float32(1)) == 1
    assert task.correct(np.array([1 + 1.1 * tenth]), np.float32(1)) == 0
    assert task.solved(0.009 * task.chance_loss, 0.0)
    assert not task.solved(0.011 * task.chance_loss, 1.0)


@pytest.mark.parametrize("targets", ["classes", "steps", "values"])
def test_parquet_holds_the_same_task(tmp_path, targets):
    rng = np.random.default_rng(1)
    lengths = np.array([T, *rng.integers(1, T, N - 1)])
    asked = {
        "classes": np.arange(N) % 2,
        "steps": rng.integers(0, 2, (N, T)) * (np.arange(T) > 0),
        "values": rng.normal(size=N),
    }[targets]
    given = arrays(targets=asked, lengths=lengths)
    frame = pd.DataFrame(
        {
            "sequences": [list(map(list, s[:n])) for s, n in zip(given["sequences"], lengths, strict=True)],
            "targets": [list(t[:n]) for t, n in zip(asked, lengths, strict=True)] if targets == "steps" else asked,
            "splits": pd.Categorical(SPLITS),
        }
    )
    frame.to_parquet(tmp_path / "mine.parquet")
    ours, theirs = task_from_file(tmp_path / "mine.parquet"), task_from_file(saved(tmp_path, **given))
    check_task(ours)
    jax.tree.map(np.testing.assert_array_equal, ours.splits, theirs.splits)
    assert (ours.chance_loss, ours.outputs, ours.input_size) == (theirs.chance_loss, theirs.outputs, theirs.input_size)


def test_parquet_of_symbols(tmp_path):
    rows = [[0, 1, 2], [2, 1], [3]] * 4
    frame = pd.DataFrame({"sequences": rows, "targets": np.arange(N) % 2, "splits": SPLITS})
    frame.to_parquet(tmp_path / "mine.parquet")
    task = task_from_file(tmp_path / "mine.parquet")
    assert (task.input_size, task.num_steps) == (4, 3)
    np.testing.assert_array_equal(task.splits["train"].length, [3, 2, 1, 3, 2, 1])


SYMBOLS = np.zeros((N, T), int)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"targets": None}, "mine.npz lacks targets; it has sequences, splits"),
        ({"lenghts": np.full(N, 2)}, "unknown array 'lenghts'; did you mean 'lengths'"),
        ({"targets": np.array([0, "a", None] * 4, object)}, "array 'targets' is of Python objects, which only pickle"),
        ({"targets": np.arange(N - 1)}, r"targets has shape \(11,\), but there are 12 sequences"),
        ({"targets": np.array(["a", "b"] * 6)}, r"targets is \[12\] of text; it must be whole numbers"),
        ({"targets": np.zeros((N, T))}, r"targets is \[12, 5\] of float64; it must be whole numbers \[N\] or"),
        ({"targets": np.zeros((N, 4), int)}, r"targets is \[12, 4\] of int64"),
        ({"targets": np.arange(N) % 3 - 1}, "targets holds -1; classes are 0, 1"),
        ({"targets": np.arange(N) % 3 * 2}, "class 1 never occurs, though 4 does"),
        ({"targets": np.zeros(N, int)}, "targets are all 0: there is nothing to tell apart"),
        ({"targets": np.full(N, 7.7)}, "targets are all 7.7, up to rounding"),
        ({"targets": np.array([0] * 9 + [1] * 3)}, "class 1 is in the test split but not in the training split"),
        ({"targets": np.full((N, T), -1)}, "targets, example 0: no step is asked"),
        ({"targets": np.array([np.nan] * N)}, r"targets \(in float32\): 12 of 12 values are NaN"),
        ({"splits": np.array(["train"] * 9 + ["test"] * 3)}, "no example is for validation"),
        ({"splits": np.array(["train", "dev", "test"] * 4)}, "splits, example 1: unknown split 'dev'"),
        ({"splits": np.arange(N)}, r"splits is \[12\] of int64; it must be \[N\] texts"),
        ({"sequences": np.zeros(N)}, r"sequences is \[12\] of float64; it must be \[N, T\]"),
        ({"sequences": np.full((N, T, I), 1e300)}, r"sequences \(in float32\): 180 of 180 values are NaN or inf"),
        ({"sequences": np.full((N, T, I), "a")}, "it must hold numbers"),
        (
            {"sequences": SYMBOLS + 2000},
            "sequences holds whole numbers from 2000 to 2000; whole numbers .* are symbols",
        ),
        ({"sequences": SYMBOLS - 1}, "sequences holds whole numbers from -1 to -1"),
        ({"lengths": np.full(N, T + 1)}, "lengths, example 0: 6 must be from 1 to 5"),
        ({"lengths": np.full(N, 2.0)}, r"lengths is \[12\] of float64"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, others, message):
    with pytest.raises(ValueError, match=message):
        task_from_file(saved(tmp_path, **others))


def test_a_file_of_another_kind_is_refused(tmp_path):
    for name, content, message in [
        ("a.npz", b"nothing", "a.npz is no .npz file"),
        ("a.parquet", b"nothing", "a.parquet is no .parquet file"),
        ("a.csv", b"1,2\n", "unknown form of a task's file '.csv'; known: .npz, .parquet"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            task_from_file(tmp_path / name)
    with pytest.raises(ValueError, match=r"b\.npz: there is no such file"):
        task_from_file(tmp_path / "b.npz")
    with open(tmp_path / "one.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="but a single array"):
        task_from_file(tmp_path / "one.npz")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sequences": [1.0] * N}, "column 'sequences' must hold lists"),
        ({"sequences": [[1.0]] * 11 + [None]}, "column 'sequences' is empty at place 11"),
        ({"sequences": [[[1.0], [1.0, 2.0]]] * N}, "steps of 1, 2 numbers; all need one size"),
        ({"targets": [[0, 1]] * N}, "targets, example 0: a list of 2 for a sequence of 1 steps"),
        ({"more": [1] * N}, "unknown column 'more'; known: sequences, targets, splits"),
    ],
)
def test_columns_that_are_wrong_are_named(tmp_path, columns, message):
    good = {"sequences": [[1.0]] * N, "targets": np.arange(N) % 2, "splits": SPLITS}
    pd.DataFrame(good | columns).to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(ValueError, match=message):
        task_from_file(tmp_path / "mine.parquet")


@pytest.mark.parametrize("name", ["adding", "copy_memory", "s5_words"])
def test_the_tasks_of_this_library_pass(name):
    assert name in TASKS
    check_task(make_task(name, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 7}, r"inputs of an example are \[9, 16\], but \[num_steps, input_size\] is \[9, 7\]"),
        ({"output_size": 0}, "output_size=0 must be a whole number of at least 1"),
        ({"outputs": "both"}, "outputs='both' must be 'last' or 'all'"),
        ({"sample": None}, "either `sample` or `splits`"),
        ({"sample": lambda key: key}, "not an rnnjax.tasks.Example"),
        ({"loss": lambda outputs, target: outputs}, "loss of an example must be a single number"),
        ({"loss": lambda outputs: 0.0}, r"loss\(outputs \[8\], target\): TypeError"),
        ({"chance_loss": float("nan")}, "chance_loss=nan must be finite"),
    ],
)
def test_what_is_no_task_is_told(changes, message):
    with pytest.raises(ValueError, match=message):
        check_task(make_task("recall", 8)._replace(**changes))


def test_another_object_is_no_task():
    with pytest.raises(ValueError, match="returned dict, not an rnnjax"):
        check_task(dict(Task._field_defaults))
