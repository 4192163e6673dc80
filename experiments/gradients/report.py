"""The numbers and the words of `python -m experiments.gradients`: rows of a CSV, a table, a README."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from experiments.gradients.measure import BEFORE, INPUT_SIZE, NUM_SPECTRA, Measured, OfCell, Setting
from experiments.shared.cells import variant
from experiments.shared.numbers import facts, figure, horizon_text, markdown
from rnnjax.gradients import (
    Derivatives,
    HorizonInterval,
    Reach,
    gradient_horizon,
    gradient_reach,
    growth_rate,
    horizon_interval,
)
from rnnjax.gradients.horizon import student

COLUMNS = ["cell", "time", "quantity", "index", "mean", "low", "high", "n"]
HEADER = ["cell", "time", "gradient horizon [95 %]", "reach [95 %]", "by theory", "growth rate", "Jacobian's"]
HEADER += ["largest exponent", "exponents above 0", "gate that keeps", "shut", "open"]
HEADER += ["time constant, median [10 %, 90 %]"]
LOG10 = 1 / math.log(10)
NUM_RUNNING = 50  # of the steps along which an exponent converges

# quantity, what its index is, and what it says
GLOSSARY = (
    ("log10_gradient_norm", "lag", "of the gradient by the carry (all leaves joined), mean over examples"),
    ("log10_gradient_norm:LEAF", "lag", "of one leaf of the carry alone, where there are several"),
    ("log10_theory:NAME", "lag", "growth from lag 0 as theory has it"),
    ("gradient_horizon", "", "steps in which the gradient falls by a factor e; the mean of rates over seeds"),
    ("growth_rate", "", "slope of the log gradient norm, per step"),
    (
        "log10_output_derivative",
        "lag",
        "root mean square of ∂y_T/∂carry_{T-k} over sequences; on a task",
    ),
    ("coherence", "lag", "κ_k, the share of its mean square that all sequences have in common"),
    ("size_lag", "", "the first lag at which it is under a thousandth of lag 1; infinite where there is none"),
    ("coherence_lag", "", "the first lag with κ_k < 1 / (B + 1), B the batch size; infinite where there is none"),
    ("reach", "", "the smaller of the two as a share of the task's lag, at most 1"),
    ("log10_jacobian:QUANTILE", "lag", "of the singular values of ∂carry_T/∂carry_{T-k}, over all and over examples"),
    ("log10_jacobian:rms", "lag", "of their root mean square"),
    ("jacobian_growth_rate", "", "slope of the log of the largest singular value against the lag, per step"),
    ("lyapunov_exponent", "rank", "per step, natural logarithm; mean over examples"),
    ("largest_exponent_so_far", "step", "after so many steps: whether it has converged"),
    ("gate:LABEL", "lower edge of a bin of 0.05", "share of a gate's values, over time, examples and units"),
    ("gate_shut:LABEL, gate_open:LABEL", "", "share below 0.1, above 0.9"),
    ("time_constant:LABEL", "unit, by rank", "1 / (1 - f) in steps, of a gate that keeps"),
    ("log10_gradient_norm_while_training:STEP", "lag", "the matrix of training step by lag"),
)
QUANTILES = {"max": 1.0, "median": 0.5, "5 %": 0.05}


def rows_of(found: Mapping[str, OfCell], setting: Setting) -> pd.DataFrame:
    """Every number of the page: mean over seeds, and its 95 % interval by Student's t where there are several."""
    rows: list[dict] = []
    for text, of_cell in found.items():
        for time, measured in of_cell.measured.items():
            for quantity, index, values in _quantities(measured, setting):
                rows += _rows(variant(text), time, quantity, index, values)
            found_horizon = horizon(measured, setting)
            interval = (found_horizon.steps, found_horizon.low, found_horizon.high, setting.num_seeds)
            rows.append(dict(zip(COLUMNS, (variant(text), time, "gradient_horizon", "", *interval), strict=True)))
        for name, logs in of_cell.theory.items():
            lags = _lags(len(logs))
            rows += _rows(variant(text), BEFORE, f"log10_theory:{name}", lags, LOG10 * logs[None, lags - 1])
        if of_cell.matrix is not None:
            for chunk in range(of_cell.matrix.shape[1]):
                step = chunk * setting.trained // (of_cell.matrix.shape[1] - 1)
                quantity = f"log10_gradient_norm_while_training:{step}"
                lags = _lags(of_cell.matrix.shape[2])
                logs = LOG10 * of_cell.matrix[:, chunk, lags - 1]
                rows += _rows(variant(text), f"step {step}", quantity, lags, logs)
    return pd.DataFrame(rows, columns=COLUMNS)


def _quantities(m: Measured, setting: Setting) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(quantity, index [N], values [seeds, N])."""
    lags = _lags(m.mean_by_lag.shape[1])
    none = np.array([""])
    yield "log10_gradient_norm", lags, LOG10 * m.mean_by_lag[:, lags - 1]
    for path, logs in m.leaves.items() if len(m.leaves) > 1 else ():
        yield f"log10_gradient_norm:{path}", lags, LOG10 * logs[:, lags - 1]
    yield "growth_rate", none, growth_rates(m)[:, None]
    if m.derivatives is not None:
        yield "log10_output_derivative", lags, LOG10 * m.derivatives.log_rms[:, lags - 1]
        yield "coherence", lags, m.derivatives.coherence[:, lags - 1]
        found = reaches(m, setting)
        for quantity, values in (
            ("size_lag", [one.size_lag for one in found]),
            ("coherence_lag", [one.coherence_lag for one in found]),
            ("reach", [one.share for one in found]),
        ):
            yield quantity, none, np.array(values)[:, None]
    for name, values in jacobian_quantiles(m).items():
        yield f"log10_jacobian:{name}", np.array(setting.lags), LOG10 * values
    yield "log10_jacobian:rms", np.array(setting.lags), LOG10 * m.jacobian_rms.mean(axis=-1)
    yield "jacobian_growth_rate", none, jacobian_rates(m, setting)[:, None]
    yield "lyapunov_exponent", 1 + np.arange(m.lyapunov.shape[-1]), m.lyapunov.mean(axis=1)
    few = np.unique(np.geomspace(1, m.running.shape[1], NUM_RUNNING).round().astype(int))
    yield "largest_exponent_so_far", few, m.running[:, few - 1].mean(axis=-1)
    for label, shares in m.histograms.items():
        yield f"gate:{label}", np.round(np.arange(shares.shape[1]) / shares.shape[1], 3), shares
        yield f"gate_shut:{label}", none, m.shut[label][:, None]
        yield f"gate_open:{label}", none, m.open[label][:, None]
    for label, steps in m.time_constants.items():
        yield f"time_constant:{label}", 1 + np.arange(steps.shape[1]), steps


def _lags(num_lags: int) -> np.ndarray:
    """All up to 100, then about 30 a decade, the last among them."""
    beyond = np.geomspace(100, num_lags, 1 + round(30 * math.log10(max(num_lags, 100) / 100)))[1:]
    return np.concatenate([np.arange(1, min(num_lags, 100) + 1), beyond.round().astype(int)])


def _rows(cell: str, time: str, quantity: str, index: np.ndarray, values: np.ndarray) -> list[dict]:
    return [
        dict(zip(COLUMNS, (cell, time, quantity, place, float(_mean(one)), *student(one), len(one)), strict=True))
        for place, one in zip(index, np.asarray(values, np.float64).T, strict=True)
    ]


def _mean(values: np.ndarray) -> float:
    """The mean, infinite where a value is."""
    with np.errstate(invalid="ignore"):
        return values.mean()


def horizon(m: Measured, setting: Setting) -> HorizonInterval:
    """Over seeds, or over the examples of a single one; NaN with a loss at every step, whose gradient tells of none."""
    found = horizon_interval(m.mean_by_lag[:, :, None] if len(m.by_lag) > 1 else m.by_lag)
    if setting.task is None or setting.task.outputs == "last":
        return found
    return found._replace(steps=math.nan, low=math.nan, high=math.nan, rate=math.nan, censored=False)


def growth_rates(m: Measured) -> np.ndarray:
    """Of the gradient, by seed [S]."""
    return np.array([growth_rate(logs) for logs in m.mean_by_lag])


def jacobian_quantiles(m: Measured) -> dict[str, np.ndarray]:
    """Of the log singular values over values and examples, by seed and lag [S, L]."""
    ordered = np.sort(m.jacobian.reshape(*m.jacobian.shape[:2], -1), axis=-1)
    places = {name: round(q * (ordered.shape[-1] - 1)) for name, q in QUANTILES.items()}
    return {name: ordered[..., place] for name, place in places.items()}


def jacobian_rates(m: Measured, setting: Setting) -> np.ndarray:
    """Slope of the largest log singular value (mean over examples) against the lag, by seed [S]."""
    largest = m.jacobian[..., 0].mean(axis=-1)
    lags = np.array(setting.lags)
    late = lags >= lags[-1] / 10
    if late.sum() < 2 or not np.isfinite(largest[:, late]).all():
        return np.full(len(largest), math.nan)
    return np.array([np.polyfit(lags[late], logs[late], 1)[0] for logs in largest])


def table_of(found: Mapping[str, OfCell], setting: Setting) -> list[list[str]]:
    """A line per cell and time, under HEADER."""
    lines = []
    for text, of_cell in found.items():
        for time, m in of_cell.measured.items():
            theories = [
                horizon_text(gradient_horizon(logs).steps, setting.num_steps) for logs in of_cell.theory.values()
            ]
            exponents = m.lyapunov.mean(axis=1)
            line = [
                variant(text),
                time,
                horizon_with_interval(horizon(m, setting), setting.num_steps),
                reach_with_interval(m, setting),
                ", ".join(theories) if time == BEFORE and theories else "–",
                figure(_mean(growth_rates(m))),
                figure(_mean(jacobian_rates(m, setting))),
                figure(_mean(exponents[:, 0])),
                f"{_mean((exponents > 0).mean(axis=1)):.0%}",
            ]
            for one in of_cell.keeping[:1]:
                low, middle, high = np.quantile(m.time_constants[one.label], [0.1, 0.5, 0.9], method="nearest")
                line += [
                    one.label + ("" if one.keeps else " (1 writes)"),
                    f"{m.shut[one.label].mean():.0%}",
                    f"{m.open[one.label].mean():.0%}",
                    f"{figure(middle)} [{figure(low)}, {figure(high)}]",
                ]
            lines.append(line + ["–"] * (len(HEADER) - len(line)))
    return lines


def horizon_with_interval(found: HorizonInterval, num_steps: int) -> str:
    """'12.3 [11.0, 14.2]', or '> 500'; 'grows' where the gradient gains more than a factor e over the sequence."""
    if found.rate * num_steps > 1:
        return "grows"
    text = horizon_text(found.steps, num_steps)
    if math.isnan(found.low):
        return text
    return f"{text} [{horizon_text(found.low, num_steps)}, {horizon_text(found.high, num_steps)}]"


def reaches(m: Measured, setting: Setting) -> list[Reach]:
    """By seed, over the lags of the task."""
    by_seed = zip(*m.derivatives, strict=True)
    return [gradient_reach(Derivatives(*one), setting.task.seq_len, setting.batch_size) for one in by_seed]


def reach_with_interval(m: Measured, setting: Setting) -> str:
    """'0.32 [0.21, 0.43]'; a dash without a task."""
    if m.derivatives is None:
        return "–"
    shares = np.array([one.share for one in reaches(m, setting)])
    low, high = student(shares)
    text = figure(shares.mean())
    return text if math.isnan(low) else f"{text} [{figure(max(low, 0.0))}, {figure(min(high, 1.0))}]"


def in_words(m: Measured, setting: Setting) -> str:
    """What ends the reach and what would help, from the median seed: 'reach 0.3: gradients grow and disagree ...'."""
    found = reaches(m, setting)
    shares = [one.share for one in found]
    share, T = float(np.median(shares)), setting.task.seq_len
    if math.isnan(share):
        return "no reach: a derivative is NaN or infinite"
    reach = sorted(found, key=lambda one: one.share)[len(found) // 2]
    coherent, large = int(min(reach.coherence_lag, T)), int(min(reach.size_lag, T))
    growth = float(np.median(m.derivatives.log_rms[:, T - 1] - m.derivatives.log_rms[:, 0]))
    start = f"reach {figure(share)} of T = {T}"
    if share >= 1:
        return f"{start}: gradients arrive, and agree from one sequence to the next"
    if large <= coherent:
        return (
            f"{start}: gradients are under a thousandth from lag {large} on; a gate that keeps more would help "
            "(a larger forget bias, or chrono)"
        )
    grow = "grow and disagree" if growth > math.log(2) else "disagree"
    return (
        f"{start}: gradients {grow} from one sequence to the next, from lag {coherent} on; a shut input gate would "
        "help, or a carry that what is read moves less"
    )


def summary_lines(found: Mapping[str, OfCell], setting: Setting) -> list[str]:
    """What a reader should know before the numbers."""
    if setting.task is None:
        loss = f"{setting.inputs} inputs of size {INPUT_SIZE}; loss: the last output in a random direction"
    else:
        loss = f"inputs and loss of the task {setting.task.name}, T = {setting.task.seq_len}"
    lines = [
        f"{loss}; {setting.hidden_size} units, {setting.num_steps} steps, {setting.num_seeds} seeds with "
        f"{setting.num_examples} sequences each, {NUM_SPECTRA} of them for Jacobians and exponents."
    ]
    if setting.trained:
        lines.append(
            f"After training: {setting.trained} steps of Adam, rate {setting.learning_rate:g}, batches of "
            f"{setting.batch_size}, norm clipped at 1; the parameters that validated best."
        )
    for text, of_cell in found.items():
        for time, m in of_cell.measured.items() if setting.task is not None else ():
            lines.append(f"{variant(text)}, {time}: {in_words(m, setting)}.")
    if probed := [variant(text) for text, of_cell in found.items() if not of_cell.exact]:
        lines.append(f"Followed along random directions, for their state is large: {', '.join(probed)}.")
    return lines


def readme(found: Mapping[str, OfCell], setting: Setting, source: Mapping[str, str], plots: list[str]) -> str:
    """The text of the README, from what was measured."""
    made = {"Date": source["date"], "Commit": source["git_commit"], "Device": source["device"]}
    glossary = [[f"`{name}`", index or "–", meaning] for name, index, meaning in GLOSSARY]
    pictures = [
        f"![How far the gradient travels: {name.removesuffix('.png').replace('_', ' ')}]({name})" for name in plots
    ]
    parts = [
        "# How far the gradient travels",
        *summary_lines(found, setting),
        f"```\n{source['command']}\n```",
        facts(made),
        markdown(HEADER, table_of(found, setting)),
        "Horizons in steps (-1 / growth rate; '> T' where it lies beyond the sequence, 'grows' where the gradient "
        "gains more than a factor e over it), with 95 % intervals over seeds by Student's t on the rates. Reach, on "
        "a task: up to which share of its lag the derivative of the last output by the carry keeps a thousandth of "
        "its size, and has more in common between sequences than a batch averages out. Rates and exponents are "
        "natural logarithms per step: the gradient's own, that of the largest singular value of the Jacobian, and "
        "the largest Lyapunov exponent should agree in the long run. By theory: mean field for tanh networks at "
        "infinite width (Schoenholz et al. 2017); else the path through the gate that keeps alone, σ(b)^k, which "
        "leaves out what the other paths add. Which gate keeps is found by measurement: the diagonal of the "
        "Jacobian follows it. Shut: below 0.1; open: above 0.9. Time constants 1 / (1 - f), by unit.",
        *pictures,
        "Every number is a row of `gradients.csv`, with the mean over seeds, its 95 % interval and n:",
        markdown(["quantity", "index", "meaning"], glossary),
    ]
    return "\n\n".join(parts) + "\n"
