"""What experiments.forecast says of a run: a table and verdicts, a results folder with rows and a plot."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.forecast.ahead import ENDING
from experiments.forecast.outcome import COVERAGE, Forecasts, Measured, Outcome, free_metric, horizons
from experiments.forecast.plots import plot
from experiments.shared.numbers import figure
from experiments.shared.results import record

COLUMNS = ("RMSE", "MAE", "MASE", "MAPE")

TEXT = """Every forecast is made from an origin in the test part, 1 to H steps ahead, by feeding forecasts back; what
is fitted (transforms, networks, autoregressions) has seen only values before the origin, is fitted anew every `refit`
values (0: once, at the split), and is measured in the units of the series. "mean of N" is the mean forecast of N
networks; it alone is compared with others. Below it each network by itself. Training examples are the values before the
split, test examples the origins after it.

- MASE: mean absolute error, where that of the seasonal naive forecast in the training part is 1. MAPE in percent.
- "RMSE minus that of ...": of the mean forecast; below 0 it is better than the other method. The splits "2.5 %" and
  "97.5 %" are the ends of the difference's interval by block bootstrap over origins; "better than ..." is 1 where all
  of it lies below 0. With fewer origins than two blocks of the horizon's length there is neither.
- Networks with `--exogenous` columns see as many values of each as of the series, before the origin; further ahead each
  column is taken to stay as it was last. The methods beside them do not see these columns.
- Free running: one forecast from the split to the end of the series.
- Correlation of forecast and last value, and of forecast and actual change since the last value: of a network that
  only repeats what it sees, the first is 1 and the second tells nothing.
- The 90 % interval is split conformal: errors from earlier origins whose targets are known by then, set against the
  spread of the networks. Errors of a series are not exchangeable, so the coverage is not granted but measured. The
  width is from end to end.

Preset "airline-lstm4" repeats a well-known network: an LSTM of four units on pairs of neighbouring values, 100 epochs
in batches of one, scaled by the smallest and largest value of the whole series, so that the test part leaks in. The
figures known for it, RMSE 22.93 and 47.53, are of its training and test pairs, the "published pairs" here, which leave
out the last training pair and the first and last test value. With one value in sight and no state carried it is a
function of that value; "autoregression, 1 lag" is the best straight line. With `--scale-on training` nothing leaks.

Preset "airline" takes the series as it is. The settings of "airline-best" were chosen within the training part
(`--until 96 --train-share 0.5 --calibration 0`), and so was the number of steps of "sine" (`--until 402`)."""

CAPTION_AHEAD = (
    "{}: what comes after the last value, by networks fitted on all of it, with its 90 % interval (split conformal on "
    "the errors of the rolling forecasts)."
)
CAPTION = (
    "{}: the mean forecast one step ahead with its 90 % interval (split conformal on the errors known by then), and "
    "free running from the split on, beside methods without a network."
)


def show(console: Console, outcome: Outcome) -> None:
    """A table of all methods on the test part, then what the network is better than, then the rest."""
    rolling = outcome.rolling
    count = len(rolling.y) - rolling.first
    table = Table(title=f"{outcome.preset}: test part, {count} origins; MAPE in percent")
    metrics = [f"{name}, {text}" for text in horizons(rolling.horizon) for name in COLUMNS] + [free_metric(rolling)]
    heads = [f"{name}\n{text.removesuffix(' ahead')}" for text in horizons(rolling.horizon) for name in COLUMNS]
    table.add_column("")
    for head in [*heads, f"RMSE\nfree, {count} steps"]:
        table.add_column(head, justify="right")
    values = {f.name: _by_metric(outcome, f) for f in [outcome.mean, *outcome.others]}
    for name, found in values.items():
        table.add_row(name, *(figure(found[metric, "test"]) for metric in metrics))
    each = [_by_metric(outcome, f) for f in outcome.each]
    singles = (figure(np.mean([found[metric, "test"] for found in each])) for metric in metrics)
    table.add_row(f"one {outcome.each[0].name}, mean", *singles)
    console.print(table)
    for d in outcome.differences:
        interval = f" (95 % {d.low:+.3g} to {d.high:+.3g})" if d.known else ""
        console.print(f"{d.horizons}: {d.verdict}; difference of the RMSE {d.value:+.3g}{interval}", markup=False)
    for measured in outcome.intervals.measured:
        console.print(f"{measured.metric}: {figure(measured.value)}", markup=False)
    for (metric, split), value in _by_metric(outcome, outcome.mean).items():
        if metric not in metrics or split != "test":
            single = [found[metric, split] for found in each]
            console.print(
                f"{metric}, {split}: {figure(value)}; one network {figure(np.mean(single))} "
                f"[{figure(min(single))}, {figure(max(single))}]",
                markup=False,
            )


def _by_metric(outcome: Outcome, forecasts: Forecasts) -> dict[tuple[str, str], float]:
    return {(m.metric, m.split): m.value for m in outcome.measured(forecasts)}


def rows(outcome: Outcome, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of runs.csv."""
    rolling, settings = outcome.rolling, outcome.settings

    def of(forecasts: Forecasts, network: bool, measured: list[Measured]) -> list[dict[str, Any]]:
        columns = {
            "preset": outcome.preset,
            "dataset": outcome.series.name,
            "cell": forecasts.name,
            "seed": forecasts.seed,
            "num_params": forecasts.num_params,
            "num_train": rolling.first,
            "num_test": len(rolling.y) - rolling.first,
            "wall_seconds": round(forecasts.seconds, 4),
            "refit": settings.refit,
        }
        if network:
            names = ("transforms", "lags", "window", "hidden_size", "optimizer", "learning_rate", "num_steps")
            columns |= {name: getattr(settings, name) for name in names}
        return [{**columns, "metric": m, "split": s, "value": v, **common} for m, s, v in measured]

    compared = list(outcome.intervals.measured)
    for d in outcome.differences:
        for split, value in (("test", d.value), ("test, 2.5 %", d.low), ("test, 97.5 %", d.high)):
            compared.append(Measured(f"RMSE minus that of {d.other}, {d.horizons}", split, value))
        better = float(d.beats) if d.known else math.nan
        compared.append(Measured(f"better than {d.other}, {d.horizons}", "test", better))
    found = of(outcome.mean, True, [*outcome.measured(outcome.mean), *compared])
    for forecasts in outcome.each:
        found += of(forecasts, True, outcome.measured(forecasts))
    for forecasts in outcome.others:
        found += of(forecasts, False, outcome.measured(forecasts))
    return found


def draw(outcome: Outcome, path: Path) -> None:
    """The plot: beside the network persistence, seasonal naive and the autoregression that forecasts best."""
    rolling, intervals = outcome.rolling, outcome.intervals
    linear = [f for f in outcome.others if f.name.startswith("autoregression")]
    best = min(linear, key=lambda f: _by_metric(outcome, f)["RMSE, one step ahead", "test"])
    free = [outcome.mean, *(f for f in outcome.others if f not in linear), best]
    plot(
        path,
        outcome.preset,
        outcome.series.unit,
        rolling.y,
        rolling.first,
        outcome.mean.test[:, 0],
        (intervals.low[:, 0], intervals.high[:, 0]),
        {f.name: f.free for f in free},
        f"{COVERAGE:.0%} interval, split conformal",
        outcome.series.truth,
        outcome.series.dates,
    )


def write(folder: str | Path, outcome: Outcome, file: str, common: Mapping[str, Any]) -> Path:
    """runs.csv, README.md and the plot into the folder; returns the README's path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    draw(outcome, folder / file)
    captions = {path: CAPTION_AHEAD if path.name.endswith(ENDING) else CAPTION for path in sorted(folder.glob("*.png"))}
    plots = {path.name: caption.format(path.stem) for path, caption in captions.items()}
    return record(folder, rows(outcome, common), title="Forecasts", text=TEXT, plots=plots)
