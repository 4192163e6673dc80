"""A long training: chunks of steps with progress, evaluations, checkpoints, resumption and a clean stop."""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.shared.one_writer import one_writer
from experiments.shared.stopping import WORTH_SAVING_SECONDS, goes_on, patience
from experiments.shared.tensorboard import Board
from rnnjax.files import user_cache, write_whole
from rnnjax.training.checkpoint import Checkpoints
from rnnjax.training.divergence import FAR_ABOVE, far_above, has_stayed

CHECKPOINT_SECONDS = 60.0  # a kill loses at most about this much work
SAY_EVERY_SECONDS = 30.0  # where there is no terminal to draw on
CONFIG, CHECKPOINTS = "config.json", "checkpoints"
TIES = "ties"
OF_FIT = ("chunk", "score", TIES)  # keys of a history's entries that are no measurements
WORST = (math.inf, math.inf)


class Fitted(NamedTuple):
    """What a training leaves."""

    state: Any  # after the last step
    best: Any  # params of the evaluation with the lowest score, on the host
    history: list[dict[str, float]]  # an entry per evaluation: what `chunk` and `evaluate` measured, and seconds
    seconds: float  # of training and evaluation, over all resumptions
    diverged: bool  # a training loss was not finite, and training stopped there; or it stayed far above its start

    @property
    def best_entry(self) -> dict[str, float]:
        """The evaluation `best` comes from."""
        return min(self.history, key=_rank)


def fit(
    state: Any,
    chunk: Callable[[Any, int], tuple[Any, Any]],
    num_chunks: int,
    *,
    evaluate: Callable[[Any], Mapping[str, float]],
    every: int,
    score: str | None,
    ties: str | None = None,
    console: Console,
    title: str,
    put: Callable[[Any], Any] = lambda state: state,
    get: Callable[[Any], Any] = jax.device_get,
    folder: Path | None = None,
    config: Mapping[str, Any] | None = None,
    keep: int = 2,
    tell: Callable[[Any, dict[str, float]], None] = lambda state, entry: None,
    board: Board | None = None,
) -> Fitted:
    """Run chunks 0 .. num_chunks - 1, or those that are left, and keep the parameters that scored best.

    Args:
      state: before the first chunk, with a field `params`; any pytree of arrays.
      chunk: (state, i) -> (state, Measured), as `parallel.Learner.chunk` gives it; must depend on these two alone, so
        that a resumed training has the same losses as an undisturbed one.
      num_chunks: how many there are in all.
      evaluate: state -> measurements, after every `every` chunks and the last.
      every: chunks between evaluations.
      score: the measurement to minimise; a leading "-" maximises ("-validation_accuracy"). None takes the last.
      ties: the measurement that decides between evaluations of equal score, the lower one being the better; by default
        the earlier evaluation is kept.
      console, title: where and as what to report.
      put: puts a restored state on the devices.
      get: brings a state to the host, for a checkpoint.
      folder: where checkpoints go, and where an interrupted training is found again; None keeps nothing.
      config: what this training is, for `folder`/config.json; a folder with another one is refused.
      keep: the number of checkpoints kept.
      tell: called after each evaluation, for samples and the like.
      board: where losses go after every chunk, and evaluations as they come, as a run named by the title.

    Raises:
      ValueError: the folder holds another training.
      Stopped: by a signal (stopping.py), after a checkpoint where that is worth it.
    """
    checkpoints = None
    if folder is not None:
        check_config(folder, config or {})
        checkpoints = Checkpoints(Path(folder) / CHECKPOINTS, keep, warn=lambda text: console.print(text, markup=False))
    progress = _Progress(console, title, num_chunks)
    history: list[dict[str, float]] = []
    losses: list[float] = []  # since the last evaluation
    norms: list[float] = []
    done, seconds, best = 0, 0.0, jax.device_get(state.params)
    start_loss, num_above = math.inf, 0  # of the first step; chunks in a row, up to the last, far above it
    unsaved: float | None = None  # since when there is work that no checkpoint has

    def worth_saving() -> bool:
        return checkpoints is not None and unsaved is not None and time.perf_counter() - unsaved > WORTH_SAVING_SECONDS

    with goes_on() if checkpoints else nullcontext(), patience(worth_saving) as asked:
        try:
            saved = checkpoints.latest(state=state, best=best) if checkpoints else None
            if saved is not None:
                done, (history, losses, norms, seconds, *looks), parts = saved
                if looks:  # a checkpoint of before they were kept has none
                    start_loss, num_above = looks
                state, best = put(parts["state"]), jax.device_get(parts["best"])
                console.print(f"{title}: going on from {done} of {num_chunks}", markup=False)
            progress.begin(done)
            started, last_save = time.perf_counter() - seconds, time.perf_counter()
            with progress.drawing:
                while done < num_chunks and not _broken(history, losses) and not asked():
                    state, measured = chunk(state, done)
                    losses.append(float(measured.train_loss))
                    norms.append(float(measured.gradient_norm))
                    if done == 0:
                        start_loss = float(measured.first_loss)
                    num_above = num_above + 1 if far_above(losses[-1], start_loss) else 0
                    done += 1
                    unsaved = unsaved or time.perf_counter()
                    if board is not None:
                        board.add(title, done, {"train_loss": losses[-1], "gradient_norm": norms[-1]})
                    evaluated = done % every == 0 or done == num_chunks or _broken(history, losses)
                    if evaluated:
                        entry = {"chunk": done, "train_loss": np.mean(losses), "gradient_norm": max(norms)}
                        entry |= evaluate(state)
                        entry["score"] = _score(entry, score)
                        if ties is not None:
                            entry[TIES] = entry[ties]
                        entry["seconds"] = time.perf_counter() - started
                        entry = {k: float(v) for k, v in entry.items()}
                        if _rank(entry) < min(map(_rank, history), default=WORST):
                            best = jax.device_get(state.params)
                        history.append(entry)
                        losses, norms = [], []
                        if board is not None:
                            kept = (*OF_FIT, "seconds", "train_loss", "gradient_norm")
                            board.add(title, done, {k: v for k, v in entry.items() if k not in kept})
                        progress.tell(entry)
                        tell(state, entry)
                    progress.at(done, losses)
                    seconds = time.perf_counter() - started
                    due = evaluated or asked() or time.perf_counter() - last_save > CHECKPOINT_SECONDS
                    if checkpoints and due:
                        note = (history, losses, norms, seconds, start_loss, num_above)
                        checkpoints.save(done, note, state=get(state), best=best)
                        last_save, unsaved = time.perf_counter(), None
        finally:
            if checkpoints is not None:
                checkpoints.close()
            if board is not None:
                board.close(title)
    diverged = _broken(history, losses) or has_stayed(num_above)
    if diverged:
        how = (
            "is not finite"
            if _broken(history, losses)
            else f"stayed above {FAR_ABOVE:g} times {start_loss:.4g}, its first"
        )
        console.print(f"{title}: diverged: the training loss {how}", markup=False)
    return Fitted(state, best, history, seconds, diverged)


@contextmanager
def resumable(program: str, config: Mapping[str, Any]) -> Iterator[Callable[[int], Path]]:
    """The folder of each seed's checkpoints in the user's cache; they go once the block has come to its end.

    Where it does not, stopped by a signal or an error, the same program with the same config finds them again.

    Raises:
      ValueError: another process runs this training now.
    """
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = user_cache() / "training" / f"{program}-{digest}"
    with one_writer(folder), goes_on():
        yield lambda seed: folder / f"seed-{seed}"
        shutil.rmtree(folder, ignore_errors=True)


def check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.json, or see that the one in the folder says the same.

    One without a checkpoint beside it, of a training that was refused or stopped before its first, is written anew.

    Raises:
      ValueError: it says something else (which is named), or is no JSON.
    """
    path = Path(folder) / CONFIG
    config = json.loads(json.dumps(config))
    if path.exists():
        old = read_config(folder)
        changed = [k for k in {**old, **config} if old.get(k) != config.get(k)]
        begun = any((Path(folder) / CHECKPOINTS).glob("*"))
        if changed and begun:
            rows = "\n".join(f"  {k}: {old.get(k)!r} there, {config.get(k)!r} now" for k in changed)
            raise ValueError(f"{folder} holds another training:\n{rows}\nGive another folder, or delete that one.")
        if not changed:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a folder.

    Raises:
      FileNotFoundError, ValueError: there is none, or it is no JSON.
    """
    path = Path(folder) / CONFIG
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no trained model: no {CONFIG} there")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}; delete the folder or give another") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no settings by name; delete the folder or give another")
    return config


def _rank(entry: Mapping[str, float]) -> tuple[float, float]:
    """By which the best evaluation is the least; one whose score or loss is NaN is as bad as none."""
    rank = entry["score"], entry.get(TIES, 0.0)
    return WORST if any(map(math.isnan, rank)) else rank


def _score(entry: Mapping[str, float], score: str | None) -> float:
    if score is None:
        return -entry["chunk"] if math.isfinite(entry["train_loss"]) else math.nan
    return -entry[score[1:]] if score.startswith("-") else entry[score]


def _broken(history: list[dict[str, float]], losses: list[float]) -> bool:
    return not all(math.isfinite(loss) for loss in losses) or any(not math.isfinite(e["train_loss"]) for e in history)


class _Progress:
    """A bar with losses and the time left; where nothing can be drawn, a line now and then."""

    def __init__(self, console: Console, title: str, total: int):
        self.console, self.title, self.total = console, title, total
        texts = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
        self.bar = Bar(*texts, TimeRemainingColumn(), console=console)
        self.task = self.bar.add_task(title, total=total)
        self.drawing = self.bar if console.is_terminal else nullcontext()
        self.said = 0.0
        self.started: tuple[float, int] | None = None  # when the first chunk was done, and which one that was

    def begin(self, done: int) -> None:
        self.bar.update(self.task, completed=done)
        self.said = time.perf_counter()

    def at(self, done: int, losses: list[float]) -> None:
        text = f"{self.title}: loss {losses[-1]:.4f}" if losses else self.title
        self.bar.update(self.task, completed=done, description=text)
        now = time.perf_counter()
        if self.started is None:  # from here on, as compilation is behind
            self.started = now, done
        elif not self.console.is_terminal and now - self.said > SAY_EVERY_SECONDS:
            self.said = now
            left = (now - self.started[0]) / (done - self.started[1]) * (self.total - done)
            self.console.print(f"{text}, {done} of {self.total}, left {timedelta(seconds=round(left))}", markup=False)

    def tell(self, entry: Mapping[str, float]) -> None:
        values = ", ".join(f"{k.replace('_', ' ')} {v:.4f}" for k, v in entry.items() if k not in (*OF_FIT, "seconds"))
        where = f"{self.title}: {int(entry['chunk'])} of {self.total}"
        self.console.print(f"{where}, {values}, {timedelta(seconds=round(entry['seconds']))}", markup=False)
