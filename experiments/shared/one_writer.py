"""One writer of a folder: while a program writes a results or model folder, every other one is told so and ends.

The lock is filelock's `FileLock` on DIR/.lock: flock of the system (LockFileEx of Windows), which goes with the process
that holds it, however that ends, so that nothing a killed process leaves behind blocks. On network file systems it is
as good as theirs: NFS (version 4, or 3 with its lock daemon), CIFS and Lustre mounted with `flock` tell all machines of
a lock; Lustre with `localflock` tells those of one machine. Where there is no flock at all filelock falls back to
`SoftFileLock`, and warns: a lock is then that the file is there. One left by a killed process of the same machine is
seen to be stale; one left by another machine's is not, and is for the user to delete.

Who holds it stands in DIR/.lock.json, for people: it is read for a message and decides nothing.
"""

import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from rnnjax.files import write_whole

LOCK, HOLDER = ".lock", ".lock.json"
HOLDER_SECONDS = 2.0  # that a holder may take to say who it is
SHOWN = 200  # characters of a holder's command
_held: set[Path] = set()  # by this process


@contextmanager
def one_writer(folder: str | os.PathLike, wait: float = 0.0) -> Iterator[None]:
    """Hold a folder alone; it is made if it is not there, and goes again if it is empty at the end.

    Within a block of the same folder this does nothing.

    Args:
      folder: what is to be written.
      wait: seconds for which another holder is waited for. None where a program runs long; where it only adds rows at
        its end, others are soon done, and what it has measured should not be lost.

    Raises:
      ValueError: another process holds it (host, process, command and since when are said), or it cannot be written.
    """
    folder = Path(folder)
    place = folder.resolve()
    if place in _held:
        yield
        return
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=wait)
    except Timeout:
        raise ValueError(
            f"{str(folder)!r} is being written by {_holder(folder)}; give another folder, or wait"
        ) from None
    except OSError as error:
        raise ValueError(f"cannot write to the output folder {str(folder)!r}: {error.strerror}") from error
    try:
        _held.add(place)
        who = {"host": socket.gethostname(), "pid": os.getpid(), "command": shlex.join(sys.orig_argv)}
        write_whole(
            folder / HOLDER, json.dumps({**who, "since": datetime.now().astimezone().isoformat(" ", "seconds")})
        )
        yield
    finally:
        _held.discard(place)
        for name in (HOLDER, LOCK):  # whoever waits for a lock that is no longer the folder's takes the new one
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        lock.release()
        for one in made:
            with suppress(OSError):  # it holds something now
                one.rmdir()


def _holder(folder: Path) -> str:
    """Who holds a folder, as far as is known."""
    until = time.monotonic() + HOLDER_SECONDS
    while True:
        with suppress(OSError, ValueError, TypeError, KeyError):
            who = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
            host, pid, command, since = (str(who[name])[:SHOWN] for name in ("host", "pid", "command", "since"))
            if host != socket.gethostname() or _runs(int(pid)):
                return f"process {pid} on {host} since {since}: {command}"
        if time.monotonic() > until:
            return "another process, which has not said which it is"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether there is a process of this number here; where that cannot be asked without harm (Windows), it is taken
    to be there."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
