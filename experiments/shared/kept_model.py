"""A trained model in a folder: config.json, what else it is made of as JSON, and checkpoints/ with its weights.

Such a folder is data, from whatever machine: every field is checked before it is used (`Checked.from_json`), the cell
it names is one of this project's own unless the user says otherwise, and config.json holds a digest of the other file,
so that words in another order than the weights learnt are noticed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from experiments.shared.fit import CHECKPOINTS, check_config, read_config, resumable
from experiments.shared.one_writer import one_writer
from rnnjax.files import write_whole
from rnnjax.training.checkpoint import Checkpoints

REPAIR = "bring it from where the model was trained"


@contextmanager
def seed_folders(
    program: str, model: Path | None, seeds: Sequence[int], config: Mapping[str, Any]
) -> Iterator[Callable[[int], Path]]:
    """Where the training of each seed goes: into the model's folder to stay, a folder for each of several seeds, or
    into the user's cache until all are done.

    Args:
      config: what the trainings are, by which the cache finds them again.

    Raises:
      ValueError: another process writes there.
    """
    if model is None:
        with resumable(program, config) as folder_of:
            yield folder_of
        return
    with one_writer(model):
        yield lambda seed: model / f"seed-{seed}" if len(seeds) > 1 else model


def digest_of(content: Any) -> str:
    """What config.json holds of JSON: the same words in another order have another one."""
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]


def save_about(folder: Path, config: Mapping[str, Any], name: str, content: Any, digest: str) -> dict[str, Any]:
    """Make the folder that of this training: config.json, with the digest of content under this name, and content.

    Args:
      name: of the file of `content`, which is of what JSON holds.
      digest: its name in config.json.

    Raises:
      ValueError: the folder is that of another training; nothing is changed then.
    """
    whole = {**config, digest: digest_of(content)}
    check_config(folder, whole)
    write_whole(folder / name, json.dumps(content, ensure_ascii=False, indent=0) + "\n")
    return whole


def read_about(folder: Path, name: str, digest: str) -> Any:
    """What `save_about` wrote as content, which is checked for being the weights' own and for nothing else.

    Raises:
      FileNotFoundError, ValueError: it is not there, is no JSON, or is another model's.
    """
    path = folder / name
    content = read_json(path)
    if read_config(folder).get(digest) != digest_of(content):
        raise ValueError(f"{path} does not belong to these weights: it is not as it was in training; {REPAIR}")
    return content


def read_json(path: Path) -> Any:
    """Whatever JSON a file of a model holds.

    Raises:
      FileNotFoundError, ValueError: there is no such file, or it is no JSON.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path.parent} lacks {path.name}: {REPAIR}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; {REPAIR}") from error


def damaged(path: Path, why: str) -> ValueError:
    """The error of a file that is JSON and not what it should hold."""
    return ValueError(f"{path} is damaged: {why}; {REPAIR}")


def best_params(folder: Path, init: Callable[[jax.Array], Any], warn: Callable[[str], None] = print) -> Any:
    """The parameters that validated best, of the newest checkpoint that can be read; nothing there is touched.

    Args:
      init: key -> parameters, as the model of this folder has them.

    Raises:
      FileNotFoundError, ValueError: no checkpoint yet, or none that can be read.
    """
    none = f"{folder} holds no checkpoint yet: the training has not come to its first evaluation"
    if not (folder / CHECKPOINTS).is_dir():
        raise FileNotFoundError(none)
    checkpoints = Checkpoints(folder / CHECKPOINTS, warn=warn, read_only=True)
    try:
        saved = checkpoints.latest(best=jax.eval_shape(init, jax.random.key(0)))
    finally:
        checkpoints.close()
    if saved is None:
        raise FileNotFoundError(none)
    return jax.device_get(saved[2]["best"])
