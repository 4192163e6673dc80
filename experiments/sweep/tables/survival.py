"""Steps to solve as survival: a trial that has not solved its task within num_steps is censored there, not left out.

Two arms are compared by the log-rank test, whose p-value is that of permutations of the trials between the arms: with
five or ten trials an arm, and steps known only to the nearest evaluation, the usual chi-squared is far off.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

MOST_EXACT = 200_000  # ways to part the trials into arms; beyond, so many are drawn
NUM_DRAWN = 9_999


def log_rank(times: np.ndarray, solved: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The log-rank statistic z: what the first arm solves beyond its share of those at risk, in standard deviations.

        z = Σₜ (d₁ - d n₁/n) / √ Σₜ d (n₁/n) (1 - n₁/n) (n - d)/(n - 1)

    over times t at which d of the n still at risk solve, d₁ and n₁ of them in the first arm. 0 where none solves.

    Args:
      times, solved: of each trial, [N]; the time is that of solving, or, where not solved, of censoring.
      first: which trials make up the first arm, [*P, N].

    Source: Mantel 1966; Kalbfleisch & Prentice 2002, section 1.5.
    """
    at = np.unique(times[solved])
    at_risk = times[:, None] >= at  # [N, times]
    events = (times[:, None] == at) & solved[:, None]
    n, d = at_risk.sum(axis=0), events.sum(axis=0)
    first = first.astype(float)
    share = (first @ at_risk) / n
    over = np.sum(first @ events - d * share, axis=-1)
    variance = np.sum(d * share * (1 - share) * (n - d) / np.maximum(n - 1, 1), axis=-1)
    return np.divide(over, np.sqrt(variance), out=np.zeros_like(over), where=variance > 0)


def permutation_log_rank(times: Sequence[float], solved: Sequence[bool], num_first: int, rng: int = 0) -> float:
    """The two-sided p-value of arms of the first `num_first` trials and of the rest.

    The share of all ways to part the trials into arms of these sizes whose |z| is at least that seen; where there are
    more than 200,000, of 9,999 drawn ways and the one seen. 1 where none solves.

    Raises:
      ValueError: an arm without trials.
    """
    times, solved = np.asarray(times, float), np.asarray(solved, bool)
    count = len(times)
    if not 0 < num_first < count:
        raise ValueError(f"arms of {num_first} and {count - num_first} trials: each needs at least one")
    seen = abs(log_rank(times, solved, np.arange(count) < num_first))
    if math.comb(count, num_first) <= MOST_EXACT:
        members = np.array(list(itertools.combinations(range(count), num_first)))
        first = np.zeros((len(members), count), bool)
        np.put_along_axis(first, members, True, axis=1)
        return float(np.mean(np.abs(log_rank(times, solved, first)) >= seen - 1e-9))
    drawn = np.random.default_rng(rng).permuted(np.tile(np.arange(count) < num_first, (NUM_DRAWN, 1)), axis=1)
    return float((1 + np.sum(np.abs(log_rank(times, solved, drawn)) >= seen - 1e-9)) / (1 + NUM_DRAWN))


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values corrected for their number: the chance of any false call among them stays below what one p says.

    Source: Holm 1979.
    """
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected


def median_time(times: np.ndarray, solved: np.ndarray) -> float:
    """The Kaplan-Meier median of times to solve; infinite where the curve stays above a half."""
    curve = stats.ecdf(stats.CensoredData.right_censored(times, ~solved)).sf
    reached = curve.quantiles[curve.probabilities <= 0.5 + 1e-9]
    return float(reached[0]) if len(reached) else math.inf
