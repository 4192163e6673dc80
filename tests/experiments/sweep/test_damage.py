"""A results folder that is damaged: each damage is named, nothing whole is lost, and --repair runs what is missing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.sweep import command, main as sweep
from experiments.sweep.record.checked import check
from experiments.sweep.spec import Sweep, Trial

ROOT = Path(__file__).parents[3]
SIZES = ["--set", "num_steps=4", "eval_every=2", "hidden_size=2", "batch_size=4", "num_validation=20", "num_test=20"]
AXES = ["--axis", "seq_len=3", "cell=elman,elman:bias=0.5", "learning_rate=0.01,1e38", "--seeds", "3"]
COMMAND = [*SIZES, *AXES]
NUM_TRIALS = 12


def call(capsys, folder, *more) -> tuple[int, str]:
    """Exit code, and all that was said, in one line."""
    code = command.main([*COMMAND, "--out", str(folder), *more])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, " ".join((said.err + said.out).split())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "results"
    assert command.main([*COMMAND, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def folder(undisturbed, tmp_path):
    return Path(shutil.copytree(undisturbed, tmp_path / "results"))


# --- ways to damage a folder ------------------------------------------------------------------------------------------


def lines(change):
    """A change of the lines of runs.csv, each without its end."""

    def damage(folder):
        path = folder / "runs.csv"
        path.write_text("\n".join(change(path.read_text().split("\n")[:-1])) + "\n")

    return damage


def cell(name, text, row=0):
    """Another text in a column of a row."""

    def change(runs):
        table = [line.split(",") for line in runs]
        table[row + 1][table[0].index(name)] = text
        return [",".join(line) for line in table]

    return lines(change)


def swapped(names):
    def change(runs):
        one, other = names
        header = [other if name == one else one if name == other else name for name in runs[0].split(",")]
        return [",".join(header), *runs[1:]]

    return lines(change)


def without(name):
    def change(runs):
        place = runs[0].split(",").index(name)
        return [",".join(word for i, word in enumerate(line.split(",")) if i != place) for line in runs]

    return lines(change)


def bytes_of(name, change):
    def damage(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return damage


def flipped(data, place):
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 0b100]) + data[place + 1 :]


def a_folder(name):
    def damage(folder):
        (folder / name).unlink()
        (folder / name).mkdir()
        (folder / name / "within").write_text("something")

    return damage


def missing(name):
    return lambda folder: (folder / name).unlink()


def config(**changes):
    """Another value of fields; of fields of the base, with base__ before them; None takes a field away."""

    def damage(folder):
        path = folder / "config.json"
        content = json.loads(path.read_text())
        for name, value in changes.items():
            where, key = (content["base"], name[6:]) if name.startswith("base__") else (content, name)
            where[key] = value
            if value is None:
                del where[key]
        path.write_text(json.dumps(content))

    return damage


def curves(change):
    def damage(folder):
        path = folder / "curves.parquet"
        change(pd.read_parquet(path)).to_parquet(path, index=False)

    return damage


def of_one_trial(frame):
    return frame.trial_id == frame.trial_id.iloc[0]


def other_id(runs):
    """The first row with the id of the second."""
    first, second = runs[1].split(","), runs[2].split(",")
    return [runs[0], ",".join([second[0], *first[1:]]), *runs[3:]]


def with_other_values(runs):
    """The first row with the values of the second."""
    first, second = runs[1].split(","), runs[2].split(",")
    return [runs[0], ",".join([first[0], *second[1:]]), *runs[2:]]


def again_with(name, text):
    """The first row once more, with another value."""

    def change(runs):
        line = runs[1].split(",")
        line[runs[0].split(",").index(name)] = text
        return [*runs, ",".join(line)]

    return lines(change)


HALF = lambda data: data[: len(data) // 2]
RUNS = {  # name: damage, what the message says, how many trials are not whole
    "cut in the middle of a row": (bytes_of("runs.csv", lambda data: data[:-150]), "runs.csv, line 13: ", 1),
    "cut in its last cell": (bytes_of("runs.csv", lambda data: data[:-1]), "line 13: is cut off", 1),
    "cut in half": (bytes_of("runs.csv", HALF), "line 7: ", None),
    "cut in its header": (bytes_of("runs.csv", lambda data: data[:100]), "line 1: lacks the columns", 12),
    "empty": (bytes_of("runs.csv", lambda data: b""), "runs.csv: is empty", 12),
    "blanks alone": (bytes_of("runs.csv", lambda data: b"\n \n"), "runs.csv: is empty", 12),
    "binary": (
        bytes_of("runs.csv", lambda data: np.random.default_rng(0).bytes(4000)),
        "line 1: is no row of column names",
        12,
    ),
    "zeros": (bytes_of("runs.csv", lambda data: bytes(len(data))), "line 1: is no row of column names", 12),
    "zeros at its end": (bytes_of("runs.csv", lambda data: data[:-200] + bytes(200)), "runs.csv, line 13", None),
    "a byte that is no text": (
        bytes_of("runs.csv", lambda data: data[:-4] + b"\x80" + data[-3:]),
        "line 13: holds bytes that are no text",
        1,
    ),
    "a quote": (cell("variant", '"elman'), "line 2: cannot be read: its quotes do not match", 1),
    "a line break in a row": (lines(lambda r: [*r[:2], r[2][:90], r[2][90:], *r[3:]]), "line 3: has", 1),
    "a blank line": (lines(lambda r: [*r[:2], "", *r[2:]]), "line 3: has 0 cells", 0),
    "no column names": (lines(lambda r: r[1:]), "line 1: is no row of column names", 12),
    "a column dropped": (without("learning_rate"), "line 1: lacks the columns learning_rate", 12),
    "a column twice": (lines(lambda r: [r[0].replace("seed", "l1"), *r[1:]]), "names the column 'l1' twice", 12),
    "a column without a name": (lines(lambda r: ["," + r[0], *(f"{i},{x}" for i, x in enumerate(r[1:]))]), "name", 12),
    "columns swapped": (swapped(["seed", "num_layers"]), "line 2: num_layers is '0', which is not from 1", None),
    "columns of text and number swapped": (swapped(["task", "seed"]), "seed is 'recall', not a number", 12),
    "measured columns swapped": (swapped(["train_loss", "test_loss"]), "train_loss is", 6),
    "a cell too many": (lines(lambda r: [*r[:3], r[3] + ",7", *r[4:]]), "line 4: has", 1),
    "a cell too few": (lines(lambda r: [*r[:3], r[3].rsplit(",", 1)[0], *r[4:]]), "line 4: has", 1),
    "a learning rate of 0": (cell("learning_rate", "0.0"), "line 2: learning_rate is 0.0, but 0.01 in trial", 1),
    "a blank learning rate": (cell("learning_rate", ""), "line 2: learning_rate is empty", 1),
    "text in a number": (cell("hidden_size", "two"), "line 2: hidden_size is 'two', not a number", 1),
    "half a unit": (cell("hidden_size", "2.5"), "hidden_size is '2.5', not a whole number", 1),
    "units below none": (cell("hidden_size", "-2"), "hidden_size is '-2', which is not from 1", 1),
    "units without end": (cell("hidden_size", "9" * 400), "hidden_size is '9999", 1),
    "a flag that is none": (cell("solved", "maybe"), "solved is 'maybe', not True or False", 1),
    "an id of NaN": (
        cell("trial_id", "NaN"),
        "line 2: trial_id is 'NaN', but its values are those of recall-3-elman",
        1,
    ),
    "no id": (cell("trial_id", ""), "line 2: trial_id is empty", 1),
    "another id": (lines(other_id), "line 2: ", 2),
    "another trial's values": (lines(with_other_values), "line 2: ", 1),
    "another cell": (cell("cell", "os:system"), "cell is 'os:system', but 'elman' in trial", 1),
    "another label": (cell("variant", "lstm"), "variant is 'lstm', but 'elman' in trial", 1),
    "other held-out data": (cell("num_test", "21"), "num_test is 21, but 20 in other runs of this task", 1),
    "another number of parameters": (cell("num_params", "63"), "num_params is 63, but 62 in runs of the same kind", 1),
    "a measured figure blank": (cell("test_loss", ""), "test_loss is empty, though the trial did not diverge", 1),
    "a measured figure of another digit": (cell("test_loss", "2.1"), "test_loss is '2.1', which no run has written", 1),
    "a training loss not of its curve": (cell("train_loss", "2.5"), "train_loss is 2.5, but", 1),
    "a validation loss not of its curve": (cell("validation_loss", "0.5"), "validation_loss is 0.5, but", 1),
    "divergence denied": (cell("diverged", "False", row=3), "line 5: ", 1),
    "an accuracy above 1": (cell("test_accuracy", "1.5"), "test_accuracy is '1.5', which is not from 0 to 1", 1),
    "a row twice, differing": (again_with("num_devices", "7"), "is there 2 times (lines 2, 14), differing", 1),
    "a folder in its place": (a_folder("runs.csv"), "runs.csv: is a folder, not a file", 12),
}
CURVES = {
    "curves cut off": (bytes_of("curves.parquet", HALF), "curves.parquet: cannot be read", 12),
    "curves empty": (bytes_of("curves.parquet", lambda data: b""), "curves.parquet: cannot be read", 12),
    "curves of a flipped byte": (
        bytes_of("curves.parquet", lambda d: flipped(d, 150)),
        "curves.parquet: cannot be read",
        12,
    ),
    "curves missing": (missing("curves.parquet"), "curves.parquet: is missing, and there are runs", 12),
    "curves a folder": (a_folder("curves.parquet"), "curves.parquet: is a folder, not a file", 12),
    "curves of other columns": (curves(lambda c: c.rename(columns={"value": "x"})), "lacks the columns value", 12),
    "curves of texts": (curves(lambda c: c.astype({"value": str})), "its column value is of type", 12),
    "curves with empty cells": (curves(lambda c: c.assign(trial_id=c.trial_id.where(c.index > 0))), "empty cells", 12),
    "curves of one trial missing": (curves(lambda c: c[~of_one_trial(c)]), "holds no train_loss of trial", 1),
    "a curve cut off": (
        curves(lambda c: c[~(of_one_trial(c) & (c.quantity == "train_loss") & (c["index"] == 4))]),
        "train_loss is not measured at even steps up to 4 of trial",
        1,
    ),
    "a curve of other values": (
        curves(lambda c: c.assign(value=c.value + np.float32(1) * (of_one_trial(c) & (c.quantity == "train_loss")))),
        "line 2: train_loss is",
        1,
    ),
}
CONFIG = {
    "config cut off": (bytes_of("config.json", HALF), "config.json", 0),
    "config empty": (bytes_of("config.json", lambda data: b""), "config.json, line 1: is not JSON", 0),
    "config binary": (bytes_of("config.json", lambda data: bytes(range(256))), "config.json: is not JSON", 0),
    "config missing": (missing("config.json"), "config.json: is missing, and there are runs", 0),
    "config a folder": (a_folder("config.json"), "config.json: is a folder, not a file", 0),
    "config a list": (bytes_of("config.json", lambda data: b"[1]"), "is not an object with the fields of a sweep", 0),
    "config too deep": (bytes_of("config.json", lambda data: b"[" * 100_000), "config.json: is not JSON", 0),
    "config without axes": (config(axes=None), "lacks axes", 0),
    "a number for a name": (config(name=7), "name is '7', not a text", 0),
    "a strange metric": (config(metric="os:system"), "unknown metric", 0),
    "a strange date": (config(date="../../etc/passwd"), "config.json: Invalid isoformat", 0),
    "a strange field": (config(base__import="os"), "unknown setting 'import'", 0),
    "a list for a cell": (config(base__cell=["os:system", "touch x"]), "cell is", 0),
    "a truth for a number": (config(base__hidden_size=True), "hidden_size is 'True', which is not of its type", 0),
    "a huge number": (config(base__hidden_size=10**300), "hidden_size is", 0),
    "a text for a number": (config(base__num_steps="touch x"), "num_steps is", 0),
    "axes without end": (config(axes={f: list(range(1000)) for f in ("seed", "l1", "l2")}), "1,000,000,000 trials", 0),
    "an axis of no field": (config(axes={"__class__": [1]}), "unknown axis '__class__'", 0),
    "an axis that is a path": (config(axes={"seed": "/etc/passwd"}), "is not a list of values", 0),
}
ALL = RUNS | CURVES | CONFIG


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_damage_is_named_and_nothing_whole_is_lost(name, folder, undisturbed, capsys, monkeypatch):
    damage, message, num_lost = ALL[name]
    damage(folder)
    monkeypatch.setattr(sweep, "execute", lambda *arguments, **options: pytest.fail("this should have been refused"))
    before = files(folder)
    code, said = call(capsys, folder)
    assert code == 2
    assert str(folder) in said
    assert message in said, said
    assert "--repair" in said
    assert files(folder) == before

    planned = []
    monkeypatch.setattr(sweep, "execute", lambda console, sweep, plan, folder, **options: planned.append(plan))
    code, said = call(capsys, folder, "--repair")
    assert code == 0
    asides = {path.name for path in folder.iterdir() if ".damaged-" in path.name}
    for aside in asides:
        assert aside in said
        if (folder / aside).is_file():
            assert (folder / aside).read_bytes() == before[aside.removesuffix(".damaged-1")]
    kept = check(folder, Sweep("", "", "", Trial(), {}))
    assert not kept.damage
    assert planned[0].num_trials == NUM_TRIALS - len(kept.runs)
    if num_lost is not None:
        assert planned[0].num_trials == num_lost
    wanted = check(undisturbed, Sweep("", "", "", Trial(), {}))
    ids = set(kept.runs.trial_id)
    same = wanted.runs[wanted.runs.trial_id.isin(ids)].reset_index(drop=True)
    if ids:
        pd.testing.assert_frame_equal(kept.runs[list(same)], same, check_exact=True, check_dtype=False)
        assert set(kept.curves.trial_id) == ids


NOTHING = Sweep("", "", "", Trial(), {})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "flip"])
def test_bytes_at_random(kind, folder, capsys, monkeypatch):
    """Whatever is cut off or flipped anywhere, no figure that is then believed is another than was measured."""
    monkeypatch.setattr(sweep, "execute", lambda *arguments, **options: None)
    random = np.random.default_rng(7)
    whole = files(folder)
    first = check(folder, NOTHING).runs.set_index("trial_id")
    guarded = ["learning_rate", "hidden_size", "seed", "num_params", "train_loss", "validation_loss", "test_loss"]
    guarded += ["test_accuracy", "chance_loss", "diverged", "variant"]
    for name in ("runs.csv", "curves.parquet", "config.json"):
        for place in random.integers(len(whole[name]), size=25):
            data = whole[name]
            (folder / name).write_bytes(data[:place] if kind == "cut" else flipped(data, int(place)))
            before = files(folder)
            code, said = call(capsys, folder)
            assert code in (0, 2)
            assert code == 0 or str(folder) in said
            assert files(folder)[name] == before[name] or (code == 0 and name == "config.json")
            found = check(folder, NOTHING).runs
            if len(found):
                found = found.set_index("trial_id")[guarded]
                pd.testing.assert_frame_equal(
                    found, first.loc[found.index, guarded], check_dtype=False, check_exact=True
                )
        (folder / name).write_bytes(whole[name])


@pytest.mark.slow
def test_a_repaired_folder_ends_as_if_undisturbed(folder, undisturbed, capsys):
    RUNS["cut in half"][0](folder)
    code, said = call(capsys, folder, "--repair")
    assert code == 0
    assert "12 trials, 5 of them finished already" in said
    assert "--repair" not in json.loads((folder / "config.json").read_text())["command"]
    of = lambda folder: pd.read_csv(folder / "runs.csv").sort_values("trial_id", ignore_index=True)
    same = ["trial_id", "learning_rate", "seed", "diverged", "num_params", "chance_loss"]
    pd.testing.assert_frame_equal(of(folder)[same], of(undisturbed)[same])
    np.testing.assert_allclose(of(folder)["test_loss"], of(undisturbed)["test_loss"], rtol=1e-5)  # of another width
    assert call(capsys, folder)[0] == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full always")
@pytest.mark.parametrize("name", ["config.json", "curves.parquet", "runs.csv"])
def test_a_full_disk_is_said_with_the_file(name, folder, capsys):
    lines(lambda runs: runs[:-1])(folder)  # a trial is left to run
    before = (folder / name).read_bytes()
    (folder / f"{name}.unfinished").symlink_to("/dev/full")
    code, said = call(capsys, folder)
    assert code == 2
    assert "No space left on device" in said
    assert str(folder / name) in said
    assert (folder / name).read_bytes() == before
    assert call(capsys, folder)[0] == 0


@pytest.mark.slow
def test_what_was_put_aside_is_never_overwritten(folder, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "execute", lambda *arguments, **options: None)
    for number in (1, 2):
        cell("learning_rate", "0.0")(folder)
        damaged = (folder / "runs.csv").read_bytes()
        assert call(capsys, folder, "--repair")[0] == 0
        assert (folder / f"runs.csv.damaged-{number}").read_bytes() == damaged
    assert b"0.0" in (folder / "runs.csv.damaged-1").read_bytes()


@pytest.mark.slow
def test_rows_that_say_the_same_are_folded_with_a_word(folder, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "execute", lambda *arguments, **options: None)
    whole = check(folder, NOTHING)
    lines(lambda runs: runs + runs[1:])(folder)
    again_with("run_seconds", "7.5")(folder)
    curves(lambda c: pd.concat([c, c]))(folder)
    doubled = files(folder)
    code, said = call(capsys, folder, "--dry-run")
    assert code == 0
    assert "13 rows say again what others say; each trial counts once" in said
    assert "0 trials in 0 programs" in said
    assert files(folder) == doubled
    assert call(capsys, folder)[0] == 0
    found = check(folder, NOTHING)
    assert not found.folded
    pd.testing.assert_frame_equal(found.runs, whole.runs, check_exact=True)
    pd.testing.assert_frame_equal(found.curves, whole.curves, check_exact=True)
    assert (folder / "runs.csv.damaged-1").read_bytes() == doubled["runs.csv"]


def semicolons(folder):
    path = folder / "runs.csv"
    pd.read_csv(path).to_csv(path, index=False, sep=";", decimal=",")


def rounded(folder):
    path = folder / "runs.csv"
    pd.read_csv(path).to_csv(path, index=False, float_format="%.6g")


def capitals(folder):
    path = folder / "runs.csv"
    path.write_text(path.read_text().replace("True", "TRUE").replace("False", "FALSE"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("save", "sign", "num_kept"),
    [
        (semicolons, "semicolons between columns", 0),
        (rounded, "numbers that were rounded or written in another form", 0),
        (capitals, "numbers that were rounded or written in another form", 0),
        (bytes_of("runs.csv", lambda data: b"\xef\xbb\xbf" + data), "a byte-order mark", 12),
        (bytes_of("runs.csv", lambda data: data.replace(b",", b"\t")), "tabs between columns", 12),
        (bytes_of("runs.csv", lambda data: data.decode().encode("utf-16")), "UTF-16", 12),
    ],
)
def test_what_a_spreadsheet_saved_is_told_apart(save, sign, num_kept, folder, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "execute", lambda *arguments, **options: None)
    save(folder)
    saved = (folder / "runs.csv").read_bytes()
    code, said = call(capsys, folder)
    assert code == 2
    assert f"runs.csv was saved by a spreadsheet ({sign})" in said
    assert "is damaged:" not in said
    assert (folder / "runs.csv").read_bytes() == saved
    code, said = call(capsys, folder, "--repair")
    assert code == 0
    assert (folder / "runs.csv.damaged-1").read_bytes() == saved
    assert len(check(folder, NOTHING).runs) == num_kept


@pytest.mark.slow
def test_line_ends_of_another_system_are_no_damage(folder, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "execute", lambda *arguments, **options: None)
    bytes_of("runs.csv", lambda data: data.replace(b"\n", b"\r\n"))(folder)
    assert call(capsys, folder)[0] == 0


@pytest.mark.slow
def test_a_folder_of_another_sweep_without_its_config_is_not_repaired(folder, capsys):
    (folder / "config.json").unlink()
    before = files(folder)
    code, said = call(capsys, folder, "--repair", "--set", "batch_size=5")
    assert code == 2
    assert "does not say which sweep this is, and 12 rows are not of 'lstm_gates, changed' as it is called now" in said
    assert files(folder) == before


@pytest.mark.parametrize("name", ["lstm_gates", "remedies", "zoo", "advice", "mnist_pixels"])
def test_what_is_committed_is_whole(name):
    found = check(ROOT / "results" / name, NOTHING)
    assert (found.damage, found.sign, found.folded) == ((), "", 0)
    assert len(found.runs) == (ROOT / "results" / name / "runs.csv").read_text().count("\n") - 1
    assert set(found.curves.trial_id) == set(found.runs.trial_id)
