"""Where files of the user's are kept, and how they are written whole."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def user_cache() -> Path:
    """The folder for what can be made again: rnnjax in $XDG_CACHE_HOME, %LOCALAPPDATA% or ~/.cache."""
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rnnjax"


def write_whole(path: str | os.PathLike, write: str | Callable[[Path], Any], *, several: bool = False) -> None:
    """Write a file so that it is whole at every moment, as it was or as it is to be, whatever is killed or unplugged.

    It is written beside its place, handed to the disk (fsync), renamed into its place, and then the folder that holds
    the name is handed to the disk too: a rename alone may reach the disk before what was written does.

    Args:
      path: the file; its folder must be there.
      write: a text, written in UTF-8, or a function that writes the file whose path it is given.
      several: whether several processes may write this file at once; each then writes beside it under another name.

    Raises:
      OSError: it cannot be written (a full disk, a read-only folder, a folder in its place); the file is named, and
        what was there is there still.
    """
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished" if several else f"{path.name}.unfinished")
    try:
        try:
            if callable(write):
                write(unfinished)
            else:
                unfinished.write_text(write, encoding="utf-8")
            with open(unfinished, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Where a folder cannot be opened or synced (Windows, some network file systems) the system orders the two."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
