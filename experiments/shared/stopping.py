"""SIGINT, SIGTERM and SIGHUP: a program ends with one line and the signal's exit code, whatever it is doing.

Every file is whole at every moment (`rnnjax.files.write_whole`, checkpoints renamed into place), so a program may end
where it stands. It does not where a training has unsaved work that is worth a checkpoint: within `patience` the signal
is only noted, the chunk of steps under way is finished and saved, and then the program ends. A second signal ends it at
once.

The interpreter runs a signal's handler between two instructions of the main thread, and so not while that compiles for
minutes. Signals are therefore heard by a thread of their own, which C's handler wakes through a pipe at once
(`signal.set_wakeup_fd`). A signal that was ignored when the program began, as SIGHUP is below `nohup`, stays ignored.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
KEPT = "; what is finished is kept, and the same command goes on from here"
SHOW_CURSOR = "\x1b[?25h"  # a bar under way has hidden it
WORTH_SAVING_SECONDS = 10.0  # of unsaved work; less is sooner done again than saved


class Stopped(KeyboardInterrupt):
    """A signal asked for the end, where no `attend` sees to that."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Patience:
    def __init__(self, worth: Callable[[], bool]):
        self.worth = worth
        self.asked: int | None = None


_attending = False
_patience: _Patience | None = None
_others = False  # processes that hear from this one how it ends
_going_on = 0  # blocks under way that the same command would go on from


def hold() -> None:
    """Keep signals until the next `attend`, in this process or, after exec, in the program that takes its place."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def attend() -> None:
    """From here on signals end this process as this module has it; for programs, from their first line."""
    global _attending
    if _attending:
        return
    _attending = True
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)  # the thread acts

    def listen() -> None:
        while word := os.read(heard, 1):
            if word[0] in SIGNALS and not _noted(word[0]):
                end(word[0])

    threading.Thread(target=listen, name="signals", daemon=True).start()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave_to_parent)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end(number: int) -> NoReturn:
    """End this process with a line that names the signal, without waiting for anything."""
    text = words(number) + "\n"
    with suppress(OSError):
        if os.isatty(1):
            text = f"{SHOW_CURSOR}\n{text}"
        os.write(1, text.encode())
    os._exit(128 + number)


def words(number: int) -> str:
    """What is said in the end."""
    return f"stopped by {signal.Signals(number).name}" + (KEPT if _going_on else "")


@contextmanager
def goes_on() -> Iterator[None]:
    """Within this block the same command would go on from where it was stopped, and is said to."""
    global _going_on
    _going_on += 1
    try:
        yield
    except KeyboardInterrupt as stop:
        if KEPT not in getattr(stop, "__notes__", ()):
            stop.add_note(KEPT)
        raise
    finally:
        _going_on -= 1


@contextmanager
def patience(worth: Callable[[], bool]) -> Iterator[Callable[[], int | None]]:
    """While `worth()`, the first signal is only noted, for the function yielded to tell; the block's end is then the
    program's, or raises Stopped where it has no `attend` (in a notebook, say) or is one of several (`with_others`)."""
    global _patience
    before, own = _patience, _Patience(worth)
    handlers = {}
    if not _attending and threading.current_thread() is threading.main_thread():
        handlers = {number: signal.signal(number, _handle) for number in SIGNALS}
    _patience = own
    try:
        yield lambda: own.asked
    finally:
        _patience = before
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if own.asked is not None:
        if _attending and not _others:
            end(own.asked)
        raise Stopped(own.asked)


@contextmanager
def with_others() -> Iterator[None]:
    """Within this block other processes wait for this one: `patience` notes a signal whatever there is to save, and
    raises Stopped in its end, so that they can be told."""
    global _others
    _others = True
    try:
        yield
    finally:
        _others = False


def note(number: int) -> None:
    """Do as if this signal had come, unless one has."""
    if (_patience is None or _patience.asked is None) and not _noted(number):
        end(number)


def _noted(number: int) -> bool:
    """Whether the signal need only be noted."""
    if _patience is None or _patience.asked is not None or not (_others or _patience.worth()):
        return False
    _patience.asked = number
    return True


def _handle(number: int, frame: object) -> None:
    if not _noted(number):
        raise Stopped(number)


def _leave_to_parent() -> None:
    """In a forked process signals do what they do by default."""
    global _attending
    _attending = False
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
