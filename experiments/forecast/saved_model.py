"""Networks fitted on all of a series, in a folder: config.json, series.json, errors.json and checkpoints/.

The series itself is kept, as its transforms are fitted on it: whatever they hold of it is made again from it.
"""

import json
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.forecast.data import Series
from experiments.forecast.network import Forecaster, Pairs, Params, make_forecaster, make_pairs
from experiments.forecast.rolling import scale
from experiments.forecast.settings import Settings
from experiments.shared.cells import build_cell
from experiments.shared.fit import CONFIG, read_config
from experiments.shared.kept_model import best_params, damaged, read_about, read_json, save_about
from experiments.shared.settings import plain
from rnnjax.data.series import make_transform
from rnnjax.files import write_whole
from rnnjax.training.optimizers import Hyper

SERIES, ERRORS, DIGEST = "series.json", "errors.json", "series_digest"


class Model(NamedTuple):
    """All it takes to forecast a series that goes on."""

    settings: Settings
    series: Series  # what it was fitted on; its unit is the name of the column
    errors: np.ndarray  # [O, H], of the rolling forecasts, on the scale of `outcome.on_scale`; NaN where not known
    spread: np.ndarray  # [O, H], of the networks' forecasts, on the same scale
    params: Any  # leaves [1, seeds, ...]

    @property
    def forecaster(self) -> Forecaster:
        return forecaster_of(self.settings, len(self.series.y), len(self.series.exogenous_names))

    def pairs(self, series: Series) -> Pairs:
        """What networks see of a series, and are to say, with the constants of the one that they were fitted on.

        Raises:
          ValueError: too few values.
        """
        fitted, names = self._transform(), self.series.exogenous_names
        columns = [scale(series.columns, names, self.series.columns)[fitted.lost :]] if names else []
        return make_pairs([fitted.forward(series.y)], self.settings.lags, [len(series.y) - fitted.lost], columns)

    def forecast(self, series: Series, count: int) -> np.ndarray:
        """The next `count` values by each network, [seeds, count], in the units of the series.

        Raises:
          ValueError: fewer values than the networks look back at.
        """
        fitted, forecaster, settings = self._transform(), self.forecaster, self.settings
        needed = fitted.lost + settings.lags + max(2, forecaster.warm_up)
        if len(series.y) < needed:
            raise ValueError(f"{series.name} has {len(series.y)} values; these networks need at least {needed}")
        position = np.array([[len(series.y) - fitted.lost - settings.lags]])
        z = forecaster.forecast(self.params, self.pairs(series).xs, position, count)
        return fitted.inverse(np.asarray(z[0, :, 0], float), series.y)

    def _transform(self) -> Any:
        return make_transform(self.settings.transforms, self.settings.period)(self.series.y)


@lru_cache(maxsize=4)
def forecaster_of(settings: Settings, num_values: int, num_exogenous: int) -> Forecaster:
    """The networks of these settings, for a series of so many values.

    Raises:
      ValueError: an unknown cell or optimizer, or a value that they refuse.
    """
    return make_forecaster(
        build_cell(settings.cell, settings.hidden_size, settings.window or num_values),
        window=settings.window,
        shortcut=settings.shortcut,
        optimizer=settings.optimizer,
        hyper=Hyper(settings.learning_rate, settings.clip_norm),
        num_steps=settings.num_steps,
        batch_size=settings.batch_size,
        num_exogenous=num_exogenous,
    )


def save(folder: Path, settings: Settings, series: Series) -> dict[str, Any]:
    """Make the folder that of these networks: config.json and series.json. What config.json holds is returned.

    Raises:
      ValueError: it is that of others; nothing is changed then.
    """
    content = {
        "name": series.name,
        "column": series.unit,
        "frequency": series.frequency and series.frequency.name,
        "values": series.y.tolist(),
        "exogenous_names": list(series.exogenous_names),
        "exogenous": series.columns.tolist(),
    }
    return save_about(folder, plain(settings), SERIES, content, DIGEST)


def save_errors(folder: Path, model: Model) -> None:
    """errors.json; NaN is no JSON, so null stands for it."""
    rows = {"errors": model.errors.tolist(), "spread": model.spread.tolist()}
    rows = {name: [[None if value != value else value for value in row] for row in one] for name, one in rows.items()}
    write_whole(folder / ERRORS, json.dumps(rows) + "\n")


def load(folder: Path, warn: Callable[[str], None] = print, trust_code: bool = False) -> tuple[Model, str | None]:
    """The model of a folder, and the name of the frequency of the series it was fitted on.

    A file never chooses what code runs: a cell that is neither of CELLS nor this project's own is imported only with
    `trust_code`.

    Raises:
      FileNotFoundError, ValueError: no model, a damaged file, no checkpoint that can be read.
    """
    folder = Path(folder)
    settings = Settings.from_json(read_config(folder), folder / CONFIG, (DIGEST,), trust_code)
    series, frequency = _series_from(read_about(folder, SERIES, DIGEST), folder / SERIES)
    errors, spread = _errors_from(read_json(folder / ERRORS), folder / ERRORS, settings.horizon)
    model = Model(settings, series, errors, spread, None)
    try:
        forecaster, size = model.forecaster, model.pairs(series).xs.shape[-1]
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error

    def init(key: jax.Array) -> Params:
        one = jax.vmap(partial(forecaster.init, input_size=size))(jnp.broadcast_to(key, (settings.seeds,)))
        return jax.tree.map(lambda leaf: leaf[None], one)

    return model._replace(params=best_params(folder, init, warn)), frequency


def _series_from(content: Any, path: Path) -> tuple[Series, str | None]:
    names = ("name", "column", "frequency", "values", "exogenous_names", "exogenous")
    if not isinstance(content, dict) or set(content) != set(names):
        raise damaged(path, f"it is not an object with {', '.join(names)}")
    name, column, frequency, _, further, _ = (content[each] for each in names)
    if not isinstance(name, str) or not isinstance(column, str) or not isinstance(frequency, str | None):
        raise damaged(path, "name, column or frequency is no text")
    if not isinstance(further, list) or not all(isinstance(each, str) for each in further):
        raise damaged(path, "exogenous_names is not a list of texts")
    values = _array(content["values"], path, "values", 1)
    exogenous = _array(content["exogenous"], path, "exogenous", 2) if further else np.zeros((len(values), 0))
    if len(values) < 2 or exogenous.shape != (len(values), len(further)) or not np.isfinite(exogenous).all():
        raise damaged(path, "values and exogenous do not go together")
    if not np.isfinite(values).all():
        raise damaged(path, "a value is no finite number")
    return Series(name, column, values, exogenous=exogenous, exogenous_names=tuple(further)), frequency


def _errors_from(content: Any, path: Path, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(content, dict) or set(content) != {"errors", "spread"}:
        raise damaged(path, "it is not an object with errors and spread")
    errors, spread = (_array(content[name], path, name, 2) for name in ("errors", "spread"))
    if errors.shape != spread.shape or errors.shape[1] != horizon:
        raise damaged(path, f"errors and spread are not tables of {horizon} columns")
    return errors, spread


def _array(value: Any, path: Path, name: str, num_axes: int) -> np.ndarray:
    """Numbers, null being NaN."""
    try:
        found = np.array(value, float)
    except (TypeError, ValueError):
        found = np.zeros(())
    if not isinstance(value, list) or found.ndim != num_axes:
        raise damaged(path, f"{name} is not numbers in {num_axes} axes")
    return found
