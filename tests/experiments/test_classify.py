"""Text classification from a file to a recorded result, its batches, and what it says of bad input."""

from typing import get_args

import jax
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.classify import main as classify, results
from experiments.classify.batches import Part, cut, on_device, segments
from experiments.classify.network import make_network, num_outputs
from experiments.classify.prepare import prepare
from experiments.classify.scores import score_of
from experiments.classify.settings import PRESETS, Pooling, Settings, Tokenizer
from experiments.classify.training import make_classifier, make_program, train
from experiments.shared.results import NEEDED
from rnnjax.data.ragged import ragged
from rnnjax.data.tokens import TOKENIZERS
from rnnjax.files import user_cache
from rnnjax.models.model import OUTPUTS

TINY = ["--hidden-size", "6", "--embedding-size", "5", "--batch-size", "8", "--split", "0.6/0.2/0.2"]
TINY += ["--vocab-size", "60", "--num-buckets", "2"]


def texts(count: int = 120) -> pd.DataFrame:
    """Texts of unequal length with one word that says the class."""
    rng = np.random.default_rng(0)
    filler = [f"word{i}" for i in range(20)]
    rows = []
    for i in range(count):
        words = list(rng.choice(filler, rng.integers(0, 12)))
        words.insert(rng.integers(0, len(words) + 1), "superb" if i % 2 else "dreadful")
        rows.append({"text": " ".join(words), "label": i % 2})
    return pd.DataFrame(rows)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "texts.csv"
    texts().to_csv(path, index=False)
    return path


def settings(file, *changes: str) -> Settings:
    return classify.COMMAND.read(["imdb-packed", f"--dataset={file}", *TINY, *changes]).settings


def run(*arguments) -> int:
    return classify.main([str(argument) for argument in arguments])


def test_from_a_file_to_a_record_and_the_classes_of_new_texts(file, tmp_path, capsys):
    out = tmp_path / "results"
    command = ["imdb-packed", "--out", out, f"--dataset={file}", *TINY, "--cell=gru", "--num-epochs=8"]
    more = ["--learning-rate=0.05", "--pooling=max", "--embedding-init=uniform"]
    assert run(*command, *more, "--seeds", 2, "--first-seed", 1, "--text", "word3 superb word1", "dreadful word5") == 0
    printed = capsys.readouterr().out
    assert "72 training, 24 validation, 24 test texts" in printed
    runs = pd.read_csv(out / "runs.csv")
    assert set(NEEDED) <= set(runs.columns)
    accuracy = runs[(runs.metric == "accuracy") & (runs.split == "test")]
    assert list(accuracy.seed) == [1, 2]
    assert (accuracy.value == 1).all()
    assert (accuracy[["num_train", "num_test"]] == [72, 24]).all(axis=None)
    assert [line.split()[0] for line in printed.splitlines() if line.endswith(("word1", "word5"))] == ["1", "0"]
    assert (out / "by_epoch.png").stat().st_size > 10_000
    assert "by_epoch.png" in (out / "README.md").read_text()
    assert not list((user_cache() / "training").glob("*"))  # recorded, so not needed any more


def test_interrupted_and_resumed_it_ends_as_if_undisturbed(file, tmp_path):
    prepared = prepare(settings(file, "--num-epochs=3", "--dropout-inputs=0.2", "--dropout-words=0.1"))
    program = make_program(prepared)
    whole = train(prepared, program, 0, Console(quiet=True), "", None, {})

    left = [14]

    def stopping(state, one, key):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return program.steps(state, one, key)

    with pytest.raises(KeyboardInterrupt):
        train(prepared, program._replace(steps=stopping), 0, Console(quiet=True), "", tmp_path / "c", {})
    resumed = train(prepared, program, 0, Console(quiet=True), "", tmp_path / "c", {})
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    assert resumed.scores == whole.scores


def test_scores_are_of_the_part_asked_for(file):
    prepared = prepare(settings(file))
    program = make_program(prepared)
    params = program.init(jax.random.key(3)).params
    model, length = make_classifier(prepared.settings, prepared.vocabulary.size, 2), prepared.boundaries[-1]
    for name in ("validation", "test"):
        part = prepared.parts[name]
        batches = segments(part.rows.lengths, prepared.boundaries, 8, program.steps_per_call, by_length=True)
        found = score_of(sum(program.sums(params, one, name) for one in batches))
        xs, lengths = cut(on_device(part), np.arange(len(part.labels)), length, "after")
        said = np.asarray(model.apply(jax.device_get(params), xs, lengths))[:, 0] > 0
        assert (found.accuracy, found.count) == (np.mean(said == part.labels), len(part.labels))
        for label, one in enumerate(found.classes):
            is_one = part.labels == label
            assert one == (np.sum(is_one & (said == label)), np.sum(is_one), np.sum(said == label))


@pytest.mark.parametrize("by_length", [True, False])
def test_an_epoch_reads_every_text_once(by_length):
    lengths = np.random.default_rng(1).integers(1, 40, 101)
    found = segments(lengths, (8, 16, 40), 4, 3, by_length, np.random.default_rng(0))
    rows = np.concatenate([one.batches[: one.count].ravel() for one in found])
    assert sorted(rows[rows >= 0]) == list(range(101))
    for one in found:
        assert one.batches.shape == (3, 4)
        assert (one.batches[one.count :] == -1).all()
        assert lengths[one.batches[one.batches >= 0]].max() <= one.length
    again = segments(lengths, (8, 16, 40), 4, 3, by_length, np.random.default_rng(0))
    assert all((a.batches == b.batches).all() for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize(("pad", "expected"), [("after", [5, 6, 7, 0]), ("before", [0, 5, 6, 7])])
def test_cut_pads(pad, expected):
    part = on_device(Part(ragged([[2, 3], [5, 6, 7], [9]]), np.zeros(3, np.int32)))
    xs, lengths = cut(part, np.array([1, -1, 2]), 4, pad)
    np.testing.assert_array_equal(xs[:, 0], expected)
    np.testing.assert_array_equal(xs[:, 1], 0)
    np.testing.assert_array_equal(lengths, [3, 1, 1])


def test_word_vectors_of_a_file_are_the_embedding(file, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("superb 1 2 3\nword1 4 5 6\nelsewhere 7 8 9\n")
    prepared = prepare(settings(file, f"--vectors={vectors}", "--embedding-size=3", "--no-tuned"))
    index = prepared.vocabulary.index
    np.testing.assert_array_equal(prepared.table[index["superb"]], [1, 2, 3])
    np.testing.assert_array_equal(prepared.table[index["dreadful"]], 0)
    assert prepared.covered == pytest.approx(2 / len(index))
    one = train(prepared, make_program(prepared), 0, Console(quiet=True), "", None, {})
    np.testing.assert_array_equal(one.params.embedding, prepared.table)  # not tuned


def test_falls_stand_beside_the_largest_gradient():
    rows = []
    for preset, accuracies in {"steady": [0.6, 0.7, 0.66], "falling": [0.7, 0.8, 0.55]}.items():
        for epoch, accuracy in enumerate(accuracies, 1):
            rows.append((preset, 0, epoch, "validation_accuracy", accuracy))
            rows.append((preset, 0, epoch, "gradient_norm", 900.0 if accuracy == 0.55 else 10.0 + epoch))
    curves = pd.DataFrame(rows, columns=["preset", "seed", "epoch", "quantity", "value"])
    text = "\n".join(results.falls(curves))
    assert "| falling | 0 | 3 | 0.8 | 0.55 | 900 | 11.5 | 0 |" in text
    assert "steady" not in text
    assert results.falls(curves[curves.preset == "steady"]) == []
    assert results.falls(curves[curves.quantity == "gradient_norm"]) == []


def test_every_preset_is_sound():
    for name, preset in PRESETS.items():
        make_network(preset)
        assert num_outputs(preset, 2 if "imdb" in preset.dataset else 4) >= 1, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("--label-column stars", "unknown column 'stars'"),
        ("--cell lstmm", "did you mean 'lstm'"),
        ("--pooling mean_", "did you mean 'mean'"),
        ("--readout softmax --num-outputs 1", "the softmax of one number is 1"),
        ("--split official", "give test_file=FILE"),
        ("--split 100/200/300", "cannot cut 120 examples"),
        ("--split 0.8", "split='0.8' is not 'official'"),
        ("--pad before", "pad=before with masked=true"),
        ("--dropout-words 1", "--dropout-words 1.0 must be at least 0 and below 1"),
        ("--evals-per-epoch 3", "evals_per_epoch=3 must divide 20"),
        ("--hiden-size 3", "did you mean '--hidden-size'"),
        ("--hidden-size x", "not a whole number"),
        ("--test-file b.csv --dataset stanfordnlp/imdb", "goes with a file or a folder of texts as dataset"),
    ],
)
def test_bad_input_is_named_before_any_work(file, capsys, changes, message):
    assert run("imdb-packed", f"--dataset={file}", *TINY, *changes.split()) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_one_class_and_an_empty_file_are_refused(tmp_path, capsys):
    one = tmp_path / "one.csv"
    texts().assign(label=1).to_csv(one, index=False)
    assert run("imdb-packed", f"--dataset={one}", *TINY) == 2
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert run("imdb-packed", f"--dataset={empty}", *TINY) == 2
    errors = capsys.readouterr().err
    assert "labels must be 0" in errors or "one class only" in errors
    assert "empty" in errors


def test_sigmoid_is_for_two_classes():
    with pytest.raises(ValueError, match="here are 4: use softmax"):
        num_outputs(PRESETS["imdb-keras"], 4)


def test_the_list_names_every_preset(capsys):
    with pytest.raises(SystemExit):
        run("--list")
    printed = capsys.readouterr().out
    assert all(name in printed for name in PRESETS)
    assert "--dropout-recurrent 0.2" in printed


def test_the_names_that_are_written_out_are_those_of_the_library():
    assert get_args(Tokenizer) == tuple(TOKENIZERS)
    assert get_args(Pooling) == tuple(name for name in OUTPUTS if name != "all")
