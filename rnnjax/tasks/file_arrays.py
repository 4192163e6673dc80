"""The arrays of a task's file as they stand there: .npz and .parquet. What they must be is for `from_file` to check."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from rnnjax.errors import unknown


class Arrays(NamedTuple):
    """Of N examples; texts of one length where the file has texts."""

    sequences: np.ndarray
    targets: np.ndarray
    splits: np.ndarray
    lengths: np.ndarray | None = None


def read_npz(path: Path) -> Arrays:
    """The arrays of a .npz file, none of them by pickle.

    Raises:
      ValueError: no .npz file, an array that is missing or not known, or one of Python objects.
    """
    try:
        file = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz file: {error}") from None
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError(f"{path} is no .npz file, but a single array; numpy.savez writes several by name")
    with file:
        _check_names(path, "array", file.files, Arrays._fields)
        arrays = {}
        for name in file.files:
            try:
                arrays[name] = file[name]
            except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
                if "allow_pickle" not in str(error):
                    raise ValueError(f"{path}: array {name!r} cannot be read: {error}") from None
                raise ValueError(
                    f"{path}: array {name!r} is of Python objects, which only pickle could read, and pickle runs code; "
                    "give numbers or texts of numpy's own types, as numpy.array([...]) makes them; pad what is ragged"
                ) from None
    if arrays["splits"].dtype.kind == "S":
        arrays["splits"] = np.char.decode(arrays["splits"], "utf-8", "replace")
    return Arrays(**arrays)


def read_parquet(path: Path) -> Arrays:
    """The columns of a .parquet file, lists of different lengths padded with zeros.

    Raises:
      ValueError: no .parquet file, a column that is missing or not known, empty values, lists of another depth, or
        targets of every step that are not as many as the steps.
    """
    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is no .parquet file: {error}") from None
    names = [name for name in table.column_names if not name.startswith("__index_level_")]  # pandas keeps its index so
    _check_names(path, "column", names, Arrays._fields[:3])
    if table.num_rows == 0:
        raise ValueError(f"{path} has no rows")
    found = {name: _padded(path, name, table.column(name)) for name in names}
    (sequences, lengths), (targets, asked) = found["sequences"], found["targets"]
    if lengths is None:
        raise ValueError(f"{path}: column 'sequences' must hold lists of numbers, a sequence in each row")
    if asked is not None and (different := asked != lengths).any():
        row = int(np.argmax(different))
        raise ValueError(
            f"{path}: targets, example {row}: a list of {asked[row]} for a sequence of {lengths[row]} steps"
        )
    return Arrays(sequences, targets, found["splits"][0], lengths)


def _check_names(path: Path, kind: str, given: Iterable[str], known: tuple[str, ...]) -> None:
    given = list(given)
    for name in given:
        if name not in known:
            raise ValueError(f"{path}: " + unknown(kind, name, known))
    if missing := [name for name in known[:3] if name not in given]:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it has {', '.join(given) or 'nothing'}")


def _padded(path: Path, name: str, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray | None]:
    """A column as [N], or with its lengths [N] as [N, T] or [N, T, I]."""
    array = pa.concat_arrays(column.chunks)
    if isinstance(array, pa.DictionaryArray):  # categories of pandas
        array = array.dictionary_decode()
    lengths, depth = [], 0
    while _is_list(array.type):
        depth += 1
        _no_nulls(path, name, array)
        lengths.append(
            np.asarray(
                array.value_lengths()
                if not pa.types.is_fixed_size_list(array.type)
                else np.full(len(array), array.type.list_size)
            )
        )
        array = array.flatten()
    _no_nulls(path, name, array)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        flat = np.array(array.to_pylist(), str)
    elif pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type):
        flat = array.to_numpy(zero_copy_only=False)
    else:
        raise ValueError(f"{path}: column {name!r} is of {column.type}, which is neither numbers nor texts")
    if depth == 0:
        return flat, None
    if depth > 2:
        raise ValueError(
            f"{path}: column {name!r} is of {column.type}: lists of lists of numbers are as deep as it goes"
        )
    if depth == 2:
        sizes = np.unique(lengths[1])
        if len(sizes) != 1:
            raise ValueError(
                f"{path}: column {name!r} has steps of {', '.join(map(str, sizes[:5]))} numbers; all need one size"
            )
        flat = flat.reshape(-1, int(sizes[0]))
    there = np.arange(int(lengths[0].max())) < lengths[0][:, None]
    padded = np.zeros((*there.shape, *flat.shape[1:]), flat.dtype)
    padded[there] = flat
    return padded, lengths[0].astype(np.int64)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _no_nulls(path: Path, name: str, array: pa.Array) -> None:
    if array.null_count:
        row = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise ValueError(f"{path}: column {name!r} is empty at place {row}")
