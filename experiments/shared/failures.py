"""What a program says of an exception: one line, and where the whole traceback is.

Mistakes of whoever calls are ValueErrors and OSErrors of this project's own, and their words are enough. Everything
else is told by its kind and first line, whose code it came from (a module of the user's, or this project), and the file
that holds the traceback.
"""

import errno
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

BAD_INPUT, FAULT = 2, 1  # exit codes
MOST = 300  # characters of a message that is not ours
OURS = tuple(Path(__file__).parents[2] / name for name in ("experiments", "rnnjax"))
LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


class TheirError(ValueError):
    """Code of the user's raised, such as the factory of a cell; the exception it raised is the cause."""


def told(error: Exception) -> tuple[str, int]:
    """The line, and the exit code."""
    if isinstance(error, TheirError):
        return f"{error}; traceback: {_written(error)}", BAD_INPUT
    if isinstance(error, OSError) and error.errno is not None:
        text = f"{error.strerror}: {error.filename}" if error.filename else f"{error}; traceback: {_written(error)}"
        if error.errno == errno.ENOSPC:
            text += "; make room on the disk and call again"
        return text, BAD_INPUT
    frames = list(_frames(error))
    if isinstance(error, ValueError | OSError) and frames and _below(frames[-1].filename, OURS):
        return str(error), BAD_INPUT
    place = their_place(error)
    whose = f"raised by {place}" if place else "which this program did not foresee"
    code = BAD_INPUT if place or isinstance(error, ValueError | OSError) else FAULT
    return f"{named(error)}, {whose}; traceback: {_written(error)}", code


def of_theirs(error: BaseException) -> str:
    """What a user's own code raised, and where: "KeyError: 'a', in my_cells.py, line 3"; "" where it was not theirs."""
    place = their_place(error)
    return f"{named(error)}, in {place}" if place else ""


def named(error: BaseException) -> str:
    """An exception's kind and the first line of its words, cut where it is long."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:MOST] if lines else 'without a word'}"


def their_place(error: BaseException) -> str:
    """The last line of a user's own module that an exception came through, as "my_cells.py, line 3"; "" if none."""
    theirs = [f for f in _frames(error) if not f.filename.startswith("<") and not _below(f.filename, OURS + LIBRARIES)]
    return f"{theirs[-1].filename}, line {theirs[-1].lineno}" if theirs else ""


def _frames(error: BaseException) -> Iterator[traceback.FrameSummary]:
    return iter(traceback.extract_tb(error.__traceback__))


def _below(file: str, folders: tuple[Path, ...]) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in folders)


def _written(error: BaseException) -> str:
    """Where the traceback was written."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="rnnjax-traceback-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
        return file.name
    except OSError as why:
        return f"could not be written ({why.strerror})"
