"""A random table written in a random dialect is read back as it was, or refused; never read as something else."""

import csv
import io
import json
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from rnnjax.data.dated_series import read_series
from rnnjax.data.dates import find_frequency, following, read_dates
from rnnjax.data.numerals import STYLES, is_missing, is_number, read_numbers
from rnnjax.data.tables import read_table

quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# Letters, quotes, separators, blanks, newlines, digits, marks; no lone surrogates, which no file in UTF-8 can hold.
CHARACTERS = st.sampled_from(list("abяß字e\u0301'\",;|\t\n .-1290\u2028\xa0\x1f")) | st.characters(
    exclude_categories=["Cs", "Cn"]
)
TEXT = st.text(CHARACTERS, max_size=12).map(lambda text: text.replace("\r", ""))
NAME = st.text("abcdefgхцч_ ", min_size=1, max_size=8).map(str.strip).filter(bool)


def tables(cells=TEXT, max_columns=4):
    def of_width(names):
        return st.tuples(st.just(names), st.lists(st.tuples(*[cells] * len(names)), min_size=1, max_size=6))

    return st.lists(NAME, min_size=1, max_size=max_columns, unique=True).flatmap(of_width)


def written(names, rows, separator, quoting, end="\n"):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([names, *rows])
    return out.getvalue()


@quick
@given(
    tables(),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_quoted_tables_come_back_with_their_separator_given(tmp_path, table, separator, quoting, end):
    names, rows = table
    path = tmp_path / "a.csv"
    path.write_bytes(written(names, rows, separator, quoting, end).encode())
    got = read_table(path, sep=separator if len(names) > 1 else "", heading=True)
    assert list(got.columns) == names
    kept = [row for row in rows if len(names) == 1 or any(cell.strip() for cell in row) or len(row) > 1]
    assert list(zip(*got.columns.values(), strict=True)) == kept


@quick
@given(tables(), st.sampled_from(",;\t|"), st.sampled_from([".csv", ".tsv"]))
def test_a_separator_is_found_or_the_file_refused(tmp_path, table, separator, suffix):
    names, rows = table
    assume(len(names) > 1 and (suffix == ".csv" or separator == "\t"))
    path = tmp_path / f"a{suffix}"
    path.write_text(written(names, rows, separator, csv.QUOTE_ALL), newline="")
    try:
        got = read_table(path, heading=True)
    except ValueError as error:
        if "--sep" not in str(error):  # where two would do, it asks
            raise
        return
    assert got.separator == separator
    assert list(zip(*got.columns.values(), strict=True)) == rows


@quick
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cn", "Cc"]), min_size=1), min_size=1, max_size=6))
def test_one_column_of_texts_is_one_column(tmp_path, texts):
    assume(not any(set("\t;|") & set(text) for text in texts))  # all rows parted alike would be refused
    path = tmp_path / "a.csv"
    path.write_text(written(["text"], [[text] for text in texts], ",", csv.QUOTE_MINIMAL), newline="")
    assert read_table(path, heading=True).columns == {"text": texts}


@quick
@given(
    st.lists(st.decimals(-(10**7), 10**7, places=2) | st.none(), min_size=1, max_size=8),
    st.sampled_from(STYLES),
    st.booleans(),
)
def test_numbers_come_back_or_are_asked_about(values, style, group_blanks):
    assume(any(value is not None for value in values))

    def shown(value):
        text = "" if value is None else f"{value:,.2f}"
        thousands = style.thousands or (" " if group_blanks else "")
        return text.replace(",", "_").replace(".", style.decimal).replace("_", thousands)

    cells = [shown(value) for value in values]
    assert all(is_number(cell) or is_missing(cell) for cell in cells)
    expected = [np.nan if value is None else float(value) for value in values]
    np.testing.assert_array_equal(read_numbers("x", cells), expected)


@quick
@given(
    st.datetimes(datetime(1950, 1, 1), datetime(2049, 1, 1)),
    st.sampled_from([60, 900, 3600, 86_400, 604_800]),
    st.lists(st.booleans(), min_size=3, max_size=40),
    st.sampled_from(
        ["%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d %b %Y %H:%M", "%Y-%m-%dT%H:%MZ"]
    ),
)
def test_dates_come_back_in_order_with_their_gaps(tmp_path, start, step, there, form):
    start = start.replace(second=0, microsecond=0)
    dates = [start + timedelta(seconds=step * i) for i, is_there in enumerate(there) if is_there]
    assume(len(dates) > 3 and any(a and b for a, b in pairwise(there)))
    path = tmp_path / "a.csv"
    shuffled = np.random.default_rng(0).permutation(len(dates))
    path.write_text("\n".join(["when,n", *(f"{dates[i]:{form}},{i}" for i in shuffled)]))
    try:
        series = read_series(path, missing="skip")
    except ValueError as error:
        if "may be" not in str(error):  # the day or the month
            raise
        return
    np.testing.assert_array_equal(series.dates, np.array(dates, "datetime64[s]"))
    np.testing.assert_array_equal(series.values, np.arange(len(dates)))
    if series.frequency.unit == "second":
        assert series.dates_ahead(1) == np.datetime64(dates[-1] + timedelta(seconds=step))


@quick
@given(
    st.dates(datetime(1900, 1, 1).date(), datetime(2090, 1, 1).date()),
    st.integers(1, 30),
    st.sampled_from(["MS", "ME", "B", "QE", "W"]),
)
def test_frequencies_go_on_as_those_of_pandas(start, count, alias):
    dates = pd.date_range(start, periods=count + 12, freq=alias).to_numpy().astype("datetime64[s]")
    frequency = find_frequency(dates[:10])
    if alias == "B" and frequency.unit == "second":
        return
    np.testing.assert_array_equal(following(dates[9], frequency, count + 2), dates[10 : count + 12])


@quick
@given(tables(TEXT | st.none() | st.integers(-(10**6), 10**6)))
def test_json_lines_and_parquet_come_back(tmp_path, table):
    names, rows = table
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows))
    assert list(zip(*read_table(path).columns.values(), strict=True)) == rows
    texts = [[str(cell) for cell in row] for row in rows]
    pd.DataFrame(texts, columns=names).to_parquet(tmp_path / "a.parquet")
    assert list(map(list, zip(*read_table(tmp_path / "a.parquet").columns.values(), strict=True))) == texts


@quick
@given(st.binary(max_size=60), st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]))
def test_bytes_of_any_kind_are_read_or_refused(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    try:
        table = read_table(path)
    except ValueError as error:
        if f"a{suffix}" not in str(error):  # whatever is refused, its file is named
            raise
    else:
        assert {len(values) for values in table.columns.values()} == {len(table)}


@quick
@given(st.lists(st.text("0123456789./-: TZQJanMay", max_size=12), min_size=1, max_size=3))
def test_texts_of_any_kind_are_dates_or_refused(cells):
    try:
        dates = read_dates("x", cells)
    except ValueError as error:
        if not str(error).startswith("x: "):
            raise
    else:
        assert len(dates) == len(cells)
