import os
import re
import unicodedata

import datasets
import numpy as np
import pandas as pd
import pytest

from rnnjax.data import tokens
from rnnjax.data.ragged import take, truncate
from rnnjax.data.texts import load_texts, split_of
from rnnjax.data.tokens import TOKENIZERS, number_tokens, tokenise
from rnnjax.data.vocabulary import Vocabulary, build_vocabulary, encode_all
from rnnjax.files import user_cache

REVIEWS = ["A fine film.", "Dull, so dull!", "Fine.", "Not my film"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def write(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return path


def rows_of(tokens):
    return [
        [tokens.types[i] for i in tokens.ids.values[start:end]]
        for start, end in zip(tokens.ids.offsets[:-1], tokens.ids.offsets[1:], strict=True)
    ]


# ---- loading


def test_files_of_every_kind_give_the_same(tmp_path):
    frame = pd.DataFrame(
        {"label": [1, 0, 1, 0], "id": [7, 8, 9, 10], "text": ['say "yes", now', "два\nряда", "NA", ""]}
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "a.txt", index=False, sep=";")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True, force_ascii=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for suffix in ("csv", "tsv", "txt", "jsonl", "parquet"):
        loaded = load_texts(tmp_path / f"a.{suffix}")
        assert loaded.texts == list(frame["text"])
        assert loaded.labels.dtype == np.int32
        assert loaded.labels.tolist() == [1, 0, 1, 0]
        assert loaded.classes == ("0", "1")


def test_named_labels_are_sorted_and_another_split_keeps_their_numbers(tmp_path):
    train = load_texts(write(tmp_path / "train.csv", "review,mood\ngood,pos\nbad,neg\nso,mid\n"), **COLUMNS)
    assert train.classes == ("mid", "neg", "pos")
    assert train.labels.tolist() == [2, 1, 0]
    test = load_texts(write(tmp_path / "test.csv", "mood,review\npos,fine\n"), classes=train.classes, **COLUMNS)
    assert test.labels.tolist() == [2]
    assert test.classes == train.classes
    odd = write(tmp_path / "odd.csv", "mood,review\nneg,well\npoz,fine\n")
    with pytest.raises(
        ValueError, match=r"odd.csv: row 2: unknown class 'poz'; did you mean 'pos'\? known: mid, neg, pos"
    ):
        load_texts(odd, classes=train.classes, **COLUMNS)


COLUMNS = {"text_column": "review", "label_column": "mood"}


def write_hub_set(data_dir, name="some/reviews"):
    folder = data_dir / name
    folder.mkdir(parents=True)
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    for split, rows in {"train": slice(0, 3), "test": slice(3, 4)}.items():
        columns = {"text": REVIEWS[rows], "label": [1, 0, 1, 0][rows]}
        datasets.Dataset.from_dict(columns, features).to_parquet(folder / f"{split}.parquet")
    return data_dir


def test_a_hub_set_from_a_folder(tmp_path):
    data_dir = write_hub_set(tmp_path / "data")
    train = load_texts("some/reviews", "train", data_dir=data_dir)
    assert train.texts == REVIEWS[:3]
    assert train.labels.tolist() == [1, 0, 1]
    assert train.classes == ("neg", "pos")
    test = load_texts("some/reviews", "test", classes=train.classes, data_dir=data_dir)
    assert (test.texts, test.labels.tolist(), test.classes) == (REVIEWS[3:], [0], ("neg", "pos"))
    both = load_texts("some/reviews", "train+test", data_dir=data_dir)
    assert both.texts == REVIEWS
    assert both.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("split", "column", "message"),
    [
        ("tset", "text", r"some/reviews: unknown split 'tset'; did you mean 'test'\?"),
        ("train+dev", "text", "some/reviews: unknown split 'dev'; known: train, test"),
        (None, "text", r"some/reviews: which split\? it has train, test"),
        ("test", "txt", r"some/reviews test: unknown column 'txt'; did you mean 'text'\? known: text, label"),
        ("train", "label", "some/reviews train: column 'label' holds int 1 in row 1, not text"),
    ],
)
def test_what_a_hub_set_lacks_is_named(tmp_path, split, column, message):
    with pytest.raises(ValueError, match=message):
        load_texts("some/reviews", split, text_column=column, data_dir=write_hub_set(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.csv: the file is empty"),
        ("\n\n", "a.csv: the file is empty"),
        ("text,label\n", "a.csv: no rows"),
        ("text,lable\na,0\nb,1\n", r"a.csv: unknown column 'label'; did you mean 'lable'\? known: text, lable"),
        ("review,label\na,0\nb,1\n", "a.csv: unknown column 'text'; known: review, label"),
        ("label,text\n0,a\n1\n0,c\n", "a.csv: row 2 has 1 fields, the first line 2"),
        ("text,label\na,0\nb,\nc,\n", "a.csv: 2 of 3 labels in column 'label' are missing, the first in row 2"),
        ("text,label\na,0\nb,1,2,3\n", "a.csv: row 2 has 4 fields, the first line 2"),
        ("text,label\na,1\nb,1\n", "labels must be 0 .. C-1 for C classes, each with an example; found 1$"),
        ("text,label\na,1\nb,2\nc,3\nd,4\n", "found 1, 2, 3, 4$"),
        ("text,label\na,-1\nb,0\nc,1\n", "found -1, 0, 1$"),
        ("text,label\na,0\nb,2\n", "found 0, 2$"),
        ("text,label\na,0\nb,0.5\n", "a.csv: labels must be whole numbers or strings, row 2 has '0.5'"),
        ("text,label\na,nan\nb,1\n", "row 1 has 'nan'"),
        ("text,label\na,0\nb,inf\n", "row 2 has 'inf'"),
        ("text,label\na,0\nb,0\n", "a.csv: one class only: all 2 rows are '0'"),
        ("text,label\na,pos\nb,pos\n", "a.csv: one class only: all 2 rows are 'pos'"),
    ],
)
def test_files_that_are_no_classes_of_texts(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load_texts(write(tmp_path / "a.csv", content))


def test_labels_of_a_test_split_beyond_the_classes_are_named(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\na,0\nb,4\n")
    with pytest.raises(ValueError, match=r"1 of 2 labels are not in 0 .. 2, the first is 4 in row 2"):
        load_texts(path, classes=("0", "1", "2"))
    assert load_texts(write(path, "text,label\na,2\n"), classes=("0", "1", "2")).labels.tolist() == [2]


def test_classes_named_like_numbers_keep_the_numbers_of_the_training_split(tmp_path):
    train = load_texts(write(tmp_path / "train.csv", "text,label\na,3\nb,x\nc,10\n"))
    assert (train.classes, train.labels.tolist()) == (("10", "3", "x"), [1, 2, 0])
    test = load_texts(write(tmp_path / "test.csv", "text,label\na,10\nb,3\n"), classes=train.classes)
    assert test.labels.tolist() == [0, 1]


def test_a_hub_set_with_other_classes_than_the_training_split_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"its classes \['neg', 'pos'\] are not those of the training split, \['pos', 'neg'\]"
    ):
        load_texts("some/reviews", "test", classes=("pos", "neg"), data_dir=write_hub_set(tmp_path))


def test_missing_values_of_a_parquet_file_are_counted(tmp_path):
    pd.DataFrame({"text": ["a", None, "c"], "label": [0, 1, 1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="1 of 3 texts in column 'text' are missing, the first in row 2"):
        load_texts(tmp_path / "a.parquet")
    pd.DataFrame({"text": ["a", "b"], "label": [[0], [1]]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"labels must be whole numbers or strings, got list \[0\]"):
        load_texts(tmp_path / "b.parquet")


def test_files_and_splits_do_not_mix(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\na,0\nb,1\n")
    with pytest.raises(
        ValueError, match=r"a.csv is a file or a folder, which is one split, so it has no split 'train'"
    ):
        load_texts(path, "train")
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.csv"):
        load_texts(tmp_path / "nowhere.csv")


def test_another_encoding_is_read_when_named_and_suggested_when_not(tmp_path):
    rows = "".join(f"хороший фильм {i},1\nплохой фильм {i},0\n" for i in range(20))
    path = write(tmp_path / "a.csv", f"text,label\n{rows}", "windows-1251")
    with pytest.raises(ValueError, match=r"a.csv is not utf-8: byte 0xf5 at position 11.*--encoding windows-1251"):
        load_texts(path)
    assert load_texts(path, encoding="windows-1251").texts[:2] == ["хороший фильм 0", "плохой фильм 0"]
    with pytest.raises(ValueError, match="unknown encoding 'windos-1251'; did you mean 'windows-1251'"):
        load_texts(path, encoding="windos-1251")
    wide = write(tmp_path / "c.csv", "text,label\nда,0\nнет,1\n", "utf-16")
    assert load_texts(wide, encoding="utf-16").texts == ["да", "нет"]
    marked = write(tmp_path / "b.csv", "text,label\nда,0\nнет,1\n", "utf-8-sig")
    assert load_texts(marked).texts == ["да", "нет"]


def test_what_looks_like_nothing_or_breaks_other_readers_arrives(tmp_path):
    words = ["None", "null", "NA", "nan", "", "yes"]
    path = write(tmp_path / "a.csv", "label,text\n" + "".join(f"{i % 2},{word}\n" for i, word in enumerate(words)))
    assert load_texts(path).texts == words
    long = "x" * 200_000
    assert load_texts(write(path, f"text,label\n{long},0\nshort,1\n")).texts == [long, "short"]
    lone = write(tmp_path / "a.tsv", 'text\tlabel\ngood\t1\n"so so\t0\nfine\t1\nbad\t0\n"what\t0\nnice\t1\n')
    assert load_texts(lone).texts == ["good", '"so so', "fine", "bad", '"what', "nice"]
    quoted = write(tmp_path / "b.tsv", 'text\tlabel\n"a ""quoted"" word"\t1\n"plain"\t0\n')
    assert load_texts(quoted).texts == ['a "quoted" word', "plain"]
    semicolons = write(tmp_path / "c.csv", "text;label\nwell, then;0\nno;1\n")
    assert load_texts(semicolons).texts == ["well, then", "no"]
    trailing = write(tmp_path / "d.csv", "text,label\na,0,\nb,1,\n")
    assert load_texts(trailing).labels.tolist() == [0, 1]
    headless = write(tmp_path / "e.csv", "a,0\nb,1\n")
    assert load_texts(headless, text_column="1", label_column="2").texts == ["a", "b"]


def test_a_heading_given_twice_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"a.csv: the heading has 'text' more than once"):
        load_texts(write(tmp_path / "a.csv", "text,text,label\na,b,1\nc,d,0\n"))


def test_blanks_around_a_label_are_no_part_of_it(tmp_path):
    rows = "".join(f"word{i},{('neg', 'pos', ' neg ', 'pos ')[i % 4]}\n" for i in range(8))
    loaded = load_texts(write(tmp_path / "a.csv", f"text,label\n{rows}"))
    assert loaded.classes == ("neg", "pos")
    assert loaded.labels.tolist() == [0, 1] * 4


def test_folders_of_texts_are_classes(tmp_path):
    for name, words in {"good": ["fine", "well"], "bad": ["dull"], "notes": []}.items():
        (tmp_path / "reviews" / name / "more").mkdir(parents=True)
        for i, word in enumerate(words):
            write(tmp_path / "reviews" / name / "more" / f"{i}.txt", word)
    loaded = load_texts(tmp_path / "reviews")
    assert (loaded.texts, loaded.classes, loaded.labels.tolist()) == (
        ["dull", "fine", "well"],
        ("bad", "good"),
        [0, 1, 1],
    )
    with pytest.raises(ValueError, match="reviews is a file or a folder, which is one split"):
        load_texts(tmp_path / "reviews", "train")


def test_a_data_folder_is_read_as_other_files_are(tmp_path):
    folder = tmp_path / "data" / "my" / "set"
    folder.mkdir(parents=True)
    write(folder / "train.csv", "text,label\nNone,pos\nnull,neg \nNA,pos\n")
    write(folder / "test.csv", "label;text\nneg;yes\n")
    train = load_texts("my/set", "train", data_dir=tmp_path / "data")
    assert (train.texts, train.classes, train.labels.tolist()) == (["None", "null", "NA"], ("neg", "pos"), [1, 0, 1])
    assert load_texts(folder, "test", classes=train.classes).texts == ["yes"]
    write(folder / "test.csv", "хороший,да\nплохой,нет\n", "windows-1251")
    with pytest.raises(ValueError, match=r"test.csv is not utf-8.*windows-1251"):
        load_texts(folder, "test")


def test_a_cut_off_file_of_a_data_folder_is_named_with_its_line(tmp_path):
    (tmp_path / "set").mkdir()
    write(
        tmp_path / "set" / "train.jsonl", '{"text": "good", "label": 1}\n{"text": "bad", "label": 0}\n{"text": "cut o'
    )
    with pytest.raises(ValueError, match=r"train.jsonl: line 3 is no JSON \(cut off\?\)"):
        load_texts("set", "train", data_dir=tmp_path)


def test_a_folder_without_data_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty"):
        load_texts(tmp_path / "empty", "train")
    write(tmp_path / "empty" / "train.parquet", "no Parquet")
    with pytest.raises(ValueError, match="empty cannot be read as a data set"):
        load_texts(tmp_path / "empty", "train")


# ---- splits


def test_a_split_is_disjoint_shuffled_and_the_same_again():
    parts = split_of(50, (34, 6, 10), seed=3)
    assert [len(part) for part in parts] == [34, 6, 10]
    assert sorted(np.concatenate(parts)) == list(range(50))
    assert np.concatenate(parts).tolist() != list(range(50))
    for part, again, other in zip(parts, split_of(50, (34, 6, 10), 3), split_of(50, (34, 6, 10), 4), strict=True):
        np.testing.assert_array_equal(part, again)
        assert part.tolist() != other.tolist()


def test_fractions_and_counts():
    assert [len(part) for part in split_of(50_000, (0.67, 0.33), 0)] == [33_500, 16_500]
    assert [len(part) for part in split_of(7, (0.5, 0.5), 0)] == [4, 3]
    assert [len(part) for part in split_of(100, (20, 10), 0)] == [20, 10]
    assert [len(part) for part in split_of(100, (0.2, 0.1), 0)] == [20, 10]


def test_a_split_by_labels_has_every_class_in_each_part():
    labels = np.arange(400) < 13
    for seed in range(20):
        parts = split_of(400, (0.8, 0.1, 0.1), seed, labels)
        assert [len(part) for part in parts] == [320, 40, 40]
        assert [labels[part].sum() for part in parts] == [11, 1, 1]
        assert sorted(np.concatenate(parts)) == list(range(400))
    blind = [split_of(400, (0.8, 0.1, 0.1), seed) for seed in range(20)]
    assert min(labels[part].sum() for parts in blind for part in parts) == 0
    parts, again = split_of(400, (0.8, 0.1, 0.1), 3, labels), split_of(400, (0.8, 0.1, 0.1), 3, labels)
    assert all(one.tolist() == two.tolist() for one, two in zip(parts, again, strict=True))
    assert any(np.diff(np.flatnonzero(labels[parts[0]])) > 1)  # shuffled within a part


@pytest.mark.parametrize("parts", [(0.5, 0.2), (70, 30), (10, 1, 1), (0.97, 0.01, 0.02), (1.0,)])
def test_a_split_by_labels_has_each_class_by_its_share(parts):
    for seed in range(20):
        labels = np.random.default_rng(seed).choice(5, size=100, p=[0.5, 0.3, 0.1, 0.07, 0.03]).astype(str)
        blind, split = split_of(100, parts, seed), split_of(100, parts, seed, list(labels))
        assert [len(part) for part in split] == [len(part) for part in blind]
        assert len(set(np.concatenate(split))) == sum(map(len, split))
        for name in set(labels):
            found = np.array([np.sum(labels[part] == name) for part in split])
            share = np.array([np.mean(labels == name) * len(part) for part in split])
            assert (abs(found - share) <= 2.5).all()
    with pytest.raises(ValueError, match="3 labels for 100 examples"):
        split_of(100, parts, 0, ["a", "b", "a"])


@pytest.mark.parametrize("parts", [(), (60, 50), (0.9, 0.2), (0, 10), (-3, 10), (0.001, 0.5)])
def test_parts_that_cannot_be_cut(parts):
    with pytest.raises(ValueError, match="cannot cut 100 examples into parts"):
        split_of(100, parts, 0)


# ---- tokens

REVIEW = "Don't miss \"Ed Wood's\" 2nd film!<br /><br />It's the best-ever (really); so: 10/10... über_Café?"


@pytest.mark.parametrize(
    ("tokenizer", "tokens"),
    [
        ("keras_words", "don't miss ed wood's 2nd film br br it's the best ever really so 10 10 über café"),
        (
            "words",
            "don't miss \" ed wood's \" 2nd film ! it's the best ever ( really ) ; so : 10 10 . . . über café ?",
        ),
        ("content_words", "miss ed wood 2nd film best really 10 10 über café"),
    ],
)
def test_tokenizers(tokenizer, tokens):
    assert TOKENIZERS[tokenizer](REVIEW) == tokens.split()


@pytest.mark.parametrize("tokenizer", ["words", "content_words"])
def test_letters_stay_whole_in_any_script(tokenizer):
    cut = TOKENIZERS[tokenizer]
    assert cut("Это — очень ХОРОШИЙ фильм") == ["это", "очень", "хороший", "фильм"]
    decomposed = "Cafe\u0301 хороши\u0438\u0306"
    assert cut(decomposed) == ["café", "хороши" + "й"]
    assert cut("O’Hara's")[0] == {"words": "o'hara's", "content_words": "hara"}[tokenizer]


@pytest.mark.parametrize("tokenizer", ["words", "content_words"])
@pytest.mark.parametrize(
    "text",
    [
        "किताब की",
        "прекра́сное",
        "நல்ல படம்",  # Tamil
        "หนังดีมาก",  # Thai
        "שָׁלוֹם עוֹלָם",
        "مُحَمَّد كِتَابٌ",
        "می\u200cخواهم",  # a joiner inside, in Persian
        "x\u0301yz² ½",
    ],
)
def test_words_keep_their_marks(tokenizer, text):
    assert TOKENIZERS[tokenizer](text) == unicodedata.normalize("NFC", text).split()


def test_marks_without_a_letter_are_no_words():
    assert tokens.words("good ❤\ufe0f film \u0301") == ["good", "film"]


def test_words_of_plain_text_are_runs_of_letters():
    plain = " ".join(
        [REVIEW, "it's_a 'test' — №5 x²; don''t 3.14 ½ Ⅷ", "".join(map(chr, range(32, 0x300))).replace("İ", "")]
    )
    lowered = re.sub(r"<br\s*/?>", " ", unicodedata.normalize("NFC", plain.lower())).replace("_", " ")
    assert tokens.words(plain) == re.findall(r"\w+(?:'\w+)*|[.,!?;:()\"]", lowered)


def test_characters_are_grapheme_clusters():
    assert tokens.characters("A 🇩🇪👍🏽👨\u200d👩 किता\tCafe\u0301\n") == [
        "a",
        "🇩🇪",
        "👍🏽",
        "👨\u200d👩",
        "कि",
        "ता",
        *"café",
    ]
    assert tokens.characters("这部电影") == list("这部电影")


def test_texts_without_spaces_are_warned_of(recwarn):
    chinese = [f"这部电影很{'好难'[i % 2]}看我觉得第{i}次还是这样" for i in range(40)]
    with pytest.warns(UserWarning, match=r"'words': 100% of all tokens occur once only.*tokenizer 'characters'"):
        tokenise(chinese, "words")
    with pytest.warns(UserWarning, match="'content_words'"):
        tokenise([f"{each}。我很喜欢{i}" for i, each in enumerate(chinese)], "content_words")
    recwarn.clear()
    tokenise(chinese, "characters")
    tokenise([f"यह किताब बहुत अच्छी है कहानी की {i}" for i in range(40)], "words")
    tokenise([f"{a} {b}" for a in "abcde" for b in "fghij"], "words")
    tokenise([f"rare{i} words{i} everywhere{i}" for i in range(40)], "words")
    assert not recwarn.list


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_no_tokenizer_gives_empty_tokens_or_spaces(tokenizer):
    odd = "".join(map(chr, range(0x3000))) + " a\tb\nc\r\nd\x85e\xa0f "
    tokens = TOKENIZERS[tokenizer](odd)
    assert tokens
    assert all(token.split() == [token] for token in tokens)
    assert TOKENIZERS[tokenizer]("") == TOKENIZERS[tokenizer](" \n\u2028 ") == []
    assert TOKENIZERS[tokenizer](" --- \n") == ["-"] * 3 * (tokenizer == "characters")


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_tokens_are_the_tokenizers_own(tokenizer, tmp_path):
    texts = [REVIEW, "", "the film", REVIEW.upper()]
    tokens = tokenise(texts, tokenizer)
    assert rows_of(tokens) == [TOKENIZERS[tokenizer](each) for each in texts]
    assert len(set(tokens.types)) == len(tokens.types)


def test_an_unknown_tokenizer_is_named():
    with pytest.raises(ValueError, match="unknown tokenizer 'word'; did you mean 'words'"):
        tokenise(["a"], "word")


def test_the_cache_gives_the_same_tokens_without_cutting_again(tmp_path, monkeypatch):
    texts = [REVIEW, "", "Это фильм"]
    first = tokenise(texts, "words", tmp_path / "new" / "cache")
    (path,) = (tmp_path / "new" / "cache").iterdir()
    monkeypatch.setitem(TOKENIZERS, "words", None)
    again = tokenise(texts, "words", tmp_path / "new" / "cache")
    assert again.types == first.types
    assert rows_of(again) == rows_of(first) == rows_of(number_tokens(map(tokens.words, texts)))
    assert again.ids.offsets.tolist() == first.ids.offsets.tolist()
    path.write_bytes(path.read_bytes()[:100])
    monkeypatch.setitem(TOKENIZERS, "words", tokens.words)
    assert rows_of(tokenise(texts, "words", path.parent)) == rows_of(first)
    assert rows_of(tokenise([*texts[:2], "Это"], "words", path.parent)) == [*rows_of(first)[:2], ["это"]]
    assert rows_of(tokenise(texts, "keras_words", path.parent)) != rows_of(first)
    assert len(list(path.parent.iterdir())) == 3


def test_the_cache_keeps_the_newest_files_only(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "KEPT", 2)
    other = write(tmp_path / "notes.txt", "")
    for age, word in enumerate("abcd"):
        tokenise([word], "words", tmp_path)
        newest = max(tmp_path.glob("tokens-*.npz"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1e9 + age, 1e9 + age))
    monkeypatch.setitem(TOKENIZERS, "words", None)  # from here on nothing is cut
    assert [tokenise([word], "words", tmp_path).types for word in "cd"] == [["c"], ["d"]]
    assert len(list(tmp_path.glob("tokens-*"))) == 2
    assert other.exists()


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path):
    in_the_way = write(tmp_path / "file", "")
    with pytest.warns(UserWarning, match="tokens not kept for the next time"):
        assert rows_of(tokenise(["a b"], "words", in_the_way)) == [["a", "b"]]


def test_no_texts_are_no_tokens(tmp_path):
    assert rows_of(tokenise([], "words", tmp_path)) == rows_of(tokenise([], "words", tmp_path)) == []


def test_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "rnnjax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache" / "rnnjax"


# ---- vocabulary


def test_the_most_frequent_words_come_first_and_ties_in_alphabetical_order():
    tokens = number_tokens([["b", "c", "a"], ["b", "d"], ["c", "b"]])
    assert build_vocabulary(tokens, 100).words == ("b", "c", "a", "d")
    assert build_vocabulary(tokens, 5).words == ("b", "c", "a")
    assert build_vocabulary(tokens, 5).size == 5
    assert build_vocabulary(tokens, 100, min_count=2).words == ("b", "c")


def test_a_vocabulary_of_some_rows_knows_nothing_of_the_others():
    tokens = number_tokens([["b", "c"], ["d", "d"], ["c"]])
    training = tokens._replace(ids=take(tokens.ids, [0, 2]))
    vocabulary = build_vocabulary(training, 100)
    assert vocabulary.words == ("c", "b")
    encoded = encode_all(vocabulary, tokens)
    assert encoded.values.tolist() == [3, 2, 1, 1, 2]


def test_encoding():
    vocabulary = Vocabulary(("film", "the"))
    assert vocabulary.encode(["the", "film", "was", "the"]).tolist() == [3, 2, 1, 3]
    assert vocabulary.encode([]).dtype == np.int32
    lists = [["the", "film"], [], ["was"], [], []]
    encoded = encode_all(vocabulary, number_tokens(lists))
    assert encoded.values.dtype == np.int32
    assert encoded.values.tolist() == [3, 2, 1, 1, 1, 1]
    assert encoded.lengths.tolist() == [2, 1, 1, 1, 1]
    assert truncate(encoded, 1, "last").values.tolist() == [2, 1, 1, 1, 1]


def test_a_vocabulary_survives_json():
    vocabulary = Vocabulary(("фильм", 'so "so"', "a"))
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert again.encode(["a", "фильм"]).tolist() == [4, 2]


@pytest.mark.parametrize(
    "stored", ["[]", "{}", '{"words": "abc"}', '{"words": ["a", 3]}', '{"words": ["a", "a"]}', "nonsense"]
)
def test_json_that_is_no_vocabulary(stored):
    with pytest.raises(ValueError, match=r"vocabulary|Expecting value"):
        Vocabulary.from_json(stored)


def test_sizes_that_make_no_vocabulary():
    tokens = number_tokens([["a", "b"]])
    with pytest.raises(ValueError, match="max_size must be at least 3, got 2"):
        build_vocabulary(tokens, 2)
    with pytest.raises(ValueError, match="min_count must be at least 1, got 0"):
        build_vocabulary(tokens, 10, min_count=0)
    with pytest.raises(ValueError, match="no token occurs 2 times or more in these 1 texts"):
        build_vocabulary(tokens, 10, min_count=2)
