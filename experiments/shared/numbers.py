"""Numbers as tables show them, intervals, and values as JSON holds them."""

import math
import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

_LARGE = 1e100  # stands for infinity while resampling, so that no infinity is subtracted from another


def wilson(count: int, n: int) -> tuple[float, float]:
    """95 % interval (Wilson) of a share of which `count` of `n` were seen."""
    if n == 0:
        return math.nan, math.nan
    low, high = stats.binomtest(int(count), int(n)).proportion_ci(method="wilson")
    return float(low), float(high)


def bootstrap(samples, statistic, paired=False) -> tuple[float, float]:
    """95 % interval (percentile bootstrap, 9,999 resamples, fixed key) of statistic(*samples, axis).

    Equal values give an interval of no width; fewer than two values in a sample give none: (NaN, NaN).
    """
    samples = [np.clip(np.asarray(sample, float), -_LARGE, _LARGE) for sample in samples]
    if min(map(len, samples)) < 2:
        return math.nan, math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equal values have no standard error, which is not asked for
        result = stats.bootstrap(samples, statistic, paired=paired, vectorized=True, method="percentile", rng=0)
    low, high = (float(x) if abs(x) < 1e-6 * _LARGE else math.copysign(math.inf, x) for x in result.confidence_interval)
    return low, high


def rank_correlation(a, b, axis: int = -1) -> np.ndarray:
    """Spearman's: Pearson's correlation of ranks, ties at their mean rank; NaN where all a or all b are equal."""
    a, b = (stats.rankdata(values, axis=axis) for values in (a, b))
    a, b = (ranks - ranks.mean(axis=axis, keepdims=True) for ranks in (a, b))
    size = np.sqrt((a**2).sum(axis=axis) * (b**2).sum(axis=axis))
    return (a * b).sum(axis=axis) / np.where(size > 0, size, np.nan)


def figure(value) -> str:
    """A number for a table: three digits, and a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def rough(value) -> str:
    """A loss for a table: one digit, which is what a rerun with other neighbours gives again; a dash where none is."""
    return "–" if pd.isna(value) else f"{float(f'{value:.1g}'):,.10g}" if abs(value) < 1e7 else f"{value:.1g}"


def percent(value) -> str:
    """A share for a table: 99.8 %."""
    return "–" if pd.isna(value) else f"{100 * value:.1f} %"


def markdown(header, rows) -> str:
    """A Markdown table of texts. A bar within a text is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(text).replace("|", "\\|") for text in line) + " |" for line in lines)


def facts(known: Mapping[str, object]) -> str:
    """What a page says of where it comes from, a line each: '- Commit: 12e4567'. What is empty is left out."""
    return "\n".join(f"- {label}: {value}" for label, value in known.items() if value not in (None, ""))


def mean_interval(values: np.ndarray, yes_or_no: bool = False) -> tuple[float, float, float]:
    """Mean and 95 % interval: Wilson's for truth values, Student's t otherwise; NaN where there are too few."""
    if not len(values):
        return math.nan, math.nan, math.nan
    mean = float(np.mean(values))
    if yes_or_no:
        return mean, *wilson(int(values.sum()), len(values))
    if len(values) < 2 or not np.isfinite(values).all():
        return mean, math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def horizon_text(value, seq_len) -> str:
    """A gradient horizon: '34.2', or '> 200' where it lies beyond the sequence."""
    return f"> {seq_len}" if value > seq_len else figure(value)
