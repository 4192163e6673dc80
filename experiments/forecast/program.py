"""Series, networks and what they are beside: read, forecast, shown and recorded."""

import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from rich.console import Console

from experiments.forecast import ahead, data
from experiments.forecast.ahead import Ahead, fit_all, look_ahead
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
    scale,
)
from experiments.forecast.saved_model import forecaster_of, load as load_model, save
from experiments.forecast.settings import PRESETS, PredictOptions, Reading, Settings, autoregressions
from experiments.shared.cells import variant
from experiments.shared.command_line import Given
from experiments.shared.one_writer import one_writer
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.settings import as_flags, fields_of
from rnnjax.data.series import make_transform


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
    if given.options.exogenous:
        words.append(f"--exogenous {' '.join(given.options.exogenous)}")
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
        return data.read_file(given.options, given.preset, given.options.exogenous)
    of_files = ("exogenous", *fields_of(Reading))
    plain = type(given.options)()
    told = {name: value for name in of_files if (value := getattr(given.options, name)) != getattr(plain, name)}
    if told:
        raise ValueError(f"{' '.join(as_flags(told))}: {given.preset} is a preset, that is for files")
    return data.sine() if given.preset == "sine" else data.airline()


def forecast(
    console: Console, chosen: Chosen, num_ahead: int = 0, model: Path | None = None
) -> tuple[Outcome, Ahead | None]:
    """Baselines, then the networks, from every origin; and where asked what comes after the last value.

    Args:
      model: the folder to keep networks in that are fitted on all values.

    Raises:
      ValueError: a series too short for what is asked, a cell or an option that does not exist; before any training.
    """
    settings, series, y = chosen.settings, chosen.series, chosen.series.y
    check_ahead(num_ahead, settings.horizon)
    first = int(len(y) * settings.train_share)
    rolling = make_rolling(y, first, settings.horizon, settings.refit, settings.calibration)
    transform = make_transform(settings.transforms, settings.period)
    fitted = fit_transforms(rolling, transform, on_all=settings.scale_on == "series")
    others = [alone(rolling, method) for method in baselines(rolling, settings.period, autoregressions(settings))]
    forecaster = forecaster_of(settings, len(y), len(series.exogenous_names))
    seen = [len(y) if settings.scale_on == "series" else start for start in rolling.starts]
    scaled = [scale(series.columns, series.exogenous_names, series.columns[:count]) for count in seen]
    if model is not None:
        save(model, settings, series)  # before anything is trained, where the folder holds another model
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
        exogenous=scaled if series.exogenous_names else (),
    )
    share = trained.num_params, trained.seconds / settings.seeds
    each = [
        Forecasts(name, seed, rolled[rolling.test], free, training, *share)
        for seed, (rolled, free, training) in enumerate(zip(*networks, strict=True))
    ]
    outcome = make_outcome(chosen.preset, chosen.series, settings, rolling, networks, each, others)
    if not num_ahead and model is None:
        return outcome, None
    fitted_on_all = fit_all(series, settings, rolling, networks, console, model)
    return outcome, look_ahead(fitted_on_all, series, num_ahead) if num_ahead else None


def check_ahead(num_ahead: int, horizon: int) -> None:
    """ValueError where no errors of forecasts so far ahead are known."""
    if num_ahead > horizon:
        raise ValueError(
            f"--ahead {num_ahead} is beyond --horizon {horizon}: its intervals are made of errors of forecasts so far "
            f"ahead; give --horizon {num_ahead} too, when networks are trained"
        )


def alone(rolling: Rolling, method: Method) -> Forecasts:
    """The forecasts of a method without a network."""
    began = perf_counter()
    test = roll(rolling, method)[rolling.test]
    fit, first = rolling.first_fit, rolling.first
    free = method.forecast(fit, first, len(rolling.y) - first)
    training = np.array([method.forecast(fit, origin, 1)[0] for origin in range(method.memory, first)])
    return Forecasts(method.name, 0, test, free, training, method.num_params, perf_counter() - began)


def run(console: Console, given: Given, argv: Sequence[str]) -> None:
    """Forecast, show, keep and record where asked; or say what comes next alone."""
    options = given.options
    if given.command == "predict":
        predict(console, options)
        return
    check_recorded(options.out)
    chosen = choose(given)
    with one_writer(options.model) if options.model else nullcontext():
        outcome, coming = forecast(console, chosen, options.ahead, options.model)
    show(console, outcome)
    if options.model:
        console.print(f"kept, fitted on all values: {options.model}", markup=False)
    if coming:
        tell(console, coming, chosen.series, options.out, chosen.file.removesuffix(".png"))
    if options.out:
        path = write(options.out, outcome, chosen.file, provenance("experiments.forecast", argv))
        console.print(f"recorded: {path}", markup=False)


def predict(console: Console, options: PredictOptions) -> None:
    """What comes after a series, by networks that were kept, with the constants they were fitted with.

    Raises:
      FileNotFoundError, ValueError: no model, a series that cannot be read or is of another frequency.
    """
    model, frequency = load_model(options.model, lambda text: console.print(text, markup=False), options.trust_code)
    count = options.ahead or model.settings.horizon
    check_ahead(count, model.settings.horizon)
    series = data.read_file(options, options.file, model.series.exogenous_names, model.series.unit)
    now = series.frequency and series.frequency.name
    if None not in (now, frequency) and now != frequency:
        raise ValueError(f"{options.file} is {now}, but {options.model} was fitted on values that are {frequency}")
    known = len(model.series.y)
    same = len(series.y) >= known and np.array_equal(series.y[:known], model.series.y)
    console.print(
        f"{series.name}: {len(series.y):,} values; the networks were fitted on "
        + (f"the first {known:,}" if same else f"{known:,} other ones, of {model.series.name}"),
        markup=False,
    )
    tell(console, look_ahead(model, series, count), series, options.out, options.file.stem)


def tell(console: Console, coming: Ahead, series: data.Series, out: Path | None, name: str) -> None:
    """Show what comes next; into a folder, where there is one, a CSV and a plot go."""
    ahead.show(console, coming)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        file = out / f"{name}{ahead.ENDING}"
        ahead.write(file.with_suffix(".csv"), coming)
        ahead.draw(file, series, coming)
        console.print(f"what comes next: {file.with_suffix('.csv')}, {file.name}", markup=False)
