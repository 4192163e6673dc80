"""Steps to solve as survival: against scipy's log-rank, and permutation p-values counted by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.sweep.tables.contrasts import contrasts, contrasts_table
from experiments.sweep.tables.survival import holm, log_rank, median_time, permutation_log_rank


def arms(seed, n=12, m=9):
    """Times with ties and censoring, in two arms."""
    rng = np.random.default_rng(seed)
    times = rng.integers(1, 8, n + m).astype(float)
    return times, rng.uniform(size=n + m) < 0.7, np.arange(n + m) < n


@pytest.mark.parametrize("seed", range(5))
def test_the_statistic_is_scipys(seed):
    times, solved, first = arms(seed)
    one, other = (stats.CensoredData.right_censored(times[arm], ~solved[arm]) for arm in (first, ~first))
    assert log_rank(times, solved, first) == pytest.approx(stats.logrank(one, other).statistic, rel=1e-9)
    assert log_rank(times, solved, ~first) == pytest.approx(-log_rank(times, solved, first), rel=1e-9)


def test_exact_p_of_tiny_arms():
    """Of the 20 ways to part six different times into threes, two are as far apart: the early three, or the late."""
    assert permutation_log_rank([1, 2, 3, 4, 5, 6], [True] * 6, 3) == pytest.approx(2 / 20)
    # four solve at once and four never: 70 ways, of which two keep them apart
    assert permutation_log_rank([1] * 4 + [9] * 4, [True] * 4 + [False] * 4, 4) == pytest.approx(2 / 70)
    assert permutation_log_rank([5, 5, 5, 5], [True] * 4, 2) == 1.0


def test_nothing_solved_is_no_difference_and_no_nan():
    assert permutation_log_rank([9.0] * 10, [False] * 10, 5) == 1.0
    with pytest.raises(ValueError, match="arms of 0 and 3 trials"):
        permutation_log_rank([1, 2, 3], [True] * 3, 0)


def test_many_permutations_are_drawn_and_come_near_the_chi_squared():
    times, solved, first = arms(3, n=40, m=40)
    p = permutation_log_rank(times, solved, 40)
    assert p == permutation_log_rank(times, solved, 40)
    one, other = (stats.CensoredData.right_censored(times[arm], ~solved[arm]) for arm in (first, ~first))
    assert p == pytest.approx(stats.logrank(one, other).pvalue, abs=0.03)


def test_holm():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    assert len(holm([])) == 0


def test_medians_count_what_is_censored():
    solved = np.array([True, True, True, False, False])
    assert median_time(np.array([10.0, 20, 30, 50, 50]), solved) == 30
    assert median_time(np.array([10.0, 20, 50, 50, 50]), solved & (np.arange(5) < 2)) == math.inf
    assert median_time(np.array([50.0, 50]), np.zeros(2, bool)) == math.inf


def rows(variant, steps, diverged=False):
    return pd.DataFrame(
        {
            **{"task": "recall", "seq_len": 50, "variant": variant, "seed": range(len(steps)), "num_steps": 100},
            **{"learning_rate": 0.1, "validation_loss": 1.0, "steps_to_solve": steps, "diverged": diverged},
        }
    )


def test_contrasts_are_within_a_task_and_lag():
    runs = pd.concat([rows("a", [10.0] * 4), rows("b", [math.nan] * 4), rows("c", [20.0] * 4, diverged=True)])
    found = contrasts(runs, [("a", "b"), ("a", "c"), ("b", "c"), ("a", "not run")])
    assert list(zip(found.variant, found.baseline, strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    np.testing.assert_allclose(found.p, [2 / 70, 2 / 70, 1.0])
    np.testing.assert_allclose(found.p_holm, [6 / 70, 6 / 70, 1.0])
    text = contrasts_table(found)
    assert "| recall | 50 | a | b | 4/4 against 0/4 | 10 against > 100 | 0.0286 | 0.0857 |" in text
    assert "nan" not in text
    assert contrasts(runs, []).empty
