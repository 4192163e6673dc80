"""A language model in a folder, config.json, vocabulary.json and checkpoints/: written here, read on any machine."""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.corpus import END, UNKNOWN, Corpus, Vocabulary
from experiments.fit import check_config, read_config
from experiments.language_model import LanguageModel, Settings, make_language_model
from rnnjax.checkpoint import Checkpoints
from rnnjax.decode import Options, generate

VOCABULARY = "vocabulary.json"


class Generator(NamedTuple):
    """All it takes to generate text."""

    settings: Settings
    vocabulary: Vocabulary
    start: tuple[int, ...]  # the ids before a prefix
    ends: bool  # whether it has learnt where texts end
    lm: LanguageModel
    params: Any

    def encode(self, prefix: str, skip_unknown: bool = False) -> list[int]:
        """The ids of what texts are to begin with.

        Raises:
          ValueError: tokens the model does not know, unless they are to be skipped.
        """
        tokens = self.vocabulary.split(prefix)
        ids = self.vocabulary.encode(tokens)
        strange = list(dict.fromkeys(t for t, i in zip(tokens, ids, strict=True) if i == UNKNOWN))
        if strange and not skip_unknown:
            what = "characters" if self.vocabulary.level == "char" else "words"
            raise ValueError(
                f"the prefix holds {what} that are not in the text this model has learnt from: "
                f"{', '.join(map(repr, strange))}; leave them out, or let --skip-unknown do so"
            )
        return [i for i in ids if i != UNKNOWN]

    def prompt(self, prefix: Sequence[int] = ()) -> list[int]:
        """The ids that generation begins after: what stands before every text, and the prefix."""
        return [*self.start, *prefix]

    def options(self, top_k: int = 0, top_p: float = 1.0) -> Options:
        """Which tokens may be drawn: never the unknown one, and the end only where it was learnt."""
        banned = np.zeros(len(self.vocabulary.tokens), bool)
        banned[UNKNOWN], banned[END] = True, not self.ends
        return Options(top_k, top_p, banned)

    def generate(self, prompts: Sequence[Sequence[int]], length: int, **options) -> list[list[int]]:
        """See rnnjax.decode.generate."""
        options.setdefault("options", self.options())
        return generate(self.lm.decoder, self.params, prompts, length, **options)


def start_of(settings: Settings, corpus: Corpus) -> tuple[int, ...]:
    """The ids that generation begins after when nothing else is given.

    A model of many texts begins after END, as they do; one of a single text begins a line, or where the held-out part
    does. A model of windows needs a full one before that.
    """
    if settings.mode == "windows":
        end = len(corpus.ids) if corpus.num_texts > 1 else corpus.num_train
        return tuple(corpus.ids[end - settings.seq_len : end].tolist())
    begins_a_line = corpus.num_texts == 1 and "\n" in corpus.vocabulary.tokens
    return (END, *corpus.vocabulary.encode("\n" * begins_a_line))


def untrained(settings: Settings, corpus: Corpus) -> Generator:
    """A generator without parameters yet."""
    lm = make_language_model(settings, len(corpus.vocabulary.tokens))
    return Generator(settings, corpus.vocabulary, start_of(settings, corpus), corpus.num_texts > 1, lm, None)


def save(folder: Path, generator: Generator, config: dict[str, Any]) -> None:
    """Make the folder that of this training: config.json, from `config` and the settings, and vocabulary.json.

    Raises:
      ValueError: it is that of another one; nothing is changed then.
    """
    check_config(folder, config)
    content = {"start": generator.start, "ends": generator.ends, "tokens": generator.vocabulary.tokens}
    path = Path(folder) / VOCABULARY
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def load(folder: Path, warn: Callable[[str], None] = print) -> Generator:
    """The model of a folder, with the parameters that validated best.

    Raises:
      FileNotFoundError, ValueError: no model, a damaged file, no checkpoint that can be read.
    """
    folder = Path(folder)
    config = read_config(folder)
    names = [field.name for field in dataclasses.fields(Settings)]
    if missing := [name for name in names if name not in config]:
        raise ValueError(f"{folder / 'config.json'} is no language model's: it lacks {', '.join(missing)}")
    settings = Settings(**{name: math.inf if config[name] == "inf" else config[name] for name in names})
    path = folder / VOCABULARY
    if not path.exists():
        raise FileNotFoundError(f"{folder} lacks {VOCABULARY}: bring it from where the model was trained")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tokens, start, ends = tuple(content["tokens"]), tuple(content["start"]), content["ends"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; bring it from where the model was trained") from error
    lm = make_language_model(settings, len(tokens))
    none = f"{folder} holds no checkpoint yet: the training has not come to its first evaluation"
    if not (folder / "checkpoints").is_dir():
        raise FileNotFoundError(none)
    checkpoints = Checkpoints(folder / "checkpoints", warn=warn, read_only=True)
    try:
        saved = checkpoints.latest(best=jax.eval_shape(lm.model.init, jax.random.key(0)))
    finally:
        checkpoints.close()
    if saved is None:
        raise FileNotFoundError(none)
    vocabulary = Vocabulary(settings.level, settings.lower, tokens)
    return Generator(settings, vocabulary, start, ends, lm, jax.device_get(saved[2]["best"]))
