"""python -m experiments.forecast: what comes next in a series? Any cell, beside forecasts that need no network.

    python -m experiments.forecast airline-best
    python -m experiments.forecast my.csv --column price --period 12 --transforms log,seasonal,standard

Forecasts are made from every origin in the test part, 1 to --horizon steps ahead, by networks that were fitted on
nothing later. With --out they go into a results folder.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from rich.console import Console

from experiments.forecast import data
from experiments.forecast.network import make_forecaster
from experiments.forecast.outcome import Forecasts, Outcome, make_outcome
from experiments.forecast.presets import HELP, PRESETS, Settings, autoregressions, check
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
from experiments.shared.cells import build_cell, variant
from experiments.shared.provenance import provenance
from experiments.shared.recorded import check_recorded
from experiments.shared.start import start
from rnnjax.data.series import make_transform
from rnnjax.errors import unknown
from rnnjax.training.optimizers import Hyper


class Chosen(NamedTuple):
    preset: str  # with what the command line set otherwise
    series: data.Series
    settings: Settings
    file: str  # of the plot


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m experiments.forecast",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument(
        "what", nargs="?", default="airline-best", help=f"{', '.join(PRESETS)} (default airline-best), or a CSV file"
    )
    p.add_argument("--column", help="of the CSV file; by default its only column of numbers")
    p.add_argument("--encoding", default="utf-8", help="of the CSV file (default utf-8)")
    p.add_argument("--until", type=int, metavar="N", help="use the first N values alone, as to choose settings by")
    for field in fields(Settings):
        if field.name not in HELP:
            continue
        option, text = "--" + field.name.replace("_", "-"), HELP[field.name]
        if field.type is bool:
            p.add_argument(option, action=argparse.BooleanOptionalAction, help=text)
        elif field.name == "autoregression":
            p.add_argument(option, nargs="+", metavar="LAGS", help=text)
        else:
            p.add_argument(option, type=field.type, help=text)
    p.add_argument("--out", metavar="DIR", help="write runs.csv, README.md and a plot there")
    return p


def choose(args: argparse.Namespace) -> Chosen:
    """Series and settings of the command line.

    Raises:
      ValueError, OSError: neither a preset nor a file, or a series or setting that does not fit.
    """
    given = {f.name: getattr(args, f.name) for f in fields(Settings) if getattr(args, f.name, None) is not None}
    if "autoregression" in given:
        given["autoregression"] = tuple(given["autoregression"])
    settings = replace(PRESETS.get(args.what, Settings()), **given)
    check(settings)
    preset = [args.what if args.what in PRESETS else "csv"]
    for name, value in given.items():
        preset.append(f"--{name.replace('_', '-')} {' '.join(value) if isinstance(value, tuple) else value}")
    series = load(args)
    if args.until is not None:
        if not 1 <= args.until <= len(series.y):
            raise ValueError(f"--until {args.until} must lie between 1 and {len(series.y)}, the length of the series")
        series = series.until(args.until)
        preset.append(f"--until {args.until}")
    name = args.what if args.what in PRESETS else Path(args.what).stem
    file = re.sub(r"[^\w.]+", "-", " ".join([name, *preset[1:]])) + ".png"
    return Chosen(" ".join(preset), series, settings, file)


def load(args: argparse.Namespace) -> data.Series:
    if args.what not in PRESETS:
        if not args.what.lower().endswith(".csv") and not Path(args.what).exists():
            raise ValueError(unknown("preset", args.what, PRESETS) + "; or the path of a CSV file")
        return data.read_csv(args.what, args.column, args.encoding)
    if args.column is not None:
        raise ValueError(f"--column {args.column}: {args.what} is a preset, columns are for CSV files")
    return data.sine() if args.what == "sine" else data.airline()


def forecast(console: Console, chosen: Chosen) -> Outcome:
    """Baselines, then the networks, from every origin.

    Raises:
      ValueError: a series too short for what is asked, a cell or an option that does not exist; before any training.
    """
    settings, y = chosen.settings, chosen.series.y
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
    return make_outcome(chosen.preset, chosen.series, settings, rolling, networks, each, others)


def alone(rolling: Rolling, method: Method) -> Forecasts:
    """The forecasts of a method without a network."""
    began = perf_counter()
    test = roll(rolling, method)[rolling.test]
    fit, first = rolling.first_fit, rolling.first
    free = method.forecast(fit, first, len(rolling.y) - first)
    training = np.array([method.forecast(fit, origin, 1)[0] for origin in range(method.memory, first)])
    return Forecasts(method.name, 0, test, free, training, method.num_params, perf_counter() - began)


def run(console: Console, args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Forecast, show, record where asked."""
    chosen = choose(args)
    check_recorded(args.out)
    outcome = forecast(console, chosen)
    show(console, outcome)
    if args.out:
        path = write(args.out, outcome, chosen.file, provenance("experiments.forecast", argv))
        console.print(f"recorded: {path}", markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    return start(run, parser(), argv)


if __name__ == "__main__":
    raise SystemExit(main())
