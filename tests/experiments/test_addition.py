"""Binary addition: the task, the network by hand, the program for any cell, and what is recorded of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments.addition import by_hand, main, many_seeds, program as addition, seeds
from experiments.shared.numbers import mean_interval
from experiments.shared.provenance import command
from experiments.shared.results import NEEDED, record
from rnnjax.tasks import make_task

# --- the task ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    keys = jax.random.split(jax.random.key(0), 4000)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(make_task("binary_addition", 3).sample))(keys))


def numbers(bits):
    return bits @ 2 ** np.arange(bits.shape[-1])


def test_the_target_is_the_sum_and_all_pairs_occur(drawn):
    assert drawn.inputs.shape == (4000, 4, 2)
    assert drawn.inputs.dtype == np.float32
    assert drawn.target.dtype == np.int32
    a, b = numbers(drawn.inputs[..., 0]), numbers(drawn.inputs[..., 1])
    np.testing.assert_array_equal(a + b, numbers(drawn.target))
    assert len(set(zip(a, b, strict=True))) == 64


def test_chance_by_counting_all_pairs():
    task = make_task("binary_addition", 3)
    targets = addition.all_pairs(4).target
    share = targets.mean(axis=0)
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert task.chance_loss == pytest.approx(entropy.mean())
    assert task.chance_accuracy == np.bincount(numbers(targets)).max() / 64


def test_loss_is_the_cross_entropy_of_a_sigmoid_and_every_bit_counts():
    task = make_task("binary_addition", 2)
    outputs = jnp.array([[0.0, 2.0], [1.0, 0.0], [0.5, -0.5]])
    target = jnp.array([1, 0, 0])
    p = 1 / (1 + np.exp(-np.array([2.0, -1.0, -1.0])))
    assert task.loss(outputs, target) == pytest.approx(-np.log([p[0], 1 - p[1], 1 - p[2]]).mean(), rel=1e-5)
    assert task.correct(outputs, target) == 1
    assert task.correct(outputs, target.at[2].set(1)) == 0
    assert task.correct(outputs * jnp.nan, target) == 0


def test_a_sum_of_any_length_is_scored_beside_chance():
    task = make_task("binary_addition", 20)
    example = jax.tree.map(jnp.asarray, task.sample(jax.random.key(4)))
    right = 50.0 * jax.nn.one_hot(example.target, task.output_size)
    assert task.loss(right, example.target) == pytest.approx(0, abs=1e-6)
    assert task.loss(-right, example.target) == pytest.approx(50)
    assert (task.correct(right, example.target), task.correct(-right, example.target)) == (1, 0)
    blind = jnp.zeros(task.output_size)
    assert task.loss(blind, example.target) == pytest.approx(task.chance_loss, abs=1e-6)
    assert task.correct(blind, example.target) == 0


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_by_hand_is_the_equations_and_its_step_the_gradient():
    params = by_hand.init(jax.random.key(1))
    assert all(-1 <= w.min() < -0.5 and 0.5 < w.max() < 1 for w in params)
    W, U, V = (np.asarray(w, np.float64) for w in params)

    def error(V, a=93, b=41):
        h, total = np.zeros(16), 0.0
        for t in range(8):
            x = np.array([a >> t & 1, b >> t & 1])
            h = 1 / (1 + np.exp(-(x @ W + h @ U)))
            total += 0.5 * (1 / (1 + np.exp(-h @ V[:, 0])) - (a + b >> t & 1)) ** 2
        return total

    gradient_of = jax.jit(jax.grad(lambda *arguments: by_hand.loss(*arguments)[0]))
    gradient = gradient_of(params, 93, 41)
    nudge = np.zeros((16, 1))
    nudge[5] = 1e-5
    assert gradient.V[5, 0] == pytest.approx((error(V + nudge) - error(V - nudge)) / 2e-5, rel=1e-3)
    key = jax.random.key(2)
    after, example = jax.jit(by_hand.learn)(params, key)
    gradient = gradient_of(params, example.a, example.b)
    np.testing.assert_allclose(after.U, params.U - 0.1 * gradient.U, rtol=1e-5, atol=1e-7)


def test_by_hand_learns_to_add_every_pair(capsys):
    by_hand.main(["--seed", "0"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "right for 16,384 of all 16,384 pairs below 128"
    errors = [float(line.split()[3]) for line in lines[:-1]]
    assert errors[0] > 2 > 0.5 > errors[-1]
    a, _, b, _, c = lines[-2].split()[-5:]
    assert int(a) + int(b) == int(c)


def test_training_by_hand_vmapped_is_training_one_by_one():
    keys = jax.random.split(jax.random.key(3), 2)
    history = jax.jit(jax.vmap(lambda key: by_hand.train(key, 1000, 1000)))(keys)
    assert history.W.shape == (2, 1, 2, 16)
    key_init, key_examples = jax.random.split(keys[1])
    alone, _ = by_hand.chunk(by_hand.init(key_init), key_examples, 0)
    np.testing.assert_allclose(history.U[1, 0], alone.U, rtol=1e-3, atol=1e-3)


def test_the_share_right_is_that_of_all_pairs_one_by_one():
    params = jax.tree.map(lambda w: 6 * w, by_hand.init(jax.random.key(0)))
    params = params._replace(V=params.V.at[:, 0].set(-jnp.abs(params.V[:, 0])))  # answers 0 throughout

    def right(a, b):
        return ((by_hand.predict(params, a, b) > 0.5) == by_hand.to_bits(a + b)).all(axis=0).mean()

    one_by_one = jax.jit(right)(*jnp.divmod(jnp.arange(128**2), 128))
    assert jax.jit(by_hand.share_right)(params) == one_by_one > 0


# --- any cell ---------------------------------------------------------------------------------------------------------


def test_numbers_of_any_size_become_bits_and_come_back():
    big = 3**200
    assert addition.to_number(addition.to_bits([big], 400)[0]) == big
    pairs = addition.all_pairs(3)
    np.testing.assert_array_equal(numbers(pairs.target)[:6], [0, 1, 2, 3, 1, 2])
    assert addition.random_pairs(40, 5).target.shape == (5, 40)


def test_the_program_learns_adds_and_records(tmp_path, capsys):
    pairs = ["3", "4", "0", "0", "21", "17"]
    argv = ["--cell", "elman", "--bits", "4", "--seeds", "2", "--num-steps", "600", "--add", *pairs, "--out"]
    assert main.main([*argv, str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "3 + 4 = 7   right" in out
    assert "predicted  0111" in out
    assert "true       100110" in out  # 38 needs six bits
    runs = pd.read_csv(tmp_path / "runs.csv")
    exact = runs[runs.split == "all pairs"]
    assert set(NEEDED) <= set(runs)
    assert list(exact.value) == [1, 1]
    assert set(exact.num_test) == {64}
    assert set(runs.num_train) == {600 * 32}
    assert "python -m experiments.addition --cell elman" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--add", "-3", "4"], "--add -3 must be a whole number from 0 up"),
        (["--add", "1", "2", "3"], "takes pairs of numbers, got 3"),
        (["--add", str(2**10_000), "1"], "must be a number of at most 9999 bits"),
        (["--cell", "lstmm"], "did you mean 'lstm'"),
        (["--optimizer", "adm"], "did you mean 'adam'"),
        (["--bits", "1"], "--bits 1 must be at least 2"),
        (["--num-steps", "150"], "must be a multiple of --eval-every 100"),
        (["--learning-rate", "nan"], "--learning-rate nan is not a number"),
    ],
)
def test_bad_input_is_named_before_anything_is_trained(argv, message, capsys):
    assert main.main(argv) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--cell-steps", "700"], "--cell-steps 700 must be a multiple of --eval-every 500"),
        (["--num-steps", "7"], "--num-steps 7 must be a multiple of --eval-every 500"),
        (["--repetitions", "0"], "--repetitions 0 must be at least 1"),
    ],
)
def test_bad_input_of_many_seeds_is_one_line(argv, message, capsys):
    assert seeds.main(argv) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_first_solved_is_the_first_measured_step_with_all_right():
    exact = np.array([[0.5, 0.2, 1.0], [1.0, 0.9999, 0.5], [1.0, 0.99, 1.0]])
    np.testing.assert_array_equal(addition.first_solved(exact, 500), [1000, np.nan, 500])
    metrics = many_seeds.rows_of({"preset": "p"}, exact, 500, [1000])
    values = [row["value"] for row in metrics if row["metric"] == "all pairs right at step 1,000"]
    assert values == [True, False, False]


# --- recording --------------------------------------------------------------------------------------------------------


def row(**changed):
    texts = dict.fromkeys(["dataset", "metric", "split", "command", "git_commit", "device"], "text")
    sizes = dict.fromkeys(["num_params", "num_train", "num_test", "wall_seconds"], 3)
    return {"preset": "one", "cell": "lstm", "value": 0.5, "seed": 0, **texts, **sizes, **changed}


def test_a_record_keeps_what_other_commands_wrote(tmp_path):
    record(tmp_path, [row(), row(seed=1, value=math.nan)], title="T", text="What.")
    record(tmp_path, [row(cell="gru", git_commit="12e4567", value=True)], title="T", text="What.")
    path = record(tmp_path, [row(value=0.25)], title="T", text="What.", plots={"a.png": "Caption."})
    runs = pd.read_csv(tmp_path / "runs.csv", dtype={"git_commit": str})
    assert list(zip(runs.cell, runs.seed, strict=True)) == [("lstm", 1), ("gru", 0), ("lstm", 0)]
    assert list(runs.git_commit) == ["text", "12e4567", "text"]
    text = path.read_text()
    assert "| one | text | lstm | text | text | 0.25 | – | 0.25 [0.25, 0.25] | 2 | 1 |" in text
    assert "| one | text | gru | text | text | 1 | 0.207 to 1 |" in text
    assert "![Caption.](a.png)" in text
    with pytest.raises(ValueError, match="columns missing: seed"):
        record(tmp_path, [{k: v for k, v in row().items() if k != "seed"}], title="T", text="")
    with pytest.raises(ValueError, match="nothing to record"):
        record(tmp_path, [], title="T", text="")


def test_runs_without_a_value_are_counted(tmp_path):
    path = record(tmp_path, [row(), row(seed=1, value=math.nan)], title="T", text="What.")
    assert "| 0.5 | – | 0.5 [0.5, 0.5] | 2 | 1 |" in path.read_text()


def test_chance_stands_beside_what_has_one(tmp_path):
    lines = [row(chance=0.25), row(seed=1, chance=0.25), row(metric="steps", chance=math.nan)]
    text = record(tmp_path, lines, title="T", text="What.").read_text()
    assert "| without value | chance |" in text
    assert "| one | text | lstm | text | text | 0.5 | 0.5 to 0.5 | 0.5 [0.5, 0.5] | 2 | 0 | 0.25 |" in text
    assert "| one | text | lstm | steps | text | 0.5 | – | 0.5 [0.5, 0.5] | 1 | 0 | – |" in text


def test_a_recorded_command_leaves_out_where_the_data_lies():
    words = ["a", "--data-dir", "somewhere", "--seeds", "3", "--data-dir=else", "--out", "b c"]
    assert command("experiments.x", words) == "python -m experiments.x a --seeds 3 --out 'b c'"


def test_intervals_of_a_mean():
    assert mean_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2, 2 - 2.484, 2 + 2.484), abs=1e-3)
    assert mean_interval(np.ones(100), yes_or_no=True) == pytest.approx((1, 0.963, 1), abs=1e-3)
    assert mean_interval(np.ones(5)) == (1, 1, 1)
