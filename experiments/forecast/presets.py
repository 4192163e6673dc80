"""What experiments.forecast can be told: settings, their presets, and what is refused."""

import math
from dataclasses import dataclass

from experiments.forecast.data import SINE_PERIOD
from rnnjax.errors import unknown
from rnnjax.training.optimizers import OPTIMIZERS

SCALE_ON = ("training", "series")


@dataclass(frozen=True)
class Settings:
    """What a preset sets, and the command line may set otherwise; a CSV file has these values."""

    period: int = 1
    transforms: str = "difference,standard"
    scale_on: str = "training"
    cell: str = "lstm"
    hidden_size: int = 8
    lags: int = 1
    window: int = 0
    shortcut: bool = False
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    clip_norm: float = 1.0
    num_steps: int = 300
    batch_size: int = 1
    seeds: int = 8
    train_share: float = 0.67
    refit: int = 12
    calibration: int = 24
    horizon: int = 12
    autoregression: tuple[str, ...] = ()
    published_pairs: bool = False


HELP = {
    "period": "steps of a season, 1 where there is none; for seasonal naive and the transform 'seasonal'",
    "transforms": "one after the other, of log, difference, seasonal, standard, minmax",
    "scale_on": "training or series: the values that transforms are fitted on; 'series' lets them see the test part",
    "cell": "a name, or my_module:my_factory; options as in lstm:forget_bias=2",
    "hidden_size": "units",
    "lags": "how many of the last values a network sees at every step",
    "window": "steps a network runs over, from its initial state each time; 0 carries the state through the series",
    "shortcut": "a linear term from the values seen straight to the output",
    "optimizer": ", ".join(OPTIMIZERS),
    "learning_rate": "of the optimizer",
    "clip_norm": "the largest norm of a gradient; inf is none",
    "num_steps": "steps of the optimizer, each over all of the training part, or with --window over one batch",
    "batch_size": "windows a step",
    "seeds": "networks 0..N-1, whose mean is the forecast",
    "train_share": "share of the series before the test part",
    "refit": "values between two fits; 0 fits once",
    "calibration": "origins before the test part, whose errors prediction intervals begin with",
    "horizon": "steps ahead",
    "autoregression": "LAGS or LAGS:TRANSFORMS of linear autoregressions beside it; by default the network's own",
}

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


def check(settings: Settings) -> None:
    """Raise ValueError for a value that does not fit."""
    least = dict.fromkeys(("period", "hidden_size", "lags", "num_steps", "batch_size", "seeds", "horizon"), 1)
    least |= dict.fromkeys(("window", "refit", "calibration"), 0)
    for name, lowest in least.items():
        if getattr(settings, name) < lowest:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(settings, name)} must be at least {lowest}")
    if not 0 < settings.train_share < 1:
        raise ValueError(f"--train-share {settings.train_share} must lie between 0 and 1")
    if settings.scale_on not in SCALE_ON:
        raise ValueError(unknown("--scale-on", settings.scale_on, SCALE_ON))
    if settings.optimizer not in OPTIMIZERS:
        raise ValueError(unknown("optimizer", settings.optimizer, OPTIMIZERS))
    if not 0 < settings.learning_rate < math.inf:
        raise ValueError(f"--learning-rate {settings.learning_rate} must be above 0, and finite")
    if not settings.clip_norm > 0:
        raise ValueError(f"--clip-norm {settings.clip_norm} must be above 0")


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
