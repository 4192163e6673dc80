"""Text generation: reading, streams and windows, held-out loss, what is measured, and the program from end to end."""

import dataclasses
import json
import math
import re
import shutil
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

from experiments.textgen import (
    corpus as corpora,
    language_model,
    main as textgen,
    program,
    results as textgen_results,
    saved_model as textgen_model,
)
from experiments.textgen.beginning import sentence_end, start_of
from experiments.textgen.corpus import END, UNKNOWN, build, split
from experiments.textgen.generated import loop_of, loops, share_known
from experiments.textgen.language_model import make_language_model, make_training, stream_pieces, windows_of
from experiments.textgen.settings import PRESETS, Pool, Settings
from rnnjax.models.model import OUTPUTS

BOOK = "".join(f"the {a} {b} and the {b} {a}.\n" for a in ("red", "old", "big") for b in ("cat", "dog", "sun")) * 12
RUSSIAN = "Не мысля гордый свет забавить,\nВниманье дружбы возлюбя, — «ёлка» и́ й\n"

# --- reading ----------------------------------------------------------------------------------------------------------


def read(*words):
    """The texts that a command line names."""
    return program.texts_of(textgen.COMMAND.read(["train", *map(str, words), "--model", "m"]).options)[0]


def test_a_file_in_another_encoding_names_the_byte_and_what_to_do(tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes("abc Алиса упала в нору".encode("windows-1251"))
    with pytest.raises(ValueError, match=r"book.txt is not utf-8: byte 0xc0 at position 4 .*--encoding windows-1251"):
        read(path)
    assert read(path, "--encoding", "windows-1251") == ["abc Алиса упала в нору"]
    with pytest.raises(ValueError, match="unknown encoding 'windows-12511'; did you mean 'windows-1251'"):
        read(path, "--encoding", "windows-12511")
    path.write_bytes("имя\nАнна\nБорис\n".encode("windows-1251"))
    with pytest.raises(ValueError, match=r"book.txt is not utf-8.*--encoding windows-1251"):
        read(path, "--column", "имя")


def test_byte_order_mark_and_newlines(tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read(path) == ["one\ntwo\nthree\n"]
    path.write_bytes(b" \n\n")
    with pytest.raises(ValueError, match="is empty"):
        read(path)


def test_lines_columns_and_whole_files_are_texts(tmp_path):
    first, second, table = (tmp_path / name for name in ("a.txt", "b.txt", "t.csv"))
    first.write_text("one\n\ntwo\n")
    second.write_text("three")
    table.write_text('title,body\nA,"one, two"\nB,\nC,three\n')
    assert read(first, second) == ["one\n\ntwo\n", "three"]
    assert read(first, second, "--form", "lines") == ["one", "two", "three"]
    assert read(table, "--column", "body") == ["one, two", "three"]
    with pytest.raises(ValueError, match=r"unknown column 'boddy'.*did you mean 'body'"):
        read(table, "--column", "boddy")
    with pytest.raises(ValueError, match="unknown form 'line'"):
        read(first, "--form", "line")
    with pytest.raises(ValueError, match="--sep and --heading are of tables"):
        read(first, "--sep", ";")


LONG = "x" * 200_000
TABLES = {  # what stands in a file, and the texts of its column
    "name\nAnna\nBoris\nVera\nGleb\n": ["Anna", "Boris", "Vera", "Gleb"],
    "id,name\n1,None\n2,null\n3,NA\n4,yes\n": ["None", "null", "NA", "yes"],
    f"name\n{LONG}\nshort\n": [LONG, "short"],
    "month,name\n1,a,\n2,b,\n": ["a", "b"],
    "id;name\n1;well, then\n2;no\n": ["well, then", "no"],
    'id,name\n1,"two\nlines"\n': ["two\nlines"],
}


@pytest.mark.parametrize("content", TABLES, ids=range(len(TABLES)))
def test_what_is_in_a_column_arrives(tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    assert read(tmp_path / "t.csv", "--column", "name") == TABLES[content]


def test_a_tab_separated_file_with_lone_quotes(tmp_path):
    (tmp_path / "t.tsv").write_text('name\tn\ngood\t1\n"so so\t0\nfine\t1\n')
    assert read(tmp_path / "t.tsv", "--column", "name") == ["good", '"so so', "fine"]
    (tmp_path / "t.tsv").write_text('name\tn\n"a ""quoted"" word"\t1\n')
    assert read(tmp_path / "t.tsv", "--column", "name") == ['a "quoted" word']
    (tmp_path / "t.csv").write_text("a;b,c\nx;y,z\n")
    assert read(tmp_path / "t.csv", "--column", "b,c", "--sep", ";") == ["y,z"]
    (tmp_path / "t.csv").write_text("Anna\nBoris\n")
    assert read(tmp_path / "t.csv", "--column", "1", "--no-heading") == ["Anna", "Boris"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "name,name\na,b\n", r"t.csv: the heading has 'name' more than once"),
        ("t.csv", "name,n\na,1,2\n", r"t.csv: row 1 has 3 fields, the first line 2"),
        ("t.jsonl", '{"name": "good"}\n{"name": "cut o', r"t.jsonl: line 2 is no JSON \(cut off\?\)"),
        ("t.jsonl", '{"name": "good"}\n{"name": null}\n', r"1 of 2 texts in column 'name' are missing.* row 2"),
    ],
)
def test_a_table_that_does_not_serve_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read(name, "--data-dir", tmp_path, "--column", "name")


def test_a_folder_of_texts_is_read(tmp_path):
    (tmp_path / "poems" / "late").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "late/c.txt", "notes.md"):
        (tmp_path / "poems" / name).write_text(f"text {name}")
    assert read(tmp_path / "poems") == ["text a.txt", "text b.txt", "text late/c.txt"]
    assert read("poems", "--data-dir", tmp_path, "--form", "lines") == ["text a.txt", "text b.txt", "text late/c.txt"]
    with pytest.raises(ValueError, match=r"poems: the folder has no file that ends in .csv"):
        read(tmp_path / "poems", "--column", "name")
    pd.DataFrame({"name": ["x", "y"]}).to_parquet(tmp_path / "poems" / "late" / "t.parquet")
    assert read(tmp_path / "poems", "--column", "name") == ["x", "y"]
    with pytest.raises(ValueError, match=r"t.parquet is a table: say which column has the texts with --column"):
        read(tmp_path / "poems" / "late" / "t.parquet")


@pytest.mark.parametrize("level", ["char", "word"])
@pytest.mark.parametrize("text", [RUSSIAN, "It's a 'well-known' x\u0301y...  \t\n\nEnd\u0301", "\u0301 e\u0302\u0301"])
def test_tokens_joined_are_the_text(level, text):
    assert "".join(split(text, level)) == text


def test_composed_characters_stay_whole():
    assert split(corpora.normalised("e\u0301x\u0301 и\u0306", False), "char") == ["é", "x\u0301", " ", "й"]
    assert split("a👨\u200d👩b", "char") == ["a", "👨\u200d👩", "b"]
    assert split("🇩🇪🇫🇷👍🏽कि", "char") == ["🇩🇪", "🇫🇷", "👍🏽", "कि"]
    assert split("👍🏽! ❤\ufe0f 🇩🇪किताब की", "word") == ["👍🏽", "!", " ❤\ufe0f", " 🇩🇪", "किताब", " की"]
    assert corpora.words_of("Прекра́сное, it's x2y किताब ❤\ufe0f") == ["прекра́сное", "it's", "x", "y", "किताब"]
    assert split("да\u0301ма it's, so", "word") == ["да\u0301ма", " it's", ",", " so"]
    assert split("a.  \n\n    b\tc ", "word") == ["a", ".", "  ", "\n", "\n", "   ", " b", "\t", "c", " "]


def test_the_vocabulary_is_that_of_the_training_part():
    corpus = build(["aab" * 30 + "cz" * 5], "book")
    assert corpus.num_train == 91
    assert corpus.ids[0] == END
    assert corpus.vocabulary.tokens[2:] == ("a", "b")
    assert (corpus.ids[91:] == UNKNOWN).all()
    assert corpus.vocabulary.decode(corpus.ids[:4]) == "aab"
    assert corpus.characters_held_out == 10
    rare = build(["aaaaaaaab" * 10 + "q"], "book", min_count=11, held_out=0.05)
    assert rare.vocabulary.tokens[2:] == ("a",)


def test_the_last_tenth_of_tiny_shakespeare_is_the_usual_one():
    corpus = build(["x" * 1_115_394], "book")
    assert len(corpus.ids) - corpus.num_train == 111_540


def test_texts_are_parted_by_the_end_and_lower_case_is_an_option():
    corpus = build(["Ab", "bA"] * 10, "texts", lower=True)
    assert corpus.vocabulary.decode(corpus.ids) == "abba" * 10
    assert (corpus.ids == END).sum() == 21
    assert build(["Ab" * 10], "a").sha256 != build(["Ab" * 10], "a", lower=True).sha256


def test_words_give_bits_per_character():
    corpus = build([BOOK], "book", level="word")
    tokens = len(corpus.ids) - corpus.num_train
    assert corpus.bits_per_nat == pytest.approx(tokens / len(corpus.held_out_text) / math.log(2))
    assert len(corpus.held_out_text) > 2 * tokens


def test_too_little_text_is_refused():
    with pytest.raises(ValueError, match="too short"):
        build(["a"], "book")


def test_the_standard_library_is_there_bounded_and_the_same_every_time():
    texts = corpora.standard_library(60_000)
    assert 20_000 < sum(map(len, texts)) <= 60_000
    assert corpora.standard_library(60_000) == texts


# --- batches and losses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("begin", "end", "streams", "seq_len", "warm_up"), [(0, 103, 4, 8, 0), (50, 91, 3, 5, 12)])
def test_pieces_count_every_input_once_and_follow_each_other(begin, end, streams, seq_len, warm_up):
    pieces = stream_pieces(begin, end, streams, seq_len, warm_up)
    position = pieces.first[:, :, None] + np.arange(seq_len)
    counts = (position >= pieces.begin[..., None]) & (position < pieces.end[..., None])
    assert sorted(position[counts].tolist()) == list(range(begin, end))
    assert (np.diff(pieces.first, axis=0) == seq_len).all()
    assert pieces.fresh[0].all()
    assert not pieces.fresh[1:].any()


def test_windows_have_every_target_once():
    windows = windows_of(5, 40, 8, 5, np.random.default_rng(0))
    targets = (windows.first + 5)[windows.counts == 1]
    assert sorted(targets.tolist()) == list(range(5, 40))
    assert targets.tolist() != sorted(targets.tolist())


SMALL = Settings(cell="gru", hidden_size=7, num_layers=2, embedding_size=3, batch_size=4, seq_len=16, epochs=2)


@pytest.fixture(scope="module")
def small():
    corpus = build([BOOK], "book")
    lm = make_language_model(SMALL, len(corpus.vocabulary.tokens))
    return corpus, lm, make_training(SMALL, corpus, lm)


def test_held_out_loss_is_that_of_one_pass_with_the_state_carried(small):
    corpus, lm, training = small
    params = jax.device_get(training.init(0).params)
    params = params._replace(W=4 * params.W)
    first = max(0, corpus.num_train - 1 - language_model.WARM_UP)

    def whole(params, ids):
        logits = lm.model.apply(params, ids[:-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, ids[1:])

    each = np.asarray(jax.jit(whole)(params, corpus.ids[first:]))[corpus.num_train - 1 - first :]
    assert len(each) == len(corpus.ids) - corpus.num_train
    assert training.held_out_nats(params, exact=True) == pytest.approx(each.mean(), rel=1e-5)
    assert training.held_out_nats(params) == pytest.approx(each.mean(), rel=1e-3)


def test_the_state_goes_from_piece_to_piece_and_begins_anew_where_a_stream_does(small):
    """The first steps' losses, at a learning rate of zero, are those of one pass over each stream."""
    corpus, lm, _ = small
    settings = dataclasses.replace(SMALL, optimizer="sgd", learning_rate=1e-30, schedule="constant")
    still = make_training(settings, corpus, lm)
    state = still.init(0)
    params = jax.tree.map(jnp.asarray, jax.device_get(state.params))
    assert still.chunks_per_epoch == 1
    count, streams = corpus.num_train - 1, SMALL.batch_size
    length = -(-count // streams)
    position = length * np.arange(streams) + np.arange(length)[:, None]  # [T, B]
    logits = jax.jit(lm.model.apply)(params, corpus.ids[position])
    each = optax.softmax_cross_entropy_with_integer_labels(logits, corpus.ids[position + 1])
    total = float(jnp.sum(each * (position < count)))
    for epoch in range(2):
        state, measured = still.chunk(state, epoch, 0)
        assert float(measured.train_loss) == pytest.approx(total / count, rel=1e-5)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"bidirectional=True with mode='streams'.*mode='windows'"):
        make_language_model(Settings(bidirectional=True), 5)
    with pytest.raises(ValueError, match="unknown cell 'grru'; did you mean 'gru'"):
        make_language_model(Settings(cell="grru"), 5)
    for bad in (
        {"mode": "stream"},
        {"pool": "all"},
        {"dropout": 1.0},
        {"epochs": 0},
        {"warmup": 1.0},
        {"clip_norm": 0.0},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Settings(**bad)


def test_the_names_that_are_written_out_are_those_of_the_library():
    assert get_args(Pool) == tuple(name for name in OUTPUTS if name != "all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--temperature 0", "--temperature 0.0 must be above 0, and finite"),
        ("--temperature 1 --greedy", "--temperature and --greedy exclude each other"),
        ("--temperature-schedule 1,0", "--temperature-schedule '1,0': 0 must be above 0, and finite"),
        ("--temperature-schedule 1,x", "--temperature-schedule '1,x' must be numbers with commas between"),
        ("--top-p 1.5", "--top-p 1.5 must be above 0 and at most 1"),
        ("--top-k -1", "--top-k -1 must be at least 0"),
        ("--n 0", "--n 0 must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_a_model_is_read(options, message, capsys):
    assert textgen.main(["generate", "--model", "nowhere", *options.split()]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_labels_as_recorded():
    given = textgen.COMMAND.read(["train", "a.txt", "--model", "m", "--cell", "lstm", "--dropout", "0.5", "--lower"])
    assert given.label == "small --lower --cell lstm --dropout 0.5"
    assert textgen.COMMAND.read(["train", "--model", "m"]).label == "source"


def test_a_corpus_that_does_not_fill_a_batch_is_refused():
    corpus = build(["abc" * 20], "short.txt")
    settings = Settings(batch_size=8, seq_len=10)
    with pytest.raises(
        ValueError, match=r"short.txt is too short: 54 tokens .* more than 80 \(batch_size=8, seq_len=10\)"
    ):
        make_training(settings, corpus, make_language_model(settings, len(corpus.vocabulary.tokens)))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_can_be_built(name):
    lm = make_language_model(PRESETS[name], 50)
    params = jax.eval_shape(lm.model.init, jax.random.key(0))
    sizes = {"keras-windows": 4 * 128 * (50 + 128 + 1) + 128 * 50 + 50}
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert total == sizes.get(name, total)
    assert total > 50_000


# --- where generation begins ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("One. Two! Thr", "One. Two! "),
        ("He said “So?” and\nleft. Mr. Smith came.\nHe", "He said “So?” and\nleft. Mr. Smith came.\n"),
        ("An end.\n\n  A paragraph. It goes\non.\nAnd on", "An end.\n\n  "),
        ("eins\nzwei\ndr", "eins\nzwei\n"),
        ("यह किताब है। वह", "यह किताब है। "),
        ("我很喜欢。他也", "我很喜欢。"),
        ("version 3.5 is o", ""),
    ],
)
def test_the_last_end_of_a_sentence(text, read):
    assert "".join(split(text, "char")[: sentence_end(split(text, "char"))]) == read
    tokens = split(text, "word")
    assert "".join(tokens[: sentence_end(tokens)]).rstrip(" ") == read.rstrip(" ")


def test_a_model_of_one_text_has_read_up_to_the_end_of_a_sentence_when_it_begins():
    corpus = build(["The red cat saw an old dog. A big sun went over it! " * 20], "book")
    for settings in (Settings(), Settings(mode="windows", seq_len=20)):
        start = start_of(settings, corpus)
        assert len(start) == {"streams": 64, "windows": 20}[settings.mode]
        assert corpus.vocabulary.decode(start).endswith((" dog. ", " it! "))
        assert END not in start
    assert start_of(Settings(), build(["ab" * 50], "book")) == (END,)
    assert start_of(Settings(), build(["One. ", "Two. "] * 20, "texts")) == (END,)


# --- what is measured -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("period", [1, 7, 100])
@pytest.mark.parametrize("before", [0, 30])
def test_a_loop_is_found_with_its_period_and_start(period, before):
    rng = np.random.default_rng(0)
    tokens = [*rng.integers(100, 200, before), *np.resize(np.arange(period), 400)]
    assert loop_of(tokens) == (period, before)


def test_no_loop_where_it_is_broken_or_too_short():
    rng = np.random.default_rng(0)
    assert loop_of(rng.integers(0, 50, 500)) is None
    assert loop_of([*rng.integers(0, 50, 500), *[1] * 50]) is None
    assert loop_of([*np.resize(np.arange(9), 400), 77]) is None
    found = loops([np.resize(np.arange(4), 200), rng.integers(0, 50, 200)])
    assert found == {"share": 0.5, "period": 4, "start": 0}
    assert math.isnan(loops([rng.integers(0, 50, 200)])["period"])


def test_words_known_leave_out_those_that_may_be_cut():
    assert share_known(["ught the Cat sat on th"], {"the", "cat"}) == 0.5
    assert math.isnan(share_known(["one"], {"one"}))


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def brief():
    """Few short texts, as many in each call, so that little is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NUM_TEXTS": 2, "LENGTH": 120, "SAMPLE_LENGTH": 40, "SPEED_BATCHES": (1,)}.items():
            patch.setattr(textgen_results, name, value)
        patch.setattr(program, "NUM_KNOWN", 3)
        patch.setattr(program, "LENGTH_KNOWN", 60)
        yield


SIZES = ["--hidden-size", "24", "--batch-size", "4", "--seq-len", "20", "--embedding-size", "8"]
SIZES += ["--learning-rate", "0.02"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, brief):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "book.txt").write_text(BOOK, encoding="utf-8")
    argv = ["train", "book.txt", "--data-dir", str(folder), "--model", str(folder / "model"), *SIZES, "--epochs", "8"]
    argv += ["--eval-every", "4", "--out", str(folder / "out")]
    assert textgen.main(argv) == 0
    return folder, argv


def test_it_learns_the_book(trained):
    folder, _ = trained
    rows = pd.read_csv(folder / "out" / "runs.csv").set_index(["metric", "split"])["value"]
    assert rows["validation bits per character", "last 10%"] < 1.0
    assert rows["validation nats per character", "last 10%"] == pytest.approx(
        math.log(2) * rows["validation bits per character", "last 10%"]
    )
    assert rows["share of words that are in the book", "greedy"] > 0.9
    assert rows["share of texts that end in a loop", "greedy"] == 1
    assert rows["tokens a second", "batch 1"] > 0


def test_what_is_recorded(trained):
    folder, _ = trained
    runs = pd.read_csv(folder / "out" / "runs.csv")
    assert "--data-dir" not in runs["command"][0]
    assert runs["preset"][0].startswith("small --hidden-size 24 --embedding-size 8")
    assert (runs["num_train"] == int(len(BOOK) * 0.9)).all()
    curves = pd.read_csv(folder / "out" / "curves.csv")
    assert curves["epoch"].tolist() == [4, 8]
    assert curves["validation_bits"].is_monotonic_decreasing
    (samples,) = (folder / "out" / "samples").iterdir()
    assert "--- greedy ---" in samples.read_text(encoding="utf-8")
    assert "temperatures 1, 0.5, 0.2, 0.2 in turn" in samples.read_text(encoding="utf-8")
    readme = (folder / "out" / "README.md").read_text(encoding="utf-8")
    known = runs.set_index(["metric", "split"])["value"]["share of words that are in the book", "greedy"]
    assert f"| book.txt | gru | {runs['value'][1]:.3g} | {known:.3g} |" in readme
    assert (folder / "out" / textgen_results.PLOT).stat().st_size > 10_000
    assert (folder / "model" / program.SAMPLES).read_text(encoding="utf-8").count("### after") == 2


def test_the_same_command_again_trains_no_more_and_another_is_refused(trained, capsys):
    folder, argv = trained
    before = json.loads((folder / "model" / "vocabulary.json").read_text())
    assert textgen.main(argv) == 0
    assert "going on from 8 of 8" in capsys.readouterr().out
    assert pd.read_csv(folder / "out" / "curves.csv")["epoch"].tolist() == [4, 8]
    assert textgen.main([*argv, "--lower", "--cell", "lstm"]) == 2
    assert "cell: 'gru' there, 'lstm' now" in capsys.readouterr().err
    assert json.loads((folder / "model" / "vocabulary.json").read_text()) == before


def test_generating_from_a_copied_folder_to_the_terminal_and_to_a_file(trained, tmp_path, capsys):
    folder, _ = trained
    shutil.copytree(folder / "model", tmp_path / "copy")
    common = ["--prefix", "the old", "--length", "90", "--seed", "3"]
    outputs = []
    for model in (folder / "model", tmp_path / "copy"):
        out = tmp_path / "texts" / "one.txt"
        assert textgen.main(["generate", "--model", str(model), *common, "--out", str(out)]) == 0
        printed = capsys.readouterr().out
        text = out.read_text(encoding="utf-8")
        assert text.startswith("the old")
        assert len(text) == len("the old") + 90 + 1
        assert printed.startswith(text)
        assert "90 characters in" in printed
        outputs.append(text)
    assert outputs[0] == outputs[1]
    several = ["--n", "3", "--top-k", "3", "--top-p", "0.9", "--temperature-schedule", "1.0,0.5,0.2", "--out", str(out)]
    assert textgen.main(["generate", "--model", str(folder / "model"), *common, *several]) == 0
    texts = out.read_text(encoding="utf-8").split(f"\n{program.SEPARATOR}\n")
    assert len(texts) == 3
    assert all(set(text) <= set(BOOK) for text in texts)


def test_greedy_generation_writes_words_of_the_book(trained, capsys):
    folder, _ = trained
    assert textgen.main(["generate", "--model", str(folder / "model"), "--greedy", "--length", "60"]) == 0
    assert share_known([capsys.readouterr().out[:60]], set(corpora.words_of(BOOK))) > 0.9


def test_generation_begins_with_a_sentence(tmp_path):
    """Of a book whose sentences begin with one of two words, all texts do so, though it has no line and no END."""
    book = "".join(f"Once a {a} {b} ran. Then the {b} met a {a} man. " for a in ("red", "old") for b in ("cat", "dog"))
    (tmp_path / "book.txt").write_text(book * 15)
    argv = ["train", str(tmp_path / "book.txt"), "--model", str(tmp_path / "m"), *SIZES, "--epochs", "10"]
    assert textgen.main([*argv, "--eval-every", "10"]) == 0
    out = tmp_path / "texts.txt"
    command = ["generate", "--model", str(tmp_path / "m"), "--n", "40", "--length", "12", "--out", str(out)]
    assert textgen.main(command) == 0
    texts = out.read_text().splitlines()
    assert len(texts) == 40
    assert np.mean([text.startswith(("Once a ", "Then the ")) for text in texts]) > 0.9


def test_what_generate_cannot_do_is_said(trained, tmp_path, capsys):
    folder, _ = trained
    model = ["generate", "--model", str(folder / "model"), "--length", "5"]

    def error(*options):
        assert textgen.main([*model, *options]) == 2
        return capsys.readouterr().err

    assert "'Ж', '@'; leave them out, or let --skip-unknown do so" in error("--prefix", "Жthe @")
    assert textgen.main([*model, "--prefix", "Жthe @", "--skip-unknown"]) == 0
    assert capsys.readouterr().out.startswith("the ")
    assert "--temperature 0.0 must be above 0" in error("--temperature", "0")
    assert "--temperature-schedule '1;2' must be numbers" in error("--temperature-schedule", "1;2")
    assert "--top-p 1.5" in error("--top-p", "1.5")
    assert "--n 0 must be at least 1" in error("--n", "0")
    model[2] = str(tmp_path)
    assert "holds no trained model" in error()


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_touches_nothing(trained, tmp_path, capsys):
    folder, _ = trained
    shutil.copytree(folder / "model", tmp_path / "model")
    newest = tmp_path / "model" / "checkpoints" / "8"
    for file in (newest / "best").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10])
    command = ["generate", "--model", str(tmp_path / "model"), "--length", "5"]
    assert textgen.main(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "checkpoints/8 cannot be read" in printed
    assert "going on from checkpoint 4" in printed
    assert newest.exists()
    for file in (tmp_path / "model" / "checkpoints" / "4").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    assert textgen.main(command) == 2
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "model" / "vocabulary.json").write_text('{"tokens": [')
    assert textgen.main(command) == 2
    assert "vocabulary.json is damaged" in capsys.readouterr().err


def test_lines_end_where_they_have_learnt_to(tmp_path, capsys):
    """Windows read in both directions, one text a line, also in Russian; every text ends by itself."""
    (tmp_path / "lines.txt").write_text("мама\nмыла\nраму\n" * 30, encoding="windows-1251")
    argv = ["train", str(tmp_path / "lines.txt"), "--form", "lines", "--encoding", "windows-1251"]
    argv += ["--model", str(tmp_path / "model"), "--preset", "textgenrnn-bidirectional", "--seq-len", "5"]
    argv += ["--hidden-size", "16", "--num-layers", "1", "--embedding-size", "4", "--batch-size", "16"]
    argv += ["--epochs", "12", "--eval-every", "12"]
    assert textgen.main(argv) == 0
    capsys.readouterr()
    command = ["generate", "--model", str(tmp_path / "model"), "--n", "12", "--temperature", "0.2"]
    assert textgen.main([*command, "--out", str(tmp_path / "out.txt")]) == 0
    lines = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 12
    assert set(lines) <= {"мама", "мыла", "раму"}


def test_words_of_a_column_with_several_seeds(tmp_path, capsys):
    pd.DataFrame({"body": BOOK.splitlines()}).to_csv(tmp_path / "t.csv")
    argv = ["train", str(tmp_path / "t.csv"), "--column", "body", "--model", str(tmp_path / "m"), "--level", "word"]
    argv += [*SIZES, "--epochs", "1", "--seeds", "2", "--dropout", "0.1", "--recurrent-dropout", "0.1"]
    assert textgen.main(argv) == 0
    assert "validation nats per token, last 10%" in capsys.readouterr().out
    assert (tmp_path / "m" / "seed-0" / "config.json").exists()
    command = ["generate", "--model", str(tmp_path / "m" / "seed-1"), "--prefix", "the red", "--n", "12"]
    assert textgen.main(command) == 0
    assert capsys.readouterr().out.count("the red") >= 12


def test_bad_input_is_refused_before_anything_is_written(tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("")
    for options, message in (
        (["empty.txt"], "is empty"),
        (["nothing.txt"], "nothing.txt"),
        (["--preset", "bok"], "unknown preset 'bok'; did you mean 'book'"),
        (["--bidirectional"], "mode='windows'"),
        (["--seeds", "0"], "--seeds 0"),
        (["--optimizer", "adamm"], "unknown optimizer 'adamm'"),
    ):
        assert textgen.main(["train", "--data-dir", str(tmp_path), "--model", str(tmp_path / "model"), *options]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


# --- what a stranger's folder says ------------------------------------------------------------------------------------


@pytest.fixture
def small_model(tmp_path):
    """The folder of a model trained for one epoch."""
    (tmp_path / "book.txt").write_text(BOOK)
    train = ["train", str(tmp_path / "book.txt"), "--model", str(tmp_path / "m"), "--preset", "small"]
    assert textgen.main([*train, "--epochs", "1", "--hidden-size", "8", "--seq-len", "16", "--batch-size", "4"]) == 0
    return tmp_path / "m"


def test_a_model_folder_runs_no_code_and_its_fields_are_checked(small_model, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = small_model / "config.json"
    whole = json.loads(path.read_text())
    hostile = {
        "cell": ("os:system", "os.path:join", "evil:cell", "lstmm", 7, None, "lstm:forget_bias=[1]"),
        "hidden_size": ("touch ran", -1, 0, 10**9, 2.5, True, None, [8], "8"),
        "num_layers": (0, 10**9, "2"),
        "embedding_size": (-1, 10**12),
        "level": ("../../etc", 3),
        "mode": ("eval",),
        "dropout": (2, "no", -0.5),
        "learning_rate": (0, -1, "fast"),
    }
    for field, values in hostile.items():
        for value in values:
            path.write_text(json.dumps({**whole, field: value}))
            assert textgen.main(["generate", "--model", str(small_model)]) == 2, (field, value)
            said = capsys.readouterr().err
            assert "config.json" in said, (field, value, said)
            assert "Traceback" not in said, (field, value, said)
    path.write_text(json.dumps({**whole, "cell": "os:system", "hidden_size": "touch ran"}))
    assert textgen.main(["generate", "--model", str(small_model)]) == 2
    path.write_text(json.dumps({**whole, "cell": "os:system"}))
    assert textgen.main(["generate", "--model", str(small_model)]) == 2
    assert "--trust-code" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    path.write_text("[]")
    assert textgen.main(["generate", "--model", str(small_model)]) == 2


def test_what_no_memory_holds_is_not_generated(small_model, monkeypatch, capsys):
    monkeypatch.setattr(program, "memory", lambda: (1e9, "this machine"))
    assert textgen.main(["generate", "--model", str(small_model), "--n", "1000000", "--length", "500"]) == 2
    said = capsys.readouterr().err
    assert "--n 1000000, --length 500: too large: generating needs at least 4.0 GB" in said
    assert "and this machine has 1.0 GB" in said
    path = small_model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_size": 60_000}))
    monkeypatch.setattr(textgen_model, "memory", lambda: (1e9, "this machine"))
    assert textgen.main(["generate", "--model", str(small_model)]) == 2
    said = capsys.readouterr().err
    assert re.search(r"config.json: hidden_size 60000: too large: generating needs at least [\d.]+ GB", said)


def test_a_vocabulary_that_is_not_the_weights_own_is_noticed(small_model, capsys):
    path = small_model / "vocabulary.json"
    whole = json.loads(path.read_text())
    assert textgen.main(["generate", "--model", str(small_model), "--length", "5"]) == 0
    tokens = whole["tokens"]
    for changed in (
        {"tokens": [*tokens[:2], *tokens[:1:-1]]},  # of the same size, in another order
        {"tokens": tokens[:-1]},
        {"tokens": [*tokens[:-1], 5]},
        {"tokens": [*tokens[:-1], tokens[0]]},
        {"start": [10**9]},
        {"start": "no"},
        {"ends": 1},
    ):
        path.write_text(json.dumps({**whole, **changed}))
        assert textgen.main(["generate", "--model", str(small_model)]) == 2, changed
        assert "vocabulary.json" in capsys.readouterr().err
