"""Series of numbers, as NumPy float64: transforms with their inverses, windows, and forecasts without a network.

A transform is fitted on the training part alone, applied to all of a series, and inverted for forecasts:

    fit(training [n], rounding=None) -> Fitted(lost, forward, inverse)   rounding: how far the values may be off
    forward(y [n])                                  -> z [n - lost]    the first `lost` values have no counterpart
    inverse(z [..., H], before [m])                 -> y [..., H]      for values z that follow upon those `before`
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rnnjax.errors import unknown

EPSILON = float(np.finfo(np.float64).eps)


class Fitted(NamedTuple):
    """A transform with its constants; see the module's docstring."""

    lost: int
    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray, np.ndarray], np.ndarray]


Transform = Callable[..., Fitted]


def log(training: np.ndarray, rounding: float | None = None) -> Fitted:
    """z = ln y.

    Raises:
      ValueError (when applied): a value that is not above 0.
    """

    def forward(y: np.ndarray) -> np.ndarray:
        if (y <= 0).any():
            raise ValueError(f"the logarithm needs values above 0, but value {int(np.argmax(y <= 0))} is {min(y):g}")
        return np.log(y)

    return Fitted(0, forward, lambda z, before: np.exp(z))


def difference(lag: int = 1) -> Transform:
    """z_t = y_t - y_{t-lag}: with lag 1 the trend goes, with a lag of the period the season.

    Raises:
      ValueError (when fitted): a training part that is not longer than the lag.
    """

    def inverse(z: np.ndarray, before: np.ndarray) -> np.ndarray:
        y = np.concatenate([np.broadcast_to(before[-lag:], (*z.shape[:-1], lag)), np.zeros_like(z)], axis=-1)
        for h in range(z.shape[-1]):
            y[..., lag + h] = y[..., h] + z[..., h]
        return y[..., lag:]

    def fit(training: np.ndarray, rounding: float | None = None) -> Fitted:
        if len(training) <= lag:
            raise ValueError(f"a difference over {lag} steps needs more than the {len(training)} values for training")
        return Fitted(lag, lambda y: y[lag:] - y[:-lag], inverse)

    return fit


def standard(training: np.ndarray, rounding: float | None = None) -> Fitted:
    """z = (y - mean) / standard deviation, of the training part.

    Raises:
      ValueError: values that are all the same, up to rounding: what is left of them is noise.
    """
    return _affine(training, training.mean(), training.std(), rounding)


def minmax(training: np.ndarray, rounding: float | None = None) -> Fitted:
    """z = (y - min) / (max - min), of the training part; later values may leave [0, 1].

    Raises:
      ValueError: values that are all the same, up to rounding.
    """
    return _affine(training, training.min(), np.ptp(training), rounding)


def _affine(training: np.ndarray, shift: float, scale: float, rounding: float | None) -> Fitted:
    if rounding is None:
        rounding = EPSILON * abs(training).max()
    if scale <= 4 * rounding:
        raise ValueError(f"all values for training are {shift:g}, up to rounding: nothing to scale")
    return Fitted(0, lambda y: (y - shift) / scale, lambda z, before: z * scale + shift)


def compose(transforms: Sequence[Transform]) -> Transform:
    """One after the other, each fitted on what the ones before made of the training part.

    The rounding that a part is told is what it has become of by then: the difference of 1000.1 and 1000 is off by the
    rounding of 1000, not of 0.1. It is measured, on a training part whose values are off by a unit in the last place.
    """

    def fit(training: np.ndarray, rounding: float | None = None) -> Fitted:
        parts = []
        signs = np.random.default_rng(0).choice([-1, 1], size=len(training))
        nudged = training + signs * (EPSILON * abs(training) if rounding is None else rounding)
        for transform in transforms:
            parts.append(transform(training, abs(nudged - training).max(initial=0)))
            training, nudged = parts[-1].forward(training), parts[-1].forward(nudged)

        def forward(y: np.ndarray) -> np.ndarray:
            for part in parts:
                y = part.forward(y)
            return y

        def inverse(z: np.ndarray, before: np.ndarray) -> np.ndarray:
            levels = [before]
            for part in parts[:-1]:
                levels.append(part.forward(levels[-1]))
            for part, level in zip(reversed(parts), reversed(levels), strict=False):
                z = part.inverse(z, level)
            return z

        return Fitted(sum(part.lost for part in parts), forward, inverse)

    return fit


TRANSFORMS = ("log", "difference", "seasonal", "standard", "minmax")


def make_transform(text: str, period: int = 1) -> Transform:
    """The transform of a text such as "log,seasonal,difference,standard"; "" leaves the series as it is.

    "difference" is over one step, "seasonal" over `period` steps.

    Raises:
      ValueError: an unknown name, or "seasonal" without a period.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in TRANSFORMS:
            raise ValueError(unknown("transform", name, TRANSFORMS))
    if "seasonal" in names and period < 2:
        raise ValueError(f"the transform 'seasonal' needs a period of at least 2, got {period}")
    known = {"log": log, "difference": difference(1), "standard": standard, "minmax": minmax}
    return compose([difference(period) if name == "seasonal" else known[name] for name in names])


def windows(z: np.ndarray, length: int) -> np.ndarray:
    """All runs of `length` neighbouring values of z [n, ...], in order: [n - length + 1, length, ...].

    Raises:
      ValueError: fewer values than that.
    """
    if len(z) < length:
        raise ValueError(f"windows of {length} values need as many, got {len(z)}")
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(z, length, axis=0), -1, 1)
