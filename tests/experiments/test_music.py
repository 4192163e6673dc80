"""Music: reading piano rolls, the loss by frame, composing, and the program end to end on small pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from experiments.music import main as music, program as music_program
from experiments.music.network import (
    NATS,
    NATS_BY_PIECE,
    blind_score,
    compose,
    epoch_batches,
    evaluation_batches,
    make_program,
    nats,
    score,
)
from experiments.music.settings import Settings
from experiments.shared.results import NEEDED
from rnnjax.data.piano_rolls import KEYS, check_roll, from_folder, jsb_chorales, make_batches, pad, read_roll

RNG = np.random.default_rng(0)
SMALL = Settings(cell="gru", hidden_size=12, num_layers=2, dropout=0.2, batch_size=4, epochs=8, learning_rate=0.02)


def scale(steps, start=0):
    """One key at a time, upwards, and from the lowest again after seven."""
    roll = np.zeros((steps, KEYS), np.uint8)
    roll[np.arange(steps), 32 + (start + np.arange(steps)) % 7] = 1
    return roll


PIECES = [scale(steps, start) for steps, start in ((9, 0), (5, 3), (17, 4), (12, 2), (16, 5), (6, 1))]


# --- reading ----------------------------------------------------------------------------------------------------------


def write_npz(path, **changes):
    arrays = {}
    for name in ("train", "valid", "test"):
        arrays[f"{name}_x"] = np.packbits(np.concatenate(PIECES), axis=1)
        arrays[f"{name}_len"] = np.array([len(piece) for piece in PIECES], np.int32)
    path.parent.mkdir(parents=True)
    np.savez(path, **{k: v for k, v in {**arrays, **changes}.items() if v is not None})


def same(given, pieces):
    assert len(given) == len(pieces)
    for a, b in zip(given, pieces, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.uint8


def test_the_chorales_are_unpacked_piece_by_piece(tmp_path):
    write_npz(tmp_path / "music" / "JSB_Chorales.npz")
    splits = jsb_chorales(tmp_path)
    assert list(splits) == ["train", "validation", "test"]
    for pieces in splits.values():
        same(pieces, PIECES)


def test_the_chorales_as_they_come_with_the_code_of_bai_et_al(tmp_path):
    cells = np.empty((1, len(PIECES)), object)
    cells[0] = [piece.astype(float) for piece in PIECES]
    (tmp_path / "music").mkdir()
    file = {"traindata": cells, "validdata": cells[:, :2], "testdata": cells[:, 2:]}
    savemat(tmp_path / "music" / "JSB_Chorales.mat", file)
    splits = jsb_chorales(tmp_path)
    same(splits["train"], PIECES)
    same(splits["test"], PIECES[2:])


def test_chorales_that_are_not_there_or_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"poly_music/mdata/JSB_Chorales\.mat.*--folder"):
        jsb_chorales(tmp_path)
    write_npz(tmp_path / "a" / "music" / "JSB_Chorales.npz", valid_len=None)
    with pytest.raises(ValueError, match="no array valid_len; it has train_x"):
        jsb_chorales(tmp_path / "a")
    write_npz(tmp_path / "b" / "music" / "JSB_Chorales.npz", test_len=np.array([3, 4]))
    with pytest.raises(ValueError, match=r"test_x is uint8 \(65, 11\) for 7 steps"):
        jsb_chorales(tmp_path / "b")


def fill(folder, pieces=PIECES):
    folder.mkdir(exist_ok=True)
    for i, piece in enumerate(pieces):
        if i % 3 == 0:
            np.save(folder / f"{i}.npy", piece.astype(bool))
        elif i % 3 == 1:
            np.savez(folder / f"{i}.npz", roll=piece)
        else:
            np.savetxt(folder / f"{i}.csv", piece, fmt="%d", delimiter=",")


def test_a_folder_of_rolls_split_by_fractions_is_the_same_every_time(tmp_path):
    fill(tmp_path)
    splits = from_folder(tmp_path, (0.5, 1 / 3, 1 / 6), seed=3)
    assert [len(pieces) for pieces in splits.values()] == [3, 2, 1]
    found = [piece for pieces in splits.values() for piece in pieces]
    same(sorted(found, key=len), sorted(PIECES, key=len))
    again = from_folder(tmp_path, (0.5, 1 / 3, 1 / 6), seed=3)
    same([p for pieces in again.values() for p in pieces], found)


def test_lists_of_names_are_the_split(tmp_path):
    fill(tmp_path)
    for split, names in {"train": "0.npy\n2.csv\n", "validation": "\n1.npz\n", "test": "5.csv"}.items():
        (tmp_path / f"{split}.txt").write_text(names)
    splits = from_folder(tmp_path)
    same(splits["train"], [PIECES[0], PIECES[2]])
    same(splits["validation"] + splits["test"], [PIECES[1], PIECES[5]])
    (tmp_path / "test.txt").write_text("0.npy\n")
    with pytest.raises(ValueError, match=r"more than once: 0\.npy"):
        from_folder(tmp_path)
    (tmp_path / "test.txt").write_text("7.npy\n")
    with pytest.raises(FileNotFoundError, match=r"listed but not there: 7\.npy"):
        from_folder(tmp_path)
    (tmp_path / "test.txt").unlink()
    with pytest.raises(ValueError, match=r"train\.txt, validation\.txt; a split by lists needs all"):
        from_folder(tmp_path)


def test_matlab_files_of_a_piece_each_or_of_all_with_their_split(tmp_path):
    for i, piece in enumerate(PIECES):
        savemat(tmp_path / f"{i}.mat", {"roll": piece.astype(float)})
    found = [piece for pieces in from_folder(tmp_path).values() for piece in pieces]
    same(sorted(found, key=len), sorted(PIECES, key=len))
    cells = np.empty((1, len(PIECES)), object)
    cells[0] = PIECES
    whole = tmp_path / "whole" / "Nottingham.mat"
    whole.parent.mkdir()
    savemat(whole, {"traindata": cells, "validdata": cells[:, :2], "testdata": cells[:, 2:]})
    for given in (whole, whole.parent):
        splits = from_folder(given)
        assert [len(pieces) for pieces in splits.values()] == [6, 2, 4]
        same(splits["test"], PIECES[2:])
    savemat(tmp_path / "0.mat", {"a": PIECES[0], "b": PIECES[1]})
    with pytest.raises(ValueError, match=r"0.mat: 2 arrays \(a, b\); one was expected"):
        read_roll(tmp_path / "0.mat")
    savemat(whole, {"traindata": cells})
    with pytest.raises(ValueError, match=r"Nottingham.mat: no array validdata; it has traindata"):
        from_folder(whole)
    whole.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(ValueError, match=r"Nottingham.mat (cannot be read as a MATLAB file|is of MATLAB 7.3)"):
        from_folder(whole)


def test_folders_that_cannot_be_split(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        from_folder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no piano roll there"):
        from_folder(tmp_path)
    fill(tmp_path, PIECES[:2])
    with pytest.raises(ValueError, match="2 pieces, and none for validation"):
        from_folder(tmp_path, (0.5, 0.0, 0.5))
    with pytest.raises(ValueError, match=r"0\.9, 0\.3, 0\.2: three numbers"):
        from_folder(tmp_path, (0.9, 0.3, 0.2))


@pytest.mark.parametrize(
    ("roll", "message"),
    [
        (np.zeros((5, 87)), r"shape \(5, 87\)"),
        (np.zeros(88), r"shape \(88,\)"),
        (scale(1), "1 steps; at least 2"),
        (scale(4) * 64, "64 at step 0, key 32; only 0 and 1"),
        (np.full((3, 88), np.nan), "nan at step 0"),
        (np.zeros((3, 88)), "no key is ever down"),
    ],
)
def test_what_is_no_piano_roll(roll, message):
    with pytest.raises(ValueError, match=f"a piece: {message}|a piece: .*{message}"):
        check_roll("a piece", roll)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "words.csv").write_text("one,two\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    np.savez(tmp_path / "two.npz", a=scale(3), b=scale(3))
    for name, message in {
        "words.csv": "one",
        "empty.csv": "0 steps",
        "cut.npy": "",
        "two.npz": r"2 arrays \(a, b\)",
    }.items():
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            read_roll(tmp_path / name)


# --- batches ----------------------------------------------------------------------------------------------------------


def test_every_piece_is_in_one_batch_and_what_is_left_over_goes_to_the_next_width():
    pieces = [scale(steps) for steps in (3, 9, 4, 5, 17, 6)]
    batches = list(make_batches(pieces, (8, 16), 2, [5, 4, 3, 2, 1, 0]))
    assert [batch.rolls.shape for batch in batches] == [(2, 9, KEYS)] * 2 + [(2, 17, KEYS)]
    assert [batch.lengths.tolist() for batch in batches] == [[5, 4], [3, 8], [2, 16]]
    same([batches[2].rolls[1]], [pieces[4]])
    short = list(make_batches(pieces[:1], (8,), 3, [0]))
    assert short[0].lengths.tolist() == [2, 0, 0]
    assert not short[0].rolls[1:].any()


def test_an_epoch_has_all_pieces_in_an_order_of_its_own():
    lengths = [[b.lengths.tolist() for b in epoch_batches(SMALL, PIECES, 1, epoch)] for epoch in (0, 1, 0)]
    assert lengths[0] == lengths[2] != lengths[1]
    assert sorted(n for batch in lengths[0] for n in batch if n) == sorted(len(p) - 1 for p in PIECES)


# --- the loss ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program():
    return make_program(SMALL, len(PIECES), 16)


@pytest.fixture(scope="module")
def params(program):
    params = program.model.init(jax.random.key(0), KEYS)
    return params._replace(b=jnp.asarray(RNG.normal(-2, 1, KEYS), jnp.float32))


def by_hand(program, params, piece):
    """The loss of one piece alone, in float64 from the logits of the model."""
    xs = jnp.asarray(5.0 * piece[:-1, None])
    p = 1 / (1 + np.exp(-np.asarray(program.model.apply(params, xs)[:, 0], np.float64)))
    return -np.sum(np.where(piece[1:] == 1, np.log(p), np.log(1 - p)))


def test_nats_are_those_of_each_piece_alone(program, params):
    expected = [by_hand(program, params, piece) for piece in PIECES[:3]]
    given = jax.jit(lambda p, batch: nats(program.model, p, batch))(params, pad(PIECES[:3], 24, 4))
    np.testing.assert_allclose(given, [*expected, 0], rtol=2e-5)


def test_both_averages(program, params):
    expected = np.array([by_hand(program, params, piece) for piece in PIECES])
    frames = np.array([len(piece) - 1 for piece in PIECES])
    given = score(program, params, evaluation_batches(PIECES, (8, 16)))
    assert given[NATS] == pytest.approx(expected.sum() / frames.sum(), rel=1e-5)
    assert given[NATS_BY_PIECE] == pytest.approx((expected / frames).mean(), rel=1e-5)
    assert given[NATS] != pytest.approx(given[NATS_BY_PIECE], rel=1e-5)


def test_key_frequencies_alone_by_a_loop():
    train, pieces = PIECES[:4], PIECES[4:]
    frames = np.concatenate(train)
    total = {0: [], 1: []}
    for i, piece in enumerate(pieces):
        for frame in piece[1:]:
            p = [(frames[:, k].sum() + 0.5) / (len(frames) + 1) for k in range(KEYS)]
            total[i].append(-sum(np.log(p[k] if frame[k] else 1 - p[k]) for k in range(KEYS)))
    given = blind_score(train, pieces)
    assert given[NATS] == pytest.approx(np.mean(total[0] + total[1]))
    assert given[NATS_BY_PIECE] == pytest.approx(np.mean([np.mean(total[0]), np.mean(total[1])]))


def test_a_cold_composition_is_the_likeliest_frame_after_all_before(program, params):
    """Whatever was composed, the network run over all of it at once says the same of every frame."""
    loud = params._replace(b=params.b + 2)
    run = jax.jit(lambda p, x, key: compose(program.model, p, x, 6, key, 1e-6))
    new = np.asarray(run(loud, PIECES[0], jax.random.key(1)))
    assert new.shape == (6, KEYS)
    assert 0 < new.mean() < 1
    whole = np.concatenate([PIECES[0], new])
    logits = np.asarray(program.model.apply(loud, jnp.asarray(5.0 * whole[:-1, None])))[:, 0]
    np.testing.assert_array_equal(new, logits[-6:] > 0)


# --- the program ------------------------------------------------------------------------------------------------------

OPTIONS = [
    "--hidden-size",
    "16",
    "--num-layers",
    "1",
    "--batch-size",
    "4",
    "--learning-rate",
    "0.03",
    "--dropout",
    "0",
    "--recurrent-dropout",
    "0",
]


def test_a_folder_is_learnt_recorded_and_gone_on_with(tmp_path, capsys):
    fill(tmp_path / "rolls", [scale(9 + i, i % 7) for i in range(20)])
    out = tmp_path / "out"
    command = [
        "gru",
        "--folder",
        str(tmp_path / "rolls"),
        "--out",
        str(out),
        *OPTIONS,
        "--seeds",
        "2",
        "--epochs",
        "15",
    ]
    command += ["--beginning", "4", "--steps", "10", "--temperature", "0.1"]
    assert music.main(command) == 0
    runs = pd.read_csv(out / "runs.csv")
    assert set(NEEDED) <= set(runs.columns)
    test = runs[(runs["split"] == "test") & (runs["metric"] == NATS)].set_index("cell")["value"]
    assert len(test["gru"]) == 2
    assert test["gru"].max() < 0.5 < 2.5 < test["none"]
    assert runs.loc[runs["cell"] == "gru", "num_train"].unique() == [12]
    images = {path.name for path in out.glob("*.png")}
    assert len(images) == 3
    readme = (out / "README.md").read_text()
    assert all(f"]({name})" in readme for name in images)
    (path,) = out.glob("*.npy")
    composed = np.load(path)
    assert composed.shape == (14, KEYS)
    np.testing.assert_array_equal(np.diff(composed.argmax(axis=1)) % 7, 1)  # it goes on upwards
    assert "test nats per frame" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lstmm"], "unknown preset 'lstmm'; did you mean 'lstm'?"),
        (["--cell", "grru"], "unknown cell 'grru'; did you mean 'gru'?"),
        (["--optimizer", "adm"], "unknown optimizer 'adm'; did you mean 'adam'?"),
        (["--dropout", "1"], "--dropout 1.0 must be at least 0 and below 1"),
        (["--learning-rate", "nan"], "--learning-rate nan is not a number"),
        (["--num-layers", "0"], "--num-layers 0 must be at least 1"),
        (["--seeds", "0"], "--seeds 0 must be at least 1"),
        (["--temperature", "0"], "--temperature 0.0 must be above 0"),
        (["--learning-rate", "inf"], "--learning-rate inf must be above 0, and finite"),
        (["--clip-norm", "0"], "--clip-norm 0.0 must be above 0; inf is none"),
        (["--piece", "3"], "--piece 3: the test split has pieces 0 to 0"),
        (["--beginning", "99"], "--beginning 99: test piece 0 has"),
        (["--data-dir", "x"], "either --data-dir DIR, for the chorales, or --folder DIR"),
    ],
)
def test_bad_input_is_told_of_before_any_work(tmp_path, capsys, arguments, message):
    fill(tmp_path)
    assert music.main(["--folder", str(tmp_path), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_published_figures_stand_under_the_rolls_they_are_of_alone():
    assert "LSTM 8.45, GRU 8.43" in music_program.words(["JSB chorales", "mine"])
    assert "8.45" not in music_program.words(["mine"])
