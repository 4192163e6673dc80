"""Series, networks and what they are beside: read, forecast, shown and recorded."""

import re
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from rich.console import Console

from experiments.forecast import ahead, data
from experiments.forecast.ahead import Ahead, look_ahead
from experiments.forecast.network import make_forecaster
from experiments.forecast.outcome import Forecasts, Outcome, make_outcome
from experiments.forecast.report import show, write
from experiments.forecast.rolling import (
    Method,
    Rolling,
    baselines,
    fit_transforms,
    make_rolling,
    network_forecasts,
    roll,
)
from experiments.forecast.settings import PRESETS, Settings, autoregressions
from experiments.shared.cells import build_cell, variant
from experiments.shared.command_line import Given
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.settings import as_flags
from rnnjax.data.series import make_transform
from rnnjax.training.optimizers import Hyper


class Chosen(NamedTuple):
    preset: str  # with what the command line set otherwise
    series: data.Series
    settings: Settings
    file: str  # of the plot


def choose(given: Given) -> Chosen:
    """Series and settings of the command line.

    Raises:
      ValueError, OSError: a series that cannot be read, or that does not fit.
    """
    is_preset, until = given.preset in PRESETS, given.options.until
    words = as_flags(given.changed)
    series = load(given)
    if until is not None:
        if until > len(series.y):
            raise ValueError(f"--until {until} must lie between 1 and {len(series.y)}, the length of the series")
        series = series.until(until)
        words.append(f"--until {until}")
    preset = " ".join([given.preset if is_preset else "csv", *words])
    name = given.preset if is_preset else Path(given.preset).stem
    return Chosen(preset, series, given.settings, re.sub(r"[^\w.]+", "-", " ".join([name, *words])) + ".png")


def load(given: Given) -> data.Series:
    if given.preset not in PRESETS:
        return data.read_file(given.options, given.preset)
    of_files = ("column", "dates", "date_format", "missing", "sep", "decimal", "thousands", "heading", "encoding")
    plain = type(given.options)()
    told = {name: value for name in of_files if (value := getattr(given.options, name)) != getattr(plain, name)}
    if told:
        raise ValueError(f"{' '.join(as_flags(told))}: {given.preset} is a preset, that is for files")
    return data.sine() if given.preset == "sine" else data.airline()


def forecast(console: Console, chosen: Chosen, num_ahead: int = 0) -> tuple[Outcome, Ahead | None]:
    """Baselines, then the networks, from every origin; and where asked what comes after the last value.

    Raises:
      ValueError: a series too short for what is asked, a cell or an option that does not exist; before any training.
    """
    settings, y = chosen.settings, chosen.series.y
    if num_ahead > settings.horizon:
        raise ValueError(
            f"--ahead {num_ahead} is beyond --horizon {settings.horizon}: its intervals are made of errors of "
            f"forecasts so far ahead; give --horizon {num_ahead} too"
        )
    first = int(len(y) * settings.train_share)
    rolling = make_rolling(y, first, settings.horizon, settings.refit, settings.calibration)
    transform = make_transform(settings.transforms, settings.period)
    fitted = fit_transforms(rolling, transform, on_all=settings.scale_on == "series")
    others = [alone(rolling, method) for method in baselines(rolling, settings.period, autoregressions(settings))]
    forecaster = make_forecaster(
        build_cell(settings.cell, settings.hidden_size, settings.window or len(y)),
        window=settings.window,
        shortcut=settings.shortcut,
        optimizer=settings.optimizer,
        hyper=Hyper(settings.learning_rate, settings.clip_norm),
        num_steps=settings.num_steps,
        batch_size=settings.batch_size,
    )
    console.print(
        f"{chosen.series.name}: {len(y)} values, {first} for training, {len(y) - first} for the test; networks: "
        f"{settings.seeds} seeds, fitted at {', '.join(map(str, rolling.starts))}",
        markup=False,
    )
    name = variant(settings.cell).rsplit(":", 1)[-1]
    networks, trained = network_forecasts(
        rolling,
        fitted,
        forecaster,
        settings.lags,
        settings.seeds,
        console,
        name,
        leave_out=int(settings.published_pairs),
    )
    share = trained.num_params, trained.seconds / settings.seeds
    each = [
        Forecasts(name, seed, rolled[rolling.test], free, training, *share)
        for seed, (rolled, free, training) in enumerate(zip(*networks, strict=True))
    ]
    outcome = make_outcome(chosen.preset, chosen.series, settings, rolling, networks, each, others)
    if not num_ahead:
        return outcome, None
    return outcome, look_ahead(chosen.series, settings, rolling, networks, forecaster, num_ahead, console)


def alone(rolling: Rolling, method: Method) -> Forecasts:
    """The forecasts of a method without a network."""
    began = perf_counter()
    test = roll(rolling, method)[rolling.test]
    fit, first = rolling.first_fit, rolling.first
    free = method.forecast(fit, first, len(rolling.y) - first)
    training = np.array([method.forecast(fit, origin, 1)[0] for origin in range(method.memory, first)])
    return Forecasts(method.name, 0, test, free, training, method.num_params, perf_counter() - began)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Forecast, show, record where asked."""
    check_recorded(given.options.out)
    chosen = choose(given)
    outcome, coming = forecast(console, chosen, given.options.ahead)
    show(console, outcome)
    if coming:
        ahead.show(console, coming)
    if given.options.out:
        if coming:
            given.options.out.mkdir(parents=True, exist_ok=True)
            file = given.options.out / chosen.file.replace(".png", ahead.ENDING)
            ahead.write(file.with_suffix(".csv"), coming)
            ahead.draw(file, chosen.series, coming)
            console.print(f"what comes next: {file.with_suffix('.csv')}, {file.name}", markup=False)
        path = write(given.options.out, outcome, chosen.file, provenance("experiments.forecast", argv))
        console.print(f"recorded: {path}", markup=False)
