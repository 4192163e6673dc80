"""A language model in a folder, config.json, vocabulary.json and checkpoints/: written here, read on any machine."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.shared.cells import build_cell
from experiments.shared.fit import CONFIG, check_config, read_config
from experiments.shared.kept_model import best_params, damaged, digest_of, read_json
from experiments.shared.memory import check_bytes, memory, size_of
from experiments.textgen.beginning import start_of
from experiments.textgen.corpus import END, UNKNOWN, Corpus, Vocabulary
from experiments.textgen.language_model import LanguageModel, make_language_model
from experiments.textgen.settings import Settings
from rnnjax.files import write_whole
from rnnjax.models.decode import Options, generate

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


def untrained(settings: Settings, corpus: Corpus) -> Generator:
    """A generator without parameters yet."""
    lm = make_language_model(settings, len(corpus.vocabulary.tokens))
    return Generator(settings, corpus.vocabulary, start_of(settings, corpus), corpus.num_texts > 1, lm, None)


def save(folder: Path, generator: Generator, config: dict[str, Any]) -> dict[str, Any]:
    """Make the folder that of this training: config.json and vocabulary.json. What config.json holds is returned.

    Raises:
      ValueError: it is that of another one; nothing is changed then.
    """
    begun_without = (Path(folder) / CONFIG).exists() and "vocabulary_digest" not in read_config(folder)
    digest = {} if begun_without else {"vocabulary_digest": digest_of(list(generator.vocabulary.tokens))}
    config = config | digest
    check_config(folder, config)
    content = {"start": generator.start, "ends": generator.ends, "tokens": generator.vocabulary.tokens}
    write_whole(Path(folder) / VOCABULARY, json.dumps(content, ensure_ascii=False, indent=0) + "\n")
    return config


def settings_from(config: dict[str, Any], path: Path, trust_code: bool = False) -> Settings:
    """The settings of a model's config.json, every field checked before it is used.

    Raises:
      ValueError: what Settings.from_json raises, or a cell that does not exist or cannot be made.
    """
    others = ("dataset", "corpus", "seed", "vocabulary_digest")
    settings = Settings.from_json(config, path, others, trust_code)
    try:
        build_cell(settings.cell, settings.hidden_size, settings.seq_len)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return settings


def vocabulary_from(content: Any, path: Path) -> tuple[tuple[str, ...], tuple[int, ...], bool]:
    """Tokens, the ids generation starts after, and whether ends were learnt, from what vocabulary.json holds."""
    if not isinstance(content, dict) or not {"tokens", "start", "ends"} <= set(content):
        raise damaged(path, "it is not an object with tokens, start and ends")
    tokens, start, ends = content["tokens"], content["start"], content["ends"]
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise damaged(path, "tokens is not a list of texts")
    if len(set(tokens)) != len(tokens) or len(tokens) <= UNKNOWN:
        raise damaged(path, "tokens holds one twice, or too few")
    if not isinstance(start, list) or not all(type(i) is int and 0 <= i < len(tokens) for i in start):
        raise damaged(path, f"start is not a list of whole numbers below {len(tokens)}")
    if not isinstance(ends, bool):
        raise damaged(path, "ends is neither true nor false")
    return tuple(tokens), tuple(start), ends


def load(folder: Path, warn: Callable[[str], None] = print, trust_code: bool = False) -> Generator:
    """The model of a folder, with the parameters that validated best.

    A file never chooses what code runs: a cell that is not of CELLS is imported only with `trust_code`.

    Raises:
      FileNotFoundError, ValueError: no model, a damaged file, no checkpoint that can be read.
    """
    folder = Path(folder)
    config = read_config(folder)
    settings = settings_from(config, folder / CONFIG, trust_code)
    path = folder / VOCABULARY
    tokens, start, ends = vocabulary_from(read_json(path), path)
    if config.get("vocabulary_digest", digest_of(list(tokens))) != digest_of(list(tokens)):
        raise ValueError(
            f"{path} does not belong to these weights: its tokens are not those the model was trained with"
        )
    lm = make_language_model(settings, len(tokens))
    parts = {"parameters": size_of(jax.eval_shape(lm.model.init, jax.random.key(0)))}
    check_bytes(f"{folder / CONFIG}: hidden_size {settings.hidden_size}", "generating", parts, *memory())
    vocabulary = Vocabulary(settings.level, settings.lower, tokens)
    return Generator(settings, vocabulary, start, ends, lm, best_params(folder, lm.model.init, warn))
