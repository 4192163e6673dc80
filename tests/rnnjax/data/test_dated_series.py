"""Series from files: oldest first, one value a step, what is missing named or filled."""

import numpy as np
import pytest

from rnnjax.data.dated_series import read_series
from rnnjax.data.dates import find_frequency, following, grid

MONTHS = np.arange("2020-01", "2024-01", dtype="datetime64[M]").astype("datetime64[D]")


@pytest.fixture
def write(tmp_path):
    def written(*rows):
        path = tmp_path / "a.csv"
        path.write_text("\n".join(rows) + "\n")
        return path

    return written


def dated(order=range(48)):
    return ["date,price", *(f"{MONTHS[i]},{100 + i}" for i in order)]


def test_dates_newest_first_or_in_any_order_are_put_in_order(write):
    for order in (range(48), range(47, -1, -1), np.random.default_rng(0).permutation(48)):
        series = read_series(write(*dated(order)))
        np.testing.assert_array_equal(series.values, 100.0 + np.arange(48))
        np.testing.assert_array_equal(series.dates, MONTHS)
        assert (series.name, series.frequency.name, series.filled.any()) == ("price", "monthly", False)
        np.testing.assert_array_equal(series.dates_ahead(2), np.array(["2024-01-01", "2024-02-01"], "datetime64[s]"))


def test_a_missing_month_is_named_or_interpolated_or_skipped(write):
    path = write(*dated([i for i in range(48) if i not in (17, 30)]))
    with pytest.raises(
        ValueError, match=r"2 of 48 values are missing \(monthly\): 2021-06-01, 2022-07-01\. .*interpolate"
    ):
        read_series(path)
    series = read_series(path, missing="interpolate")
    np.testing.assert_allclose(series.values, 100.0 + np.arange(48))
    assert np.flatnonzero(series.filled).tolist() == [17, 30]
    skipped = read_series(path, missing="skip")
    np.testing.assert_array_equal(skipped.values, 100.0 + np.delete(np.arange(48), [17, 30]))
    assert skipped.dates_ahead(1) == np.datetime64("2024-01-01")
    with pytest.raises(ValueError, match="unknown way with what is missing 'interpolat'; did you mean 'interpolate'"):
        read_series(path, missing="interpolat")


def test_repeated_dates_are_refused_with_their_rows(write):
    with pytest.raises(ValueError, match="1 dates are repeated, the first is 2020-03-01 in rows 3 and 6"):
        read_series(write(*dated([0, 1, 2, 3, 4, 2])))


def test_blank_lines_of_one_column_are_gaps(write):
    rows = ["" if i % 4 == 3 else str(100 + i) for i in range(60)]
    with pytest.raises(ValueError, match="15 of 60 values are missing: in rows 4, 8, 12, 16, 20 and more"):
        read_series(write("price", *rows))
    with pytest.raises(ValueError, match="the value at row 60 is missing, at the end of the series"):
        read_series(write("price", *rows), missing="interpolate")
    series = read_series(write("price", *rows, "160"), missing="interpolate")
    np.testing.assert_allclose(series.values, 100.0 + np.arange(61))
    assert series.dates_ahead(1) is None
    assert len(read_series(write("price", *rows), missing="skip").values) == 45


def test_values_that_are_missing_at_a_date_are_named_by_it(write):
    with pytest.raises(ValueError, match=r"column 'price': 1 of 3 values are missing \(daily\): 2020-01-02"):
        read_series(write("day,price", "2020-01-01,1", "2020-01-02,", "2020-01-03,3"))
    with pytest.raises(ValueError, match="column 'price': all values are missing"):
        read_series(write("day,price", "2020-01-01,", "2020-01-02,"), "price", missing="interpolate")
    with pytest.raises(ValueError, match="column 'day': 1 dates are missing, the first in row 2"):
        read_series(write("day,price", "2020-01-01,1", ",2", "2020-01-03,3"))


def test_further_columns_go_along(write):
    path = write("sold;date;price", "7;03.01.2020;1,5", "5;02.01.2020;2,5", "1;01.01.2020;3,5")
    series = read_series(path, "price", exogenous=["sold"])
    np.testing.assert_array_equal(series.values, [3.5, 2.5, 1.5])
    np.testing.assert_array_equal(series.exogenous, [[1], [5], [7]])
    assert series.exogenous_names == ("sold",)
    assert read_series(path, exogenous=["sold"]).name == "price"
    with pytest.raises(ValueError, match="has 2 columns of numbers: sold, price; choose one with --column"):
        read_series(path)


def test_columns_of_dates_are_chosen(write):
    path = write("from,to,n", "2020-01-01,2020-02-01,1", "2020-02-01,2020-03-01,2")
    with pytest.raises(ValueError, match="has 2 columns of dates: from, to; choose one with --dates"):
        read_series(path)
    assert read_series(path, date_column="to").dates[0] == np.datetime64("2020-02-01")
    years = read_series(write("year,n", "1950,2", "1949,1", "1951,3"), "n", date_column="year")
    assert (years.values.tolist(), years.frequency.name) == ([1, 2, 3], "yearly")
    plain = read_series(write("year,n", "1950,2", "1949,1", "1951,3"), "n")
    assert (plain.values.tolist(), plain.dates) == ([2, 1, 3], None)


@pytest.mark.parametrize(
    ("dates", "name", "ahead"),
    [
        (["2020-01-31", "2020-02-29", "2020-03-31"], "monthly", ["2020-04-30", "2020-05-31"]),
        (["2020-01-30", "2020-03-30", "2020-04-30"], "monthly", ["2020-05-30", "2020-06-30"]),
        (["2020-03-31", "2020-06-30", "2020-12-31"], "quarterly", ["2021-03-31", "2021-06-30"]),
        (["2020-02-29", "2021-02-28"], "yearly", ["2022-02-28", "2023-02-28"]),
        (["2020-01-01", "2020-03-01", "2020-05-01"], "every 2 months", ["2020-07-01", "2020-09-01"]),
        (["2020-02-27", "2020-02-28", "2020-03-01"], "daily", ["2020-03-02", "2020-03-03"]),
        (["2020-01-01", "2020-01-08", "2020-01-22"], "weekly", ["2020-01-29", "2020-02-05"]),
        (["2020-01-01T22", "2020-01-01T23"], "hourly", ["2020-01-02", "2020-01-02T01"]),
        (["2020-01-01T00:00", "2020-01-01T00:15"], "every 15 minutes", ["2020-01-01T00:30", "2020-01-01T00:45"]),
        (
            ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07", "2020-01-08", "2020-01-10"],
            "weekdays",
            ["2020-01-13", "2020-01-14"],
        ),
    ],
)
def test_frequencies_are_found_with_gaps_and_go_on(dates, name, ahead):
    dates = np.array(dates, "datetime64[s]")
    frequency = find_frequency(dates)
    assert frequency.name == name
    np.testing.assert_array_equal(following(dates[-1], frequency, 2), np.array(ahead, "datetime64[s]"))
    whole = grid(dates, frequency)
    assert set(dates) <= set(whole)
    assert (whole[0], whole[-1]) == (dates[0], dates[-1])
    assert find_frequency(whole) == frequency


def test_dates_on_no_common_grid_are_refused_or_skipped(write):
    path = write("day,n", "2020-01-01 06:00,6", "2020-01-01 03:00,3", "2020-01-01 01:00,1")
    with pytest.raises(ValueError, match=r"the dates are not evenly spaced: from 0.0833333 to 0.125 days apart"):
        read_series(path)
    series = read_series(path, missing="skip")
    assert (series.values.tolist(), series.frequency) == ([1, 3, 6], None)
    with pytest.raises(ValueError, match=r"3 dates from 2000-01-01 to 2020-01-01 would be 7306 steps \(daily\)"):
        read_series(write("day,n", "2000-01-01,1", "2000-01-02,2", "2020-01-01,3"))
