"""Real data sets, through Hugging Face `datasets`, as numpy arrays.

Without `data_dir` a data set comes from the Hub by its name there; with it, from the folder
`<data_dir>/<name>` holding the same files, or tables of one's own. `datasets` is imported when something is loaded, not
with this module, as its import takes longer than that of all the rest.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from rnnjax.data.tables import JSON_LINES, SEPARATED, read_table

MNIST = "ylecun/mnist"  # Modified NIST: LeCun, Bottou, Bengio & Haffner 1998


def load(name: str, data_dir=None):
    """The `datasets.DatasetDict` of a name such as "ylecun/mnist": split -> Dataset.

    Which files of a folder make up a split, `datasets` finds by their names (train.csv, test/part-1.jsonl).

    Raises:
      FileNotFoundError: no such folder, or no data in it.
      ConnectionError: the Hub does not answer, or has no such data set.
      ValueError: a file in the folder that cannot be read.
    """
    if data_dir is not None:
        _check_folder(name, Path(data_dir))
    import datasets

    if data_dir is not None:
        return _of_folder(Path(data_dir) / name)
    try:
        return datasets.load_dataset(name)
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise ConnectionError(
            f"cannot load '{name}' from the Hugging Face Hub: {error}\n"
            f"Where there is no network, download {_address(name)} into FOLDER/{name} beforehand "
            "and pass --data-dir FOLDER (data_dir=FOLDER in Python)."
        ) from error


def mnist(data_dir=None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split ("train", "test") -> images [N, 28, 28] uint8 and labels [N] int32 in 0 .. 9."""
    loaded = load(MNIST, data_dir)
    missing = {"train", "test"} - set(loaded)
    if missing:
        raise ValueError(f"{MNIST}: no split {sorted(missing)}; it has {sorted(loaded)}")
    return {split: _images_and_labels(f"{MNIST} {split}", loaded[split]) for split in ("train", "test")}


def check_finite(name: str, array) -> None:
    """ValueError if float data holds NaN or infinity: how many, and where the first is."""
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{name}: {bad.sum()} of {bad.size} values are NaN or infinite, the first at {first}")


def check_labels(name: str, labels, num_classes: int) -> None:
    """ValueError if a label is not in 0 .. num_classes - 1: how many, and where the first is."""
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if bad.size:
        raise ValueError(
            f"{name}: {bad.size} of {len(labels)} labels are not in 0 .. {num_classes - 1}, "
            f"the first is {labels[bad[0]]} at row {bad[0]}"
        )


def _of_folder(folder: Path) -> Any:
    """Texts are read as from any other file: what `datasets` makes of a CSV lacks texts such as "None" and "NA"."""
    import datasets
    import pyarrow as pa

    try:
        files = datasets.load_dataset_builder(str(folder)).config.data_files
        names = [str(name) for some in files.values() for name in some]
        if all(name.lower().endswith((*SEPARATED, *JSON_LINES)) for name in names):
            splits = {str(split): [read_table(name) for name in some] for split, some in files.items()}
            return datasets.DatasetDict({split: _joined(tables) for split, tables in splits.items()})
        return datasets.load_dataset(str(folder))
    except (datasets.exceptions.DatasetsError, pa.ArrowInvalid) as error:
        raise ValueError(f"{folder} cannot be read as a data set: {error.__cause__ or error}") from error


def _joined(tables: list) -> Any:
    """The rows of one split's files; each column of the first file must be in all."""
    import datasets

    columns = {name: [value for table in tables for value in table.column(name)] for name in tables[0].columns}
    return datasets.Dataset.from_dict(columns)


def _images_and_labels(name: str, dataset) -> tuple[np.ndarray, np.ndarray]:
    """Decodes the stored files themselves: several times faster than reading images by row."""
    import datasets
    from PIL import Image

    table = dataset.cast_column("image", datasets.Image(decode=False)).with_format("arrow")[:]
    files = table["image"].to_pylist()
    images = [np.asarray(Image.open(io.BytesIO(file["bytes"]))) for file in files]
    for row, image in enumerate(images):
        if image.shape != (28, 28) or image.dtype != np.uint8:
            raise ValueError(f"{name}: image {row} is {image.dtype} of shape {image.shape}, not uint8 (28, 28)")
    labels = table["label"].to_numpy()
    check_labels(name, labels, 10)
    return np.stack(images), labels.astype(np.int32)


def _check_folder(name: str, data_dir: Path) -> None:
    folder = data_dir / name
    if not any(path.is_file() for path in folder.rglob("*")):
        why = "the data folder itself does not exist" if not data_dir.is_dir() else "nothing there"
        raise FileNotFoundError(
            f"no data set '{name}': looked in '{folder}' ({why}). Download it there, for example "
            f"with\n    hf download {name} --repo-type dataset --local-dir {folder}\n"
            f"(from {_address(name)}), or leave --data-dir out to load it from the Hub."
        )


def _address(name: str) -> str:
    return f"https://huggingface.co/datasets/{name}"
