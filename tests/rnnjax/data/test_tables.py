"""What people bring as files: what is in them arrives, or the reader says what does not and what to give."""

import json
import subprocess
import sys
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from rnnjax.data.dates import read_dates
from rnnjax.data.numerals import allowed_styles, read_numbers
from rnnjax.data.tables import decode, guess_encoding, read_table, read_texts


@pytest.fixture
def write(tmp_path):
    def written(name, content, encoding="utf-8"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return written


def lines(*rows):
    return "\n".join(rows) + "\n"


# ---- separators, quotes, headings


def test_semicolons_and_decimal_commas_are_found(write):
    table = read_table(write("a.csv", lines("month;price", *(f"{i};{100 + i},25" for i in range(1, 49)))))
    np.testing.assert_array_equal(table.numbers("price"), 100.25 + np.arange(1, 49))
    np.testing.assert_array_equal(table.numbers("month"), np.arange(1, 49))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_each_separator_is_found_though_texts_have_the_others(write, separator):
    others = "".join({",", ";", "\t", "|"} - {separator})
    path = write("a.csv", lines(f"text{separator}label", f'"so{others}so{separator}"{separator}1', f"well{separator}0"))
    table = read_table(path)
    assert table.texts("text") == [f"so{others}so{separator}", "well"]
    assert table.labels("label") == ["1", "0"]


def test_a_comma_in_every_row_of_a_semicolon_file_is_the_decimal_mark(write):
    path = write("a.csv", lines("Date, UTC;Open, EUR", "1;101,25", "2;102,5"))
    np.testing.assert_array_equal(read_table(path).numbers("Open, EUR"), [101.25, 102.5])


def test_two_separators_that_would_do_are_refused_and_one_is_given(write):
    path = write("a.csv", lines("a;b,c", "x;y,z"))
    with pytest.raises(ValueError, match=r"a.csv: each of ',' ';' parts all 2 rows alike.*--sep"):
        read_table(path)
    assert read_table(path, sep="semicolon").columns == {"a": ["x"], "b,c": ["y,z"]}
    assert read_table(path, sep=",").columns == {"a;b": ["x;y"], "c": ["z"]}
    assert read_table(path, sep="").columns == {"a;b,c": ["x;y,z"]}
    with pytest.raises(ValueError, match="unknown separator 'comme'; did you mean 'comma'"):
        read_table(path, sep="comme")


def test_empty_fields_at_the_end_of_rows_shift_nothing(write):
    table = read_table(write("a.csv", lines("day,price,sold", *(f"{i},{100 + i},{7 * i}," for i in range(1, 49)))))
    assert list(table.columns) == ["day", "price", "sold"]
    np.testing.assert_array_equal(table.numbers("price"), 100 + np.arange(1, 49))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3,4,5\n", "a.csv: row 2 has 3 fields, the first line 2"),
        ("a,b\n1,2\n3\n", "a.csv: row 2 has 1 fields, the first line 2"),
        ("Prices of 2020\nmonth;price\n1;2\n", "a.csv: row 1 has 2 fields, the first line 1"),
        ("text,text,label\na,b,1\n", "a.csv: the heading has 'text' more than once"),
        ("", "a.csv: the file is empty"),
        ("\n \n", "a.csv: the file is empty"),
        ("a,b\n", "a.csv: no rows under the heading a, b"),
        ('a,b\n1,2\n"x,3\n4,5\n', "a.csv: line 3: a quote is opened and never closed"),
        ('a,b\n1,2\n"x" y,3\n', "a.csv: line 3: .* expected after"),
    ],
)
def test_rows_that_make_no_table_are_refused(write, content, message):
    with pytest.raises(ValueError, match=message):
        read_table(write("a.csv", content))


def test_one_column_is_not_parted_at_a_letter(write):
    for heading in ("name", "text", "review", "Anna", "message", "tweet", "poem", "line", "Satz", "отзыв"):
        path = write("a.csv", lines(heading, "Anna", "Boris", "Vera, too", "Gleb"))
        assert read_table(path).columns == {heading: ["Anna", "Boris", "Vera, too", "Gleb"]}
    np.testing.assert_array_equal(read_table(write("a.csv", "price\n1,5\n12,25\n")).numbers("price"), [1.5, 12.25])


def test_words_for_nothing_are_texts_and_no_numbers(write):
    table = read_table(write("a.csv", lines("id,text,n", "1,None,1", "2,null,-", "3,NA,", "4,yes,NA", "5,,2.5")))
    assert table.texts("text") == ["None", "null", "NA", "yes", ""]
    np.testing.assert_array_equal(table.numbers("n"), [1, np.nan, np.nan, np.nan, 2.5])


def test_long_fields_are_read(write):
    long = "word " * 40_000
    assert read_table(write("a.csv", f'id,text\n1,"{long}"\n2,short\n')).texts("text") == [long, "short"]


def test_a_quote_in_a_tsv_is_one_where_the_rows_agree(write):
    rows = ["good\t1", '"so so\t0', "fine\t1", "bad\t0", '"what\t0', "nice\t1"]
    table = read_table(write("a.tsv", lines("text\tlabel", *rows)))
    assert table.texts("text") == ["good", '"so so', "fine", "bad", '"what', "nice"]
    closed_later = read_table(write("b.tsv", lines("text\tlabel", '"so so\t0', 'what"\t1')))
    assert closed_later.texts("text") == ['"so so', 'what"']
    quoted = read_table(write("c.tsv", lines("text\tlabel", '"a ""quoted"" word"\t1', '"plain"\t0', '"two\nlines"\t0')))
    assert quoted.texts("text") == ['a "quoted" word', "plain", "two\nlines"]


def test_blanks_before_quotes(write):
    table = read_table(write("a.csv", lines('"text", "label"', '"good, so good", "1"', '"bad", "0"')))
    assert table.columns == {"text": ["good, so good", "bad"], "label": ["1", "0"]}


@pytest.mark.parametrize(
    ("content", "names", "first"),
    [
        (lines(*(f"{100.5 + i}" for i in range(48))), ["1"], ["100.5"]),
        (lines("2020-01-01,5", "2020-01-02,6"), ["1", "2"], ["2020-01-01", "5"]),
        (lines("good film,1", "bad film,0"), ["1", "2"], ["good film", "1"]),
        (lines("price,2019", "x,3"), ["1", "2"], ["price", "2019"]),
        (lines("n,label", "1,2", "3,4"), ["n", "label"], ["1", "2"]),
        (lines("price,2019", "7,3"), ["price", "2019"], ["7", "3"]),
        (lines("good,pos", "bad,neg", "dull,neg", "nice,pos", "fine,pos"), ["1", "2"], ["good", "pos"]),
        (lines("-5;Jan 01, 2020;pos", "7;Jan 02, 2020;1"), ["1", "2", "3"], ["-5", "Jan 01, 2020", "pos"]),
        (lines("", "1.5", "2"), ["1"], [""]),
        (lines("NA", "1.5", "2"), ["1"], ["NA"]),
        (lines("word", "a", "word", "b", "c"), ["word"], ["a"]),
        (lines("text,label", "good,pos", "bad,neg"), ["text", "label"], ["good", "pos"]),
        (lines(",body", "0,a", "1,b"), ["1", "body"], ["0", "a"]),
    ],
)
def test_a_heading_is_found(write, content, names, first):
    table = read_table(write("a.csv", content))
    assert list(table.columns) == names
    assert [values[0] for values in table.columns.values()] == first


def test_a_heading_is_given_where_it_is_not_found(write):
    path = write("a.csv", "Anna\nBoris\n")
    assert read_table(path, heading=False).columns == {"1": ["Anna", "Boris"]}
    path = write("b.csv", "name,2019,2020\nA,1,2\nB,3,4\n")
    with pytest.raises(ValueError, match=r"unknown column '2019'.*first row was taken for data.*--heading"):
        read_table(path).column("2019")
    np.testing.assert_array_equal(read_table(path, heading=True).numbers("2019"), [1, 3])


def test_columns_that_are_not_there_are_named(write):
    table = read_table(write("a.csv", "month,price\n1,2\n"))
    for read in (table.texts, table.labels, table.numbers):
        with pytest.raises(
            ValueError, match=r"a.csv: unknown column 'pric'; did you mean 'price'\? known: month, price"
        ):
            read("pric")


def test_labels_lose_their_blanks_and_none_may_be_missing(write):
    table = read_table(write("a.csv", lines("text,label", "a,pos", "b,pos ", "c, neg", "d,neg\xa0")))
    assert table.labels("label") == ["pos", "pos", "neg", "neg"]
    with pytest.raises(ValueError, match="2 of 3 labels in column 'label' are missing, the first in row 2"):
        read_table(write("a.csv", lines("text,label", "a,x", "b,", "c, "))).labels("label")


# ---- encodings


def test_byte_order_marks_and_newlines_of_any_kind(write):
    for text, encoding in (("да,b\r\n1,2\r\n", "utf-8-sig"), ("да,b\r1,2", "utf-8"), ("да,b\n1,2\n", "utf-16")):
        path = write("a.csv", text, encoding)
        assert read_table(path, encoding="utf-16" if encoding == "utf-16" else "utf-8").columns == {
            "да": ["1"],
            "b": ["2"],
        }


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("отзыв,оценка\nХороший фильм,да\n", "windows-1251"),
        ("ОТЗЫВ;Очень хороший фильм, Скучный", "koi8-r"),
        ("отзыв,оценка\nХороший фильм,да\n", "cp866"),
        ("Übermütige Mädchen, café, garçon, señor", "windows-1252"),
        ("Zażółć gęślą jaźń, świat i ludzie", "windows-1250"),
        ("Καλημέρα κόσμε", "windows-1253"),
        ("любой текст", "utf-16"),
    ],
)
def test_another_encoding_is_named_with_the_file(write, text, encoding):
    assert guess_encoding(text.encode(encoding)) == encoding
    path = write("a.csv", text, encoding)
    with pytest.raises(ValueError, match=rf"a.csv is not utf-8: byte 0x.. at position \d+ .*--encoding {encoding}"):
        read_table(path)
    assert decode("a.csv", path.read_bytes(), encoding) == text
    with pytest.raises(ValueError, match="unknown encoding 'windos-1251'; did you mean 'windows-1251'"):
        read_table(path, encoding="windos-1251")


def test_files_of_other_kinds_are_named(write, tmp_path):
    with pytest.raises(ValueError, match=r"a.csv is packed by gzip, not a text"):
        read_table(write("a.csv", b"\x1f\x8b\x08\x00"))
    with pytest.raises(ValueError, match=r"b.csv is a zip file \(a workbook\?\)"):
        read_table(write("b.csv", b"PK\x03\x04"))
    with pytest.raises(ValueError, match=r"c.parquet cannot be read as Parquet"):
        read_table(write("c.parquet", "a,b\n1,2\n"))
    with pytest.raises(ValueError, match="is a folder; a file was expected"):
        read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.csv"):
        read_table(tmp_path / "nowhere.csv")


# ---- JSON lines and Parquet


def test_json_lines(write):
    path = write(
        "a.jsonl", lines('{"text": "a\u2028b", "label": 1, "n": 2.5}', "", '{"text": "NA", "label": 0, "n": null}')
    )
    table = read_table(path)
    assert table.texts("text") == ["a\u2028b", "NA"]
    assert table.labels("label") == [1, 0]
    np.testing.assert_array_equal(table.numbers("n"), [2.5, np.nan])
    with pytest.raises(ValueError, match=r"a.jsonl: column 'label' holds int 1 in row 1, not text"):
        table.texts("label")


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"text": "cut o', "line 3 is no JSON"), ("[1, 2]", "line 3 is list"), ("[" * 100_000, "line 3 is no JSON")],
)
def test_json_that_is_cut_off_names_file_and_line(write, line, message):
    good = '{"text": "good", "label": 1}'
    with pytest.raises(ValueError, match=rf"a\.jsonl: {message}"):
        read_table(write("a.jsonl", f"{good}\n{good}\n{line}"))
    with pytest.raises(ValueError, match="1 of 2 texts in column 'text' are missing, the first in row 2"):
        read_table(write("b.jsonl", good + '\n{"label": 0}\n')).texts("text")


def test_parquet_gives_values_of_python(tmp_path):
    days = pd.to_datetime(["2020-01-01", "2020-01-02"])
    frame = pd.DataFrame({"text": ["a", "b"], "label": pd.Categorical(["x", "y "]), "n": [1.5, None], "day": days})
    frame.to_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert table.texts("text") == ["a", "b"]
    assert table.labels("label") == ["x", "y"]
    np.testing.assert_array_equal(table.numbers("n"), [1.5, np.nan])
    assert table.columns["day"] == ["2020-01-01 00:00:00", "2020-01-02 00:00:00"]
    assert table.date_columns() == ["day"]
    assert table.number_columns() == ["n"]


# ---- numbers


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["101,25", "", "1.102,25"], [101.25, np.nan, 1102.25]),
        (["1,234.5", "2"], [1234.5, 2]),
        (["1 234,5", "1\xa0234 567".replace(" ", "\xa0"), "2"], [1234.5, 1234567, 2]),
        (["1'234.50", "-5."], [1234.5, -5]),
        (["1.234", "2.345"], [1.234, 2.345]),
        (["1.234.567", "1.000"], [1234567, 1000]),
        (["1,234", "0,5"], [1.234, 0.5]),
        (["1,234", "1,234,567"], [1234, 1234567]),
        (["−5", "+1e3", " .5 ", "2.5E−1"], [-5, 1000, 0.5, 0.25]),
    ],
)
def test_numbers_as_people_write_them(cells, numbers):
    np.testing.assert_array_equal(read_numbers("x", cells), numbers)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1,234", "2"], "'1,234' in row 1 may be 1.234 or 1234: say which with --decimal"),
        (["1.234,5", "3.5"], "1 of 2 values are no finite numbers"),
        (["1", "inf"], "the first is 'inf' in row 2"),
        (["1", "1e999"], "the first is '1e999' in row 2"),
        (["1_000"], "'1_000'"),
        (["12,34,567"], "'12,34,567'"),
        (["5 %"], "'5 %'"),
    ],
)
def test_what_is_no_number_or_two(cells, message):
    with pytest.raises(ValueError, match=message):
        read_numbers("x", cells)


def test_how_numbers_are_written_is_given_or_told_by_another_column(write):
    path = write("a.csv", lines("a;b", "1,234;0,5", "2,345;1,5"))
    np.testing.assert_array_equal(read_table(path).numbers("a"), [1.234, 2.345])
    path = write("b.csv", lines("a;b", "1.234;2", "2.345;3"))  # with semicolons a point may part thousands
    with pytest.raises(ValueError, match=r"b.csv: column 'a': '1.234' in row 1 may be 1.234 or 1234"):
        read_table(path).numbers("a")
    np.testing.assert_array_equal(read_table(path, decimal=",").numbers("a"), [1234, 2345])
    np.testing.assert_array_equal(read_table(path, decimal=".").numbers("a"), [1.234, 2.345])
    np.testing.assert_array_equal(read_table(path, thousands=".").numbers("a"), [1234, 2345])
    for options in ({"decimal": ";"}, {"decimal": ",", "thousands": ","}, {"thousands": "12"}):
        with pytest.raises(ValueError, match=r"decimal|thousands"):
            allowed_styles(**options)


# ---- texts


def test_texts_of_files_lines_columns_and_folders(write, tmp_path):
    write("poems/b.txt", "three\r\nfour")
    write("poems/a.txt", "one\n\ntwo\n")
    write("poems/notes.md", "not this")
    assert read_texts([tmp_path / "poems"]) == ["one\n\ntwo\n", "three\nfour"]
    assert read_texts([tmp_path / "poems"], "lines") == ["one", "two", "three", "four"]
    table = write("tables/t.csv", 'title,body\nA,"one, two"\nB,\nC,None\n')
    write("tables/u.jsonl", json.dumps({"body": "three"}))
    assert read_texts([table], column="body") == ["one, two", "None"]
    assert read_texts([tmp_path / "tables"], column="body") == ["one, two", "None", "three"]
    with pytest.raises(ValueError, match=r"the folder has no file that ends in .txt"):
        read_texts([tmp_path / "tables"])
    with pytest.raises(ValueError, match="unknown form 'line'"):
        read_texts([table], "line")
    with pytest.raises(ValueError, match=r"blank.txt: the file is empty"):
        read_texts([write("blank.txt", " \n\n")])


# ---- dates


@pytest.mark.parametrize(
    ("cells", "dates"),
    [
        (["2020-01", "2020-12"], ["2020-01-01", "2020-12-01"]),
        (["31.01.2020", "1.2.2020"], ["2020-01-31", "2020-02-01"]),
        (["01/02/2020", "01/13/2020"], ["2020-01-02", "2020-01-13"]),
        (["01/02/2020", "13/02/2020"], ["2020-02-01", "2020-02-13"]),
        (["Jan 5, 2020", "Feb 6, 2020"], ["2020-01-05", "2020-02-06"]),
        (["January 2020", "May 2020"], ["2020-01-01", "2020-05-01"]),
        (["2020-Q1", "2020 Q4"], ["2020-01-01", "2020-10-01"]),
        (["1949", "1950"], ["1949-01-01", "1950-01-01"]),
        (["2020-01-01T02:00+02:00", "2020-01-01 01:00Z"], ["2020-01-01", "2020-01-01T01"]),
        (["5/1/2020 1:00 PM", "5/31/2020 1:30 AM"], ["2020-05-01T13", "2020-05-31T01:30"]),
    ],
)
def test_dates_as_people_write_them(cells, dates):
    np.testing.assert_array_equal(read_dates("x", cells), np.array(dates, "datetime64[s]"))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["01/02/2020", "03/04/2020"],
            r"'01/02/2020' in row 1 may be 01 February 2020 or 02 January 2020.*--date-format",
        ),
        (["2020-01-01", "soon"], "'soon' in row 2 is no date as the others are"),
        (["2020-02-30"], "'2020-02-30' in row 1 is no date"),
        (["2020-01-01 00:00", "2020-01-01 00:00Z"], "offset from UTC"),
    ],
)
def test_dates_that_are_none_or_two(cells, message):
    with pytest.raises(ValueError, match=message):
        read_dates("x", cells)
    given = read_dates("x", ["01/02/2020"], "%d/%m/%Y")
    assert given.astype(datetime).tolist() == [datetime(2020, 2, 1)]


def test_reading_tables_imports_no_library_until_it_is_needed():
    code = "import rnnjax.data.tables, rnnjax.data.dated_series, sys; print({'pandas', 'pyarrow'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
