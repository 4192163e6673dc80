"""How good forecasts are: measures of error, differences with an interval, prediction intervals and their coverage.

Errors are [O, H]: from O origins that follow upon each other, 1 to H steps ahead; NaN where the series ends before.
"""

import math

import numpy as np

NUM_RESAMPLES = 2000


def mase_scale(training: np.ndarray, period: int) -> float:
    """The mean absolute error of the seasonal naive forecast, one step ahead, in the training part (Hyndman & Koehler
    2006)."""
    return float(np.abs(training[period:] - training[:-period]).mean())


def measures(forecasts: np.ndarray, targets: np.ndarray, scale: float) -> dict[str, float]:
    """RMSE, MAE, MASE and MAPE over all origins and horizons that have a target.

    MASE = MAE / scale,   MAPE = 100 mean |error / target|, NaN where a target is 0
    """
    error, known = forecasts - targets, np.isfinite(targets)
    absolute = np.abs(error[known])
    zero = (targets[known] == 0).any()
    return {
        "RMSE": rmse(error),
        "MAE": float(absolute.mean()),
        "MASE": float(absolute.mean()) / scale if scale else math.nan,
        "MAPE": math.nan if zero else float(100 * (absolute / np.abs(targets[known])).mean()),
    }


def rmse(error: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(error**2)))


def rmse_difference(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """RMSE(ours) - RMSE(theirs), and its 95 % interval by the circular block bootstrap over origins.

    Errors of forecasts H steps ahead are correlated over H origins, so blocks of max(H, ∛O) neighbouring origins are
    drawn with replacement, the same for both (Politis & Romano 1992). The interval is NaN with fewer origins than two
    blocks: one block is all of them in another order, and there is nothing to resample.
    """
    count, horizon = ours.shape
    block = max(horizon, math.ceil(count ** (1 / 3)))
    if count < 2 * block:
        return rmse(ours) - rmse(theirs), math.nan, math.nan
    starts = np.random.default_rng(seed).integers(0, count, (NUM_RESAMPLES, -(-count // block)))
    drawn = ((starts[..., None] + np.arange(block)) % count).reshape(NUM_RESAMPLES, -1)[:, :count]
    resampled = []
    for error in (ours, theirs):
        squares, counts = np.nansum(error**2, axis=1), np.isfinite(error).sum(axis=1)
        resampled.append(np.sqrt(squares[drawn].sum(axis=1) / counts[drawn].sum(axis=1)))
    low, high = np.quantile(resampled[0] - resampled[1], [0.025, 0.975])
    return rmse(ours) - rmse(theirs), float(low), float(high)


def conformal_widths(errors: np.ndarray, spread: np.ndarray, coverage: float) -> np.ndarray:
    """Half the width of a prediction interval for each origin and horizon, [O, H]: split conformal, rolling.

    At origin o and for horizon h, let e_i be the errors and s_i the ensemble spreads (standard deviations) of the m
    forecasts h steps ahead whose targets are known by then, and r² the mean of e_i²:

        half width = sqrt(s_o² + r²) · q,   q the ⌈(m + 1) coverage⌉-th smallest of |e_i| / sqrt(s_i² + r²)

    NaN while m is too small for that, below coverage / (1 - coverage). Were errors exchangeable, a new one would lie
    within with at least this probability; those of a series are not, so the coverage has to be measured.
    Source: Lei et al. 2018, arXiv:1604.04173, section 5.2, with known residuals growing along the series.
    """
    halves = np.full(errors.shape, np.nan)
    for o in range(errors.shape[0]):
        for h in range(min(errors.shape[1], o)):
            known, s = errors[: o - h, h], spread[: o - h, h]
            rank = math.ceil((len(known) + 1) * coverage - 1e-9)
            if rank > len(known):
                continue
            r2 = np.mean(known**2)
            scores = np.sort(np.abs(known) / np.sqrt(s**2 + r2)) if r2 else np.zeros(len(known))
            halves[o, h] = scores[rank - 1] * np.sqrt(spread[o, h] ** 2 + r2)
    return halves


def measured_coverage(errors: np.ndarray, halves: np.ndarray) -> tuple[float, int]:
    """The share of forecasts with an interval and a target whose target lies within, and their number."""
    there = np.isfinite(errors) & np.isfinite(halves)
    return (float((np.abs(errors[there]) <= halves[there]).mean()) if there.any() else math.nan), int(there.sum())
