"""A text classifier that is kept: its folder, new texts from files, from the command line and as they come."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.classify import main as classify
from experiments.classify.prepare import prepare
from experiments.classify.results import of_classes
from experiments.classify.saved_model import classifier_of, load
from experiments.classify.scores import OfClass, Score, by_class, score_of
from experiments.classify.training import make_program, train

ROOT = Path(__file__).parents[2]
CLASSES = ("плохо", "хорошо")  # as sorted
SIZES = ["--hidden-size=6", "--embedding-size=5", "--batch-size=8", "--num-buckets=2", "--cell=gru", "--num-epochs=6"]
SIZES += ["--learning-rate=0.05", "--pooling=max", "--tokenizer=words", "--vocab-size=60", "--split=0.6/0.2/0.2"]


def review(i: int) -> str:
    return f"{'यह ' * (i % 7)}किताब बहुत {('बुरी', 'अच्छी')[i % 2]} है, कहानी {i % 11}"


def run(*arguments) -> int:
    return classify.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a model, and the command that trained it."""
    folder = tmp_path_factory.mktemp("trained")
    rows = [{"text": review(i), "label": CLASSES[i % 2]} for i in range(120)]
    pd.DataFrame(rows).to_csv(folder / "reviews.csv", index=False)
    argv = ["imdb-packed", f"--dataset={folder / 'reviews.csv'}", *SIZES, f"--model={folder / 'model'}"]
    argv += [f"--out={folder / 'out'}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert classify.main(argv) == 0
    return folder, argv


@pytest.fixture
def model(trained, tmp_path):
    """A copy of it elsewhere, where nothing else is."""
    shutil.copytree(trained[0] / "model", tmp_path / "elsewhere" / "model")
    return tmp_path / "elsewhere" / "model"


NEW = ["किताब अच्छी", "बहुत बुरी, कहानी बुरी", 'किताब "अच्छी", है', "", "nothing known", "अच्छी " * 50]


def test_new_texts_of_a_table(model, tmp_path, capsys):
    pd.DataFrame({"n": range(6), "text": NEW}).to_csv(tmp_path / "new.csv", index=False)
    assert run("predict", "--model", model, tmp_path / "new.csv", "--out", tmp_path / "found" / "classes.csv") == 0
    printed = capsys.readouterr().out
    found = pd.read_csv(tmp_path / "found" / "classes.csv", keep_default_na=False)
    assert list(found) == ["class", "probability", "p(плохо)", "p(хорошо)", "text"]
    assert list(found["text"]) == NEW
    assert list(found["class"][[0, 1, 2, 5]]) == ["хорошо", "плохо", "хорошо", "хорошо"]
    np.testing.assert_allclose(found["p(плохо)"] + found["p(хорошо)"], 1, atol=1e-5)
    np.testing.assert_array_equal(found["probability"], found[["p(плохо)", "p(хорошо)"]].max(axis=1))
    counts = found["class"].value_counts()
    assert f"6 texts: {counts['плохо']} плохо, {counts['хорошо']} хорошо; written to" in printed


def test_texts_of_the_command_line_and_of_lines_come_to_standard_output(model, tmp_path, capsys):
    (tmp_path / "new.txt").write_text("\n".join(NEW) + "\n", encoding="utf-8")
    (tmp_path / "new.tsv").write_text("n\treview\n" + "".join(f"1\t{text}\n" for text in NEW if text), "utf-8")
    there = [text for text in NEW if text]
    outputs = []
    for words in (["--text", *there], [tmp_path / "new.txt"], [tmp_path / "new.tsv", "--text-column", "review"]):
        assert run("predict", "--model", model, *words) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0].count("\n") == 1 + len(there)
    assert outputs[0].splitlines()[1].startswith("хорошо,0.")
    assert len(set(outputs)) == 1


def test_lines_of_standard_input_are_answered_as_they_come(model):
    """In a folder that holds nothing but the model: each answer is there before the next line is asked."""
    words = [sys.executable, "-m", "experiments.classify", "predict", "--model", "model"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, cwd=model.parent, env=env, text=True, encoding="utf-8", **pipes) as process:
        assert process.stdout.readline() == "class,probability,p(плохо),p(хорошо),text\n"
        for text, name in (("किताब अच्छी", "хорошо"), ("किताब बुरी", "плохо"), ("अच्छी", "хорошо")):
            process.stdin.write(f"\n{text}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer.startswith(name)
            assert answer.endswith(f",{text}\n")
        _, error = process.communicate()
    assert (process.returncode, error) == (0, "")


def test_bytes_of_another_encoding_are_named_with_their_line(model):
    words = [sys.executable, "-m", "experiments.classify", "predict", "--model", "model"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    text = "хороший\nплохой\n".encode("windows-1251")
    found = subprocess.run(words, cwd=model.parent, env=env, input=text, capture_output=True, check=False)
    assert found.returncode == 2
    assert b"standard input, line 1 is not utf-8" in found.stderr
    assert b"Traceback" not in found.stderr


@pytest.mark.parametrize("changes", [[], ["--no-masked", "--pad=before"], ["--max-tokens=6", "--keep=last"]])
def test_one_text_at_a_time_is_as_many_together_and_as_the_evaluation_has_it(tmp_path, monkeypatch, changes):
    """The accuracy of `probabilities` over the test part is that of the evaluation, whatever texts are padded to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pd.DataFrame({"text": map(review, range(60)), "label": [i % 2 for i in range(60)]}).to_csv(tmp_path / "a.csv")
    argv = ["imdb-packed", f"--dataset={tmp_path / 'a.csv'}", *SIZES, "--num-epochs=1", "--pooling=mean", *changes]
    prepared = prepare(classify.COMMAND.read(argv).settings)
    one = train(prepared, make_program(prepared), 0, Console(quiet=True), "", None, {})
    classifier = classifier_of(prepared, one.params)
    texts = [review(i) for i in range(60)]
    together = classifier.probabilities(texts)
    np.testing.assert_allclose(
        np.concatenate([classifier.probabilities([text]) for text in texts]), together, atol=1e-6
    )
    rows, words = prepared.parts["test"].rows, np.array(["", "<?>", *prepared.vocabulary.words])
    spelt = [" ".join(words[rows.values[a:b]]) for a, b in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)]
    logs = np.log(classifier.probabilities(spelt)[np.arange(len(spelt)), prepared.parts["test"].labels])
    assert one.scores["test"].loss == pytest.approx(-logs.mean(), rel=1e-4)


def test_several_seeds_are_kept_side_by_side_and_another_training_is_refused(trained, tmp_path, capsys, monkeypatch):
    folder, argv = trained
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    assert classify.main(argv) == 0
    assert "going on from" in capsys.readouterr().out  # and nothing is trained again
    assert classify.main([*argv, "--hidden-size=7"]) == 2
    assert "hidden_size: 6 there, 7 now" in capsys.readouterr().err
    (folder / "reviews.csv").write_text((folder / "reviews.csv").read_text().replace("कहानी 3", "कहानी 4"))
    assert classify.main(argv) == 2
    assert "data: " in capsys.readouterr().err
    several = [*argv[:-2], f"--model={tmp_path / 'm'}", "--num-epochs=1", "--seeds=2", "--text", "किताब अच्छी"]
    assert classify.main(several) == 0
    assert "kept: " in capsys.readouterr().out
    for seed in (0, 1):
        assert run("predict", "--model", tmp_path / "m" / f"seed-{seed}", "--text", "अच्छी") == 0


# --- what is recorded of classes --------------------------------------------------------------------------------------


def test_each_class_is_recorded(trained):
    folder, _ = trained
    runs = pd.read_csv(folder / "out" / "runs.csv").set_index(["metric", "split"])["value"]
    assert runs["accuracy", "test"] > 0.95
    assert runs["share of the largest class", "test"] == 0.5
    assert runs["mean recall", "test"] == pytest.approx(runs["accuracy", "test"])
    classes = pd.read_csv(folder / "out" / "classes.csv")
    assert classes["split"].tolist() == ["validation"] * 2 + ["test"] * 2
    assert classes["class"].tolist() == [*CLASSES, *CLASSES]
    assert (classes["n"] == 12).all()
    assert "| class | precision | recall | n |" in (folder / "out" / "README.md").read_text(encoding="utf-8")


def test_precision_and_recall_by_hand():
    said, labels = np.array([0, 0, 1, 1, 1, 0]), np.array([0, 0, 0, 1, 2, 2])
    counts = np.asarray(by_class(4, said, labels, np.array([1, 1, 1, 1, 1, 0], bool)))
    score = score_of(np.append(counts.ravel(), 2.5))
    assert score == Score(0.5, (OfClass(2, 3, 2), OfClass(1, 1, 3), OfClass(0, 1, 0), OfClass(0, 0, 0)))
    assert (score.accuracy, score.share(0)) == (3 / 5, 3 / 5)
    assert score.mean_recall == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert [one.precision for one in score.classes[:2]] == pytest.approx([1, 1 / 3])
    assert math.isnan(score.classes[2].precision)
    assert math.isnan(score.classes[3].recall)
    assert of_classes("abcd", score)[1] == "  b: precision 0.333, recall 1, n 1"
    assert of_classes(["x"] * 25, score._replace(classes=score.classes[:1] * 25))[-1] == "  and 5 classes more"


# --- what a stranger's folder says ------------------------------------------------------------------------------------


def test_a_model_folder_runs_no_code_and_its_fields_are_checked(model, monkeypatch, capsys):
    monkeypatch.chdir(model.parent)
    path = model / "config.json"
    whole = json.loads(path.read_text())
    hostile = {
        "cell": ("os:system", "os.path:join", "evil:cell", "lstmm", 7, None, "lstm:forget_bias=[1]"),
        "hidden_size": ("touch ran", -1, 0, 10**9, 2.5, True, None),
        "tokenizer": ("os.system", 3),
        "pooling": ("eval", "all"),
        "max_tokens": (-1, "x"),
        "readout": ("none",),
        "vocabulary_digest": ("", None),
    }
    for field, values in hostile.items():
        for value in values:
            path.write_text(json.dumps({**whole, field: value}))
            assert run("predict", "--model", model, "--text", "x") == 2, (field, value)
            error = capsys.readouterr().err
            assert error.startswith("error: "), (field, value, error)
            assert error.count("\n") == 1, (field, value, error)
    path.write_text(json.dumps({**whole, "cell": "os:system", "hidden_size": 8}))
    assert run("predict", "--model", model, "--text", "x") == 2
    assert "--trust-code" in capsys.readouterr().err
    assert os.listdir(model.parent) == ["model"]


def test_the_project_s_own_cells_need_no_trust(model):
    """The network of the preset imdb-keras is one of ours: its weights are not these, and that is what is said."""
    path = model / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "cell": "experiments.classify.cells:lstm_keras"}))
    with pytest.raises(ValueError, match="cannot be read"):
        load(model)


def test_a_vocabulary_that_is_not_the_weights_own_is_noticed(model, capsys):
    path = model / "vocabulary.json"
    whole = json.loads(path.read_text())
    for changed in ({"words": whole["words"][::-1]}, {"classes": whole["classes"][::-1]}, {"lengths": [8]}):
        path.write_text(json.dumps({**whole, **changed}))
        assert run("predict", "--model", model, "--text", "x") == 2
        assert "vocabulary.json does not belong to these weights" in capsys.readouterr().err
    path.write_text('{"words": [')
    assert run("predict", "--model", model, "--text", "x") == 2
    assert "vocabulary.json is damaged" in capsys.readouterr().err


def test_what_predict_cannot_do_is_said(model, tmp_path, capsys):
    def error(*words):
        assert run("predict", "--model", *words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert "holds no trained model" in error(tmp_path)
    assert "--out goes with a file or --text" in error(model, "--out", tmp_path / "x.csv")
    assert "give one of them" in error(model, tmp_path / "a.csv", "--text", "x")
    (tmp_path / "a.csv").write_text("review,n\nx,1\n")
    assert "unknown column 'text'; known: review, n" in error(model, tmp_path / "a.csv")
    assert "no file" in error(model, tmp_path / "b.csv")
    assert "unknown option '--modell'" in error(model, "--modell", "x")
    shutil.rmtree(model / "checkpoints")
    assert "holds no checkpoint yet" in error(model, "--text", "x")


def test_texts_longer_than_any_in_training_are_read_whole(trained):
    """Padded or not, by doubling: the last word is seen."""
    classifier = load(trained[0] / "model")
    long = ["है " * 500 + word for word in ("अच्छी", "बुरी")]
    assert list(classifier.probabilities(long).argmax(axis=1)) == [1, 0]
    assert classifier.probabilities([]).shape == (0, 2)
