"""README.md of a results folder of Newton's method, made from its tables alone."""

from pathlib import Path

import numpy as np
import pandas as pd

from experiments.newton.plots import ITERATIONS_PLOT, TIMES_PLOT, plot_iterations, plot_times
from experiments.newton.records import AFTER, BEFORE, ITERATIONS, SIZES, TIMES, read
from experiments.shared.numbers import bootstrap, figure, markdown, percent, rank_correlation
from experiments.shared.results import adding_to, made_with
from rnnjax.cells import CELLS
from rnnjax.files import write_whole

# Linear in their carry too, but step by step only: through a matrix of their own for each step, or a window of inputs.
LINEAR_BY_STEPS = ("delta_net", "gated_delta_net", "delta_product", "rwkv7", "time_delay")
LONG, FEW = -0.05, 5  # exponents and iterations that do not go together
LEARNT = 0.9  # accuracy on recall
Correlations = dict[str, tuple[float, float, float, int]]  # by time: value, interval, number of cells
LETTERS = dict(zip(SIZES, "TBH", strict=True))
MODES = {"forward": "forward pass", "train": "training step"}
TEXT = """How many iterations `method=Newton()` takes until every step obeys the recurrence up to rounding, against
the largest Lyapunov exponent of the same trajectories (natural logarithm per step: below 0 neighbouring states draw
together, above 0 they part). A cell that is linear in its carry has no more to find than one iteration does, whatever
its exponent; rank correlations are therefore of the others, and their 95 % intervals are bootstraps over cells.
Iterations and exponents are means over seeds. Where no trajectory was found, all iterations allowed are counted, so
that such a cell ranks last."""
TIMES_TEXT = """Times as long as `Scan()` takes (below 1: it is faster), by the fastest call of each in a round, as what
else the machine does only adds; the median over rounds, and the 10 % and 90 % quantiles. Parameters as training starts
from them, normal inputs of size 8, one program on one device. A training step is the mean of the squared outputs and
its gradient by the parameters. With a diagonal Jacobian where it is exact, full otherwise; gradients always take the
full one."""


def write_report(folder: Path) -> Path:
    """Draw the plots and write README.md; returns the path of the latter."""
    folder = Path(folder)
    with adding_to(folder):
        parts = ["# Newton's method over all steps at once"]
        if len(rows := read(folder, ITERATIONS)):
            cells = by_cell(rows)
            found = correlations(cells)
            plot_iterations(cells, found, int(rows["most"].iloc[0]), folder / ITERATIONS_PLOT)
            parts += iterations_part(rows, cells, found)
        if len(times := read(folder, TIMES)):
            plot_times(times, folder / TIMES_PLOT)
            parts += times_part(times)
        path = folder / "README.md"
        write_whole(path, "\n\n".join(parts) + "\n")
    return path


def by_cell(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each cell and time: means over seeds, and how many of them found a trajectory."""
    named = rows.assign(linear=is_linear(rows)).groupby(["at", "cell"], sort=False)
    found = named[["exponent", "iterations", "accuracy"]].mean()
    found["linear"], found["size"] = named["linear"].first(), named["state_size"].first()
    found["converged"], found["seeds"] = named["converged"].sum().astype(int), named.size()
    return found.reset_index()


def is_linear(rows: pd.DataFrame) -> pd.Series:
    return rows["linear"].astype(bool) | rows["cell"].isin(LINEAR_BY_STEPS)


def ranked(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """The rank correlation; 0 where all x or all y are equal, as in a resample of one cell."""
    return np.nan_to_num(rank_correlation(x, y, axis))


def correlations(cells: pd.DataFrame) -> Correlations:
    """By time: the rank correlation over cells that are not linear, its interval, and the number of cells."""
    found = {}
    for at, some in cells[~cells["linear"] & cells["exponent"].notna()].groupby("at", sort=False):
        if len(some) > 2:
            pair = some["exponent"].to_numpy(), some["iterations"].to_numpy()
            found[str(at)] = (float(ranked(*pair)), *bootstrap(pair, ranked, True), len(some))
    return found


def iterations_part(rows: pd.DataFrame, cells: pd.DataFrame, found: Correlations) -> list[str]:
    first = rows.iloc[0]
    lines = []
    for at, (value, low, high, count) in found.items():
        some = cells[(cells["at"] == at) & ~cells["linear"]]
        lost = int((some["converged"] < some["seeds"]).sum())
        lines.append([at, f"{value:.2f}", f"{low:.2f} to {high:.2f}", count, figure(some["iterations"].median()), lost])
    header = ["", "rank correlation", "95 % interval", "cells", "iterations, median", "cells not found with every seed"]
    setting = (
        f"{first.hidden_size} units, {first.seq_len} steps of the recall task's symbols, four sequences solved as one, "
        f"{rows['seed'].nunique()} seeds; after training: {first.trained} steps of Adam (learning rate 0.01) on recall "
        f"at lag {first.lag}. At most {first.most} iterations; float32."
    )
    missing = len(set(CELLS) - set(rows["cell"]))
    partial = f"Not measured yet: {missing} of {len(CELLS)} cells." if missing else ""
    parts = [
        TEXT,
        setting,
        partial,
        source_of(rows),
        "## Iterations and exponents",
        f"![Iterations against exponents]({ITERATIONS_PLOT})",
        markdown(header, lines),
        nearly_linear(cells),
        by_learning(rows),
        cell_table(cells),
        "D: real numbers in the carry. An asterisk: not found with at least one seed. An exponent of -inf: what sets "
        "two states apart is gone within one step, for at least one sequence. Accuracy on recall, of which one in "
        f"eight is right by chance. Every figure is in `{ITERATIONS}`, by seed.",
    ]
    return [part for part in parts if part]


def nearly_linear(cells: pd.DataFrame) -> str:
    """The cells in which the exponent alone would foretell more iterations than they take."""
    some = cells[(cells["at"] == BEFORE) & ~cells["linear"] & (cells["exponent"] > LONG) & (cells["iterations"] <= FEW)]
    listed = ", ".join(f"{one.cell} ({figure(one.exponent)}: {figure(one.iterations)})" for one in some.itertuples())
    return (
        "An exponent near 0 is not enough to make the iteration long: the Jacobians must also change with the state. "
        f"Nonlinear cells with an exponent above {LONG:g} at the start and no more than {FEW} iterations: {listed}."
        if listed
        else ""
    )


def by_learning(rows: pd.DataFrame) -> str:
    """What training does to the iterations where it succeeds, and where it does not, in words."""
    runs = rows[(rows["at"] == AFTER) & ~is_linear(rows)]
    learnt = runs["accuracy"] >= LEARNT
    said = []
    for which, what in ((learnt, f"name the symbol in at least {LEARNT:.0%} of sequences"), (~learnt, "do not")):
        if len(some := runs[which]):
            middle = f"a median of {figure(some['iterations'].median())} iterations and an exponent of "
            lost = f"no trajectory was found in {int((~some['converged'].astype(bool)).sum())}"
            said.append(f"{len(some)} {what} ({middle}{figure(some['exponent'].median())}; {lost})")
    return f"Of {len(runs)} trained runs of cells that are not linear, {' and '.join(said)}." if said else ""


def cell_table(cells: pd.DataFrame) -> str:
    """A line for each cell, the one with the most iterations at the start first."""
    start, trained = (cells[cells["at"] == at].set_index("cell") for at in (BEFORE, AFTER))
    lines = []
    for cell, one in start.sort_values(["iterations", "exponent"], ascending=False).iterrows():
        line = [cell, "yes" if one["linear"] else "", one["size"], figure(one["exponent"]), iterations(one)]
        if cell in trained.index:
            then = trained.loc[cell]
            line += [figure(then["exponent"]), iterations(then), percent(then["accuracy"])]
        lines.append(line + ["diverged"] * (8 - len(line)))
    header = ["cell", "linear", "D", "exponent", "iterations", "exponent, trained", "iterations, trained", "accuracy"]
    return markdown(header, lines)


def iterations(one: pd.Series) -> str:
    return figure(one["iterations"]) + ("*" if one["converged"] < one["seeds"] else "")


def source_of(rows: pd.DataFrame) -> str:
    commands = "\n".join(rows["command"].unique())
    return f"```\n{commands}\n```\n\n{made_with(rows)}"


def times_part(times: pd.DataFrame) -> list[str]:
    lines = []
    for (cell, *sizes), some in times.groupby(["cell", *SIZES], sort=False):
        by_mode = some.set_index("mode")
        line = [cell, *sizes, some["jacobian"].iloc[0], iterations_of(some)]
        for mode in MODES:
            there = mode in by_mode.index
            line += [figure(by_mode.loc[mode, "scan_ms"]), ratio(by_mode.loc[mode])] if there else ["–", "–"]
        lines.append(line)
    header = ["cell", *LETTERS.values(), "Jacobian", "iterations"]
    for title in MODES.values():
        header += [f"{title}, scan ms", "Newton, times as long"]
    return [
        "## Time",
        TIMES_TEXT,
        source_of(times),
        where_it_wins(times),
        f"![Time by T, B and H]({TIMES_PLOT})",
        markdown(header, lines),
        f"In brackets the quantiles of the rounds; in bold where Newton's method is ahead in both. Every figure is in "
        f"`{TIMES}`.",
    ]


def iterations_of(some: pd.DataFrame) -> str:
    one = some.iloc[0]
    return f"{one['iterations']}" + ("" if one["converged"] else "*, then a scan")


def ratio(one: pd.Series) -> str:
    text = f"{one['ratio']:.2f} [{one['ratio_low']:.2f}, {one['ratio_high']:.2f}]"
    return f"**{text}**" if one["ratio_high"] < 1 else text


def where_it_wins(times: pd.DataFrame) -> str:
    """In words, from the rows."""
    said = []
    for mode, title in MODES.items():
        some = times[times["mode"] == mode]
        if not len(some):
            continue
        ahead = some[some["ratio_high"] < 1]
        ratios = f"from {some['ratio'].min():.2f} to {some['ratio'].max():.2f} times as long"
        which = "; ".join(
            f"{one['cell']} ({', '.join(f'{letter} = {one[name]:,}' for name, letter in LETTERS.items())})"
            for _, one in ahead.iterrows()
        )
        verdict = f"Newton's method wins {len(ahead)} of {len(some)}" + (f": {which}" if which else "")
        said.append(f"{title.capitalize()}: {verdict}. It takes {ratios}.")
    return " ".join(said)
