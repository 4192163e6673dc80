"""Transforms and their inverses, windows, forecasts without a network."""

import numpy as np
import pytest

from rnnjax.data import series

RNG = np.random.default_rng(0)
Y = 100 + np.arange(60) + 20 * np.sin(np.arange(60) * 2 * np.pi / 12) + RNG.normal(size=60)
TEXTS = [
    "",
    "log",
    "difference",
    "seasonal",
    "standard",
    "minmax",
    "log,seasonal,difference,standard",
    "minmax,difference",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_inverse_gives_back_what_followed(text):
    transform = series.make_transform(text, period=12)(Y[:40])
    z = transform.forward(Y)
    assert len(z) == len(Y) - transform.lost
    for origin in (40, 45):  # the horizon of 15 is longer than a season
        after = z[origin - transform.lost :][:15]
        np.testing.assert_allclose(transform.inverse(after, Y[:origin]), Y[origin : origin + 15], rtol=1e-12)


@pytest.mark.parametrize("text", TEXTS)
def test_many_forecasts_are_inverted_at_once(text):
    transform = series.make_transform(text, period=12)(Y[:40])
    z = 0.1 * RNG.normal(size=(2, 3, 14))
    each = np.array([[transform.inverse(row, Y[:40]) for row in rows] for rows in z])
    np.testing.assert_allclose(transform.inverse(z, Y[:40]), each, rtol=1e-13)


@pytest.mark.parametrize("text", TEXTS)
def test_only_the_training_part_is_looked_at(text):
    other = np.append(Y[:40], 7 * Y[40:])
    one, two = (series.make_transform(text, period=12)(y[:40]) for y in (Y, other))
    np.testing.assert_array_equal(one.forward(Y), two.forward(Y))


def test_what_the_transforms_are():
    y = np.array([1.0, 2.0, 4.0, 8.0])
    np.testing.assert_allclose(series.log(y).forward(y), np.log(2) * np.arange(4))
    np.testing.assert_allclose(series.difference(2)(y).forward(y), [3, 6])
    np.testing.assert_allclose(series.minmax(y[:3]).forward(y), [0, 1 / 3, 1, 7 / 3])
    z = series.standard(y[:3]).forward(y[:3])
    assert z.mean() == pytest.approx(0, abs=1e-15)
    assert z.std() == pytest.approx(1)
    both = series.make_transform(" log , difference")(y)
    np.testing.assert_allclose(both.forward(y), np.log(2) * np.ones(3))
    assert both.lost == 1


@pytest.mark.parametrize(
    ("text", "period", "y", "message"),
    [
        ("logg", 1, Y, "unknown transform 'logg'; did you mean 'log'"),
        ("seasonal", 1, Y, "needs a period of at least 2, got 1"),
        ("log", 1, np.array([1.0, 2.0, -3.0]), "value 2 is -3"),
        ("seasonal", 12, Y[:12], "a difference over 12 steps needs more than the 12 values"),
        ("standard", 1, np.full(5, 3.0), "all values for training are 3"),
        ("difference,minmax", 1, np.arange(5.0), "all values for training are 1"),
        ("standard", 1, np.full(96, 7.7), "all values for training are 7.7, up to rounding"),
        ("minmax", 1, 7.7 + 1e-15 * np.arange(2), "all values for training are 7.7, up to rounding"),
        ("difference,standard", 1, 5 + 0.1 * np.arange(96), "all values for training are 0.1, up to rounding"),
        ("difference,minmax", 1, 1e6 + 0.1 * np.arange(96), "up to rounding"),
        ("seasonal,standard", 12, Y[:12][np.arange(96) % 12] + 0.3, "up to rounding"),
        ("log,difference,standard", 1, 3 * 1.01 ** np.arange(96), "all values for training are 0.00995033, up to"),
    ],
)
def test_what_cannot_be_transformed_is_refused(text, period, y, message):
    with pytest.raises(ValueError, match=message):
        series.make_transform(text, period)(y).forward(y)


def test_small_changes_on_a_high_level_are_no_rounding():
    y = 1e6 + 1e-6 * RNG.normal(size=50)
    for text in ("standard", "difference,standard", "minmax", "log,standard", "standard,minmax"):
        assert np.ptp(series.make_transform(text)(y).forward(y)) >= 1 - 1e-12
    with pytest.raises(ValueError, match="up to rounding"):
        series.standard(np.full(96, 7.7))


def test_windows_are_in_order():
    np.testing.assert_array_equal(series.windows(np.arange(4), 3), [[0, 1, 2], [1, 2, 3]])
    pairs = np.arange(8).reshape(4, 2)
    np.testing.assert_array_equal(series.windows(pairs, 3), [pairs[:3], pairs[1:]])
    with pytest.raises(ValueError, match="windows of 5 values need as many, got 4"):
        series.windows(np.arange(4), 5)
