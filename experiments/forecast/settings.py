"""What experiments.forecast can be told: settings, their presets, and the program's options."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from experiments.shared.settings import (
    Checked,
    Code,
    Count,
    Folder,
    Limit,
    Mark,
    Metavar,
    Optimizer,
    Positive,
    Share,
    Size,
    Width,
)

SINE_PERIOD = 25


@dataclass(frozen=True)
class Settings(Checked):
    """What a preset sets, and the command line may set otherwise; a file has these values."""

    period: Annotated[
        Size, "steps of a season, 1 where there is none; for seasonal naive and the transform 'seasonal'"
    ] = 1
    transforms: Annotated[str, "one after the other, of log, difference, seasonal, standard, minmax"] = (
        "difference,standard"
    )
    scale_on: Annotated[
        Literal["training", "series"],
        "the values that transforms are fitted on; 'series' lets them see the test part",
    ] = "training"
    cell: Annotated[Code, "a name, or my_module:my_factory; options as in lstm:forget_bias=2"] = "lstm"
    hidden_size: Annotated[Width, "units"] = 8
    lags: Annotated[Width, "how many of the last values a network sees at every step"] = 1
    window: Annotated[
        Count, "steps a network runs over, from its initial state each time; 0 carries the state through the series"
    ] = 0
    shortcut: Annotated[bool, "a linear term from the values seen straight to the output"] = False
    optimizer: Optimizer = "adam"
    learning_rate: Annotated[Positive, "of the optimizer"] = 1e-3
    clip_norm: Annotated[Limit, "the largest norm of a gradient"] = 1.0
    num_steps: Annotated[
        Size, "steps of the optimizer, each over all of the training part, or with --window over one batch"
    ] = 300
    batch_size: Annotated[Size, "windows a step"] = 1
    seeds: Annotated[Size, "networks 0..N-1, whose mean is the forecast"] = 8
    train_share: Annotated[Share, "share of the series before the test part"] = 0.67
    refit: Annotated[Count, "values between two fits; 0 fits once"] = 12
    calibration: Annotated[Count, "origins before the test part, whose errors prediction intervals begin with"] = 24
    horizon: Annotated[Size, "steps ahead"] = 12
    autoregression: Annotated[
        tuple[str, ...],
        Metavar("LAGS"),
        "LAGS or LAGS:TRANSFORMS of linear autoregressions beside it; by default the network's own",
    ] = ()
    published_pairs: Annotated[bool, Mark.NO_FLAG] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        autoregressions(self)


def autoregressions(settings: Settings) -> list[tuple[int, str]]:
    """Lags and transforms of each, from texts such as "12" and "13:log,difference"; by default the network's own.

    Raises:
      ValueError: a text of another form.
    """
    parsed = []
    for text in settings.autoregression or (str(settings.lags),):
        lags, _, transforms = text.partition(":")
        if not (lags.isdecimal() and int(lags) > 0):
            raise ValueError(f"--autoregression {text!r} is not LAGS or LAGS:TRANSFORMS, such as 12:log,difference")
        parsed.append((int(lags), transforms or settings.transforms))
    return list(dict.fromkeys(parsed))


PRESETS = {
    # The series as it is, as a first attempt has it.
    "airline": Settings(
        period=12,
        transforms="standard",
        hidden_size=16,
        learning_rate=3e-3,
        autoregression=("1", "12"),
    ),
    # Chosen within the training part: --until 96 --train-share 0.5 --calibration 0.
    "airline-best": Settings(
        period=12,
        transforms="log,difference,standard",
        lags=12,
        shortcut=True,
        seeds=16,
        autoregression=("12", "13", "13:log,seasonal,difference,standard"),
    ),
    # The well-known LSTM with four units: 94 pairs of neighbouring values, 100 epochs, batches of 1, scaled with the
    # smallest and largest value of the whole series, test part included.
    "airline-lstm4": Settings(
        period=12,
        transforms="minmax",
        scale_on="series",
        cell="experiments.forecast.network:lstm_keras",
        hidden_size=4,
        window=1,
        clip_norm=math.inf,
        num_steps=9400,
        seeds=20,
        refit=0,
        calibration=0,
        published_pairs=True,
    ),
    # Its number of steps was chosen within the training part: --until 402.
    "sine": Settings(
        period=SINE_PERIOD,
        transforms="standard",
        cell="gru",
        hidden_size=32,
        learning_rate=3e-3,
        num_steps=200,
        refit=0,
        calibration=100,
        horizon=50,
        autoregression=("1", "25"),
    ),
}


@dataclass(frozen=True)
class Reading(Checked):
    """How a file is read."""

    column: Annotated[str | None, "of the file; by default its only column of numbers"] = None
    dates: Annotated[str | None, Metavar("COLUMN"), "of the dates; by default the only column of dates"] = None
    date_format: Annotated[str | None, "such as %d.%m.%Y; by default found"] = None
    missing: Annotated[
        Literal["refuse", "interpolate", "skip"],
        "what to do about values and dates that are not there",
    ] = "refuse"
    sep: Annotated[str | None, "what parts columns; by default found among tab ; | ,"] = None
    decimal: Annotated[str | None, "the decimal mark, . or ,; by default found"] = None
    thousands: Annotated[str | None, "what groups digits by three; by default found"] = None
    heading: Annotated[bool | None, "whether the first row is a heading; by default found"] = None
    encoding: Annotated[str, "of the file"] = "utf-8"


@dataclass(frozen=True)
class Options(Reading):
    """What the program does with them."""

    exogenous: Annotated[
        tuple[str, ...],
        Metavar("COLUMN"),
        "further columns that networks see, --lags values of each up to the origin; beyond it each is taken to stay as "
        "it was last",
    ] = ()
    ahead: Annotated[Count, "say what comes in the N steps after the last value, --horizon at most"] = 0
    until: Annotated[Size | None, "use the first N values alone, as to choose settings by"] = None
    model: Annotated[Folder, "keep networks fitted on all values there, for predict"] = None
    out: Annotated[Folder, "write runs.csv, README.md and plots there, and with --ahead a CSV"] = None


@dataclass(frozen=True, kw_only=True)
class PredictOptions(Reading):
    """Which series goes on, and where what comes next goes."""

    model: Annotated[Path, Metavar("DIR"), "where a run has kept it"]
    file: Annotated[Path, Metavar("FILE"), Mark.PLACE, "the series up to now; --column is by default the model's"]
    ahead: Annotated[Size | None, "how many steps; by default, and at most, the model's horizon"] = None
    out: Annotated[Folder, "write a CSV and a plot there"] = None
    trust_code: Annotated[bool, "import the module that the model's config.json names for its cell"] = False
