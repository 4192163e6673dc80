"""Optimizers and learning-rate schedules by name, with clipping."""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax

from rnnjax.errors import unknown

OPTIMIZERS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "rmsprop": lambda rate: optax.rmsprop(rate, decay=0.9),
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "nesterov": lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True),
    "adagrad": optax.adagrad,
    # moving average of the gradient, bias corrected, then each entry clipped at 1
    "averaged_gradient": lambda rate: optax.chain(optax.ema(0.9), optax.clip(1.0), optax.scale_by_learning_rate(rate)),
}
SCHEDULES = ("constant", "linear", "cosine")


class Hyper(NamedTuple):
    """What may differ between trials that share one compiled program."""

    learning_rate: Any  # a number, or a schedule: step -> number
    clip_norm: Any = float("inf")  # global norm of the gradient; infinite is none
    clip_value: Any = float("inf")  # each entry of the gradient; infinite is none
    l1: Any = 0.0  # weight of Σ|w| over matrices
    l2: Any = 0.0  # weight of Σw² over matrices


def make_schedule(name: str, learning_rate: float, num_steps: int, warmup_steps: int = 0) -> Callable[[Any], Any]:
    """Learning rate by step, for `Hyper`: up from 0 over the warm-up, then constant, or down to 0 at the last step.

    Args:
      name: "constant"; "linear", a straight line down; "cosine", learning_rate (1 + cos(pi t / T)) / 2.
      learning_rate: the highest.
      num_steps: of the whole training, warm-up included.
      warmup_steps: how many lead up to the highest.
    """
    if name not in SCHEDULES:
        raise ValueError(unknown("schedule", name, SCHEDULES))
    if not 0 <= warmup_steps < num_steps:
        raise ValueError(f"warmup_steps={warmup_steps} must be at least 0 and below num_steps={num_steps}")
    rest = num_steps - warmup_steps
    after = {
        "constant": optax.constant_schedule(learning_rate),
        "linear": optax.linear_schedule(learning_rate, 0.0, rest),
        "cosine": optax.cosine_decay_schedule(learning_rate, rest),
    }[name]
    if not warmup_steps:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, learning_rate, warmup_steps), after], [warmup_steps])


def make_optimizer(name: str, hyper: Hyper) -> optax.GradientTransformation:
    """Clip by norm, then by value, then the optimizer of this name in OPTIMIZERS."""
    if name not in OPTIMIZERS:
        raise ValueError(unknown("optimizer", name, OPTIMIZERS))
    return optax.chain(
        optax.clip_by_global_norm(hyper.clip_norm), optax.clip(hyper.clip_value), OPTIMIZERS[name](hyper.learning_rate)
    )
