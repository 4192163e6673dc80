"""Tables and folders as people bring them to experiments.classify: what is in them arrives, or is refused by name."""

import numpy as np
import pytest

from experiments.classify import main as classify
from experiments.classify.prepare import prepare

SPLIT = "--split=0.6/0.2/0.2"
ROWS = [(f"word{i % 5} {('bad', 'good')[i % 2]}", ("neg", "pos")[i % 2]) for i in range(40)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def written(path, rows, sep=",", heading=("text", "label"), encoding="utf-8"):
    lines = [heading, *rows] if heading else rows
    path.write_text("".join(sep.join(line) + "\n" for line in lines), encoding=encoding)
    return path


def read(path, *words):
    """What is learnt from: vocabulary, classes, and the texts of the parts."""
    return prepare(classify.COMMAND.read(["imdb-packed", f"--dataset={path}", SPLIT, *words]).settings)


def counts(prepared):
    return [len(part.labels) for part in prepared.parts.values()]


def test_a_plain_table(tmp_path):
    prepared = read(written(tmp_path / "a.csv", ROWS))
    assert prepared.classes == ("neg", "pos")
    assert counts(prepared) == [24, 8, 8]
    assert {"good", "bad", "word0"} <= set(prepared.vocabulary.words)


def test_texts_that_look_like_nothing_are_texts(tmp_path):
    literals = [(("None", "null", "NA", "nan")[i % 4], ("neg", "pos")[i % 2]) for i in range(40)]
    prepared = read(written(tmp_path / "a.csv", literals))
    assert sorted(prepared.vocabulary.words) == ["na", "nan", "none", "null"]
    assert sum(counts(prepared)) == 40


def test_a_long_field_is_read(tmp_path):
    prepared = read(written(tmp_path / "a.csv", [("x " * 100_000, "neg"), *ROWS]))
    assert max(part.rows.lengths.max() for part in prepared.parts.values()) == 100_000


def test_tabs_with_lone_quotes_and_with_quoted_fields(tmp_path):
    lone = [(f'"{text}', label) for text, label in ROWS]
    prepared = read(written(tmp_path / "a.tsv", lone, "\t"), "--tokenizer=words")
    assert sum(counts(prepared)) == 40
    assert '"' in prepared.vocabulary.words
    quoted = [(f'"a ""{text}"" b"', label) for text, label in ROWS]
    prepared = read(written(tmp_path / "b.tsv", quoted, "\t"), "--tokenizer=words")
    assert sum(counts(prepared)) == 40
    assert set(prepared.parts["train"].rows.lengths) == {6}  # a " word0 bad " b


def test_semicolons_trailing_commas_and_no_heading(tmp_path):
    for name, rows, words in (
        ("a.csv", [(f"well, {text}", label) for text, label in ROWS], []),
        ("b.csv", ROWS, ["--sep=;"]),
    ):
        assert sum(counts(read(written(tmp_path / name, rows, ";"), *words))) == 40
    assert sum(counts(read(written(tmp_path / "c.csv", [(*row, "") for row in ROWS])))) == 40
    path = written(tmp_path / "d.csv", ROWS, heading=None)
    for words in ([], ["--no-heading"]):
        assert sum(counts(read(path, "--text-column=1", "--label-column=2", *words))) == 40


def test_blanks_around_labels_make_no_classes(tmp_path):
    rows = [(text, label + " " * (i % 3)) for i, (text, label) in enumerate(ROWS)]
    assert read(written(tmp_path / "a.csv", rows)).classes == ("neg", "pos")


def test_another_encoding_is_suggested_and_read(tmp_path, capsys):
    rows = [(f"{('плохой', 'хороший')[i % 2]} фильм {i}", ("нет", "да")[i % 2]) for i in range(40)]
    path = written(tmp_path / "a.csv", rows, encoding="windows-1251")
    assert classify.main(["imdb-packed", f"--dataset={path}", SPLIT]) == 2
    error = capsys.readouterr().err
    assert f"{path} is not utf-8" in error
    assert "--encoding windows-1251" in error
    prepared = read(path, "--encoding=windows-1251")
    assert prepared.classes == ("да", "нет")
    assert {"плохой", "хороший", "фильм"} <= set(prepared.vocabulary.words)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,text,label\na,b,1\n", "a.csv: the heading has 'text' more than once"),
        ("a.csv", "text,label\na,1,2\n", "a.csv: row 1 has 3 fields, the first line 2"),
        ("a.csv", "text,label\na,\nb,1\n", "1 of 2 labels in column 'label' are missing, the first in row 1"),
        ("a.jsonl", '{"text": "good", "label": 1}\n{"text": "cut o', "a.jsonl: line 2 is no JSON (cut off?)"),
        ("a.csv", "", "a.csv: the file is empty"),
    ],
)
def test_what_does_not_serve_is_named_in_one_line(tmp_path, capsys, name, content, message):
    (tmp_path / name).write_text(content)
    assert classify.main(["imdb-packed", f"--dataset={tmp_path / name}", SPLIT]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_with_a_folder_for_each_class(tmp_path, capsys):
    for split, rows in {"train": ROWS, "test": ROWS[:6]}.items():
        for i, (text, label) in enumerate(rows):
            (tmp_path / split / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / split / label / f"{i}.txt").write_text(text)
    prepared = read(tmp_path / "train", "--split=official", f"--test-file={tmp_path / 'test'}", "--num-validation=10")
    assert prepared.classes == ("neg", "pos")
    assert counts(prepared) == [30, 10, 6]
    (tmp_path / "empty").mkdir()
    assert classify.main(["imdb-packed", f"--dataset={tmp_path / 'empty'}"]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "empty") in error
    assert error.startswith("error: no data set 'empty'")


def test_a_cut_off_file_of_a_data_folder_is_named(tmp_path, capsys):
    (tmp_path / "data" / "my" / "set").mkdir(parents=True)
    for split in ("train", "test"):
        path = tmp_path / "data" / "my" / "set" / f"{split}.jsonl"
        path.write_text('{"text": "good", "label": 1}\n{"text": "bad", "label": 0}\n{"text": "cut o')
    assert classify.main(["imdb-packed", "--dataset=my/set", f"--data-dir={tmp_path / 'data'}"]) == 2
    assert "train.jsonl: line 3 is no JSON (cut off?)" in capsys.readouterr().err


def test_every_part_has_its_share_of_a_rare_class(tmp_path):
    rows = [(f"thing {i}", str(int(i < 13))) for i in range(400)]
    prepared = read(written(tmp_path / "a.csv", rows), "--split=0.8/0.1/0.1")
    assert [int(part.labels.sum()) for part in prepared.parts.values()] == [11, 1, 1]
    test = written(tmp_path / "b.csv", rows[:20])
    words = ["--split=official", f"--test-file={test}", "--num-validation=100"]
    prepared = read(tmp_path / "a.csv", *words)
    assert [int(part.labels.sum()) for part in prepared.parts.values()] == [10, 3, 13]
    np.testing.assert_array_equal(counts(prepared), [300, 100, 20])


def test_words_keep_their_marks_and_texts_without_spaces_are_warned_of(tmp_path):
    hindi = [(f"यह किताब बहुत {('बुरी', 'अच्छी')[i % 2]} है कहानी की {i}", str(i % 2)) for i in range(40)]
    words = read(written(tmp_path / "a.csv", hindi), "--tokenizer=words").vocabulary.words
    assert {"किताब", "की", "अच्छी", "बुरी"} <= set(words)
    chinese = [(f"这部电影很{'好难'[i % 2]}看我觉得第{i}次还是这样", str(i % 2)) for i in range(40)]
    path = written(tmp_path / "b.csv", chinese)
    with pytest.warns(UserWarning, match="take tokenizer 'characters'"):
        read(path, "--tokenizer=words")
    assert {"好", "难"} <= set(read(path, "--tokenizer=characters").vocabulary.words)
