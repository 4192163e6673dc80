"""What the benchmark leaves in its folder: bench.csv, a plot, and a README.md made from the tables alone."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from experiments.bench.systems import SYSTEMS, parse_system
from experiments.bench.work import BASELINE, GATES, REFERENCE, Work
from experiments.shared.looks import style
from experiments.shared.numbers import facts, figure, markdown

ROWS, SWEEP, PLOT = "bench.csv", "sweep.csv", "ratios.png"
WORK = list(Work._fields)
KEY = [*WORK, "system"]
MEASURED = ["median_ms", "min_ms", "ratio_to_ours", "ratio_low", "ratio_high"]
MEASURED += ["compile_seconds", "temporary_mb", "gflops", "roofline_fraction"]
ABOUT = ["setting", "rounds", "versions", "machine", "python", "date", "git_commit", "command"]
TEXT = dict.fromkeys(["mode", "cell", "system", "setting", "versions", "machine", "python", "date"], str)
TEXT |= dict.fromkeys(["git_commit", "command"], str)
STEPS = ("train", "forward")
TITLES = {"train": "Training step", "forward": "Forward pass"}
FASTEST = "the fastest peer of each"
TEXT_ABOUT = """Medians over rounds in which each system has its turn, a process of its own, while the others wait. A
ratio is how many times as long a system takes as rnnjax, taken within each round; the median over rounds is given,
and in `bench.csv` and in the plot the 10 % and 90 % quantiles of the rounds. Who is ahead, and what is in bold,
follows this ratio, not the median milliseconds, which may order two systems otherwise where the machine's speed
drifted. rnnjax runs as its training programs do, the batch spread over a device for each core; the other JAX
libraries have one device with a thread for each core, PyTorch the better of one thread and a thread for each core
(column `setting`). One layer, float32; a training step is the mean of the squared outputs and its gradient by the
parameters. The roofline is the rate of one large float32 product on the same cores, measured in the same rounds, and
counts the multiply-adds of the matrix products only. Temporary memory is what the compiled program says it needs
beside its arguments and results."""


# --- rows -------------------------------------------------------------------------------------------------------------


def read(folder: Path) -> pd.DataFrame:
    """The rows of a folder; none if there are none.

    Raises:
      ValueError: columns are missing.
    """
    path = Path(folder) / ROWS
    if not path.exists():
        return pd.DataFrame(columns=[*KEY, *MEASURED, *ABOUT])
    rows = pd.read_csv(path, dtype=TEXT)
    if missing := [name for name in [*KEY, *MEASURED, *ABOUT] if name not in rows]:
        raise ValueError(f"{path}: columns missing: {', '.join(missing)}")
    return rows.fillna({"setting": ""})


def measured(folder: Path) -> set[tuple[Work, str]]:
    """What the folder holds already: work and system."""
    return {(Work(*values[:-1]), values[-1]) for values in read(folder)[KEY].itertuples(index=False, name=None)}


def add(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put rows in bench.csv, in place of those of the same work and system; the file is whole at every moment."""
    new = pd.DataFrame(rows)[[*KEY, *MEASURED, *ABOUT]]
    new[MEASURED] = new[MEASURED].astype(float).map(lambda value: float(f"{value:.5g}"))
    old = read(folder)
    kept = old[~pd.MultiIndex.from_frame(old[KEY]).isin(pd.MultiIndex.from_frame(new[KEY]))]
    write_table(Path(folder) / ROWS, pd.concat([kept, new], ignore_index=True) if len(kept) else new)


def write_table(path: Path, table: pd.DataFrame) -> None:
    from rnnjax.files import write_whole  # imports JAX, which not every process that imports this file is to do

    write_whole(path, lambda unfinished: table.to_csv(unfinished, index=False))


def is_peer(system: str) -> bool:
    return SYSTEMS[parse_system(system)[0]].is_peer


def fastest_peers(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each piece of work the row of the peer with the lowest ratio; work without a peer has none."""
    peers = rows[rows["system"].map(is_peer).astype(bool)]
    return peers.loc[peers.groupby(WORK, sort=False)["ratio_to_ours"].idxmin()] if len(peers) else peers


def geometric_mean(values: Iterable[float]) -> float:
    return float(np.exp(np.mean(np.log(np.asarray(values, float)))))


# --- README -----------------------------------------------------------------------------------------------------------


def write_report(folder: Path) -> Path:
    """Draw the plot and write README.md; returns the path of the latter."""
    folder = Path(folder)
    rows = read(folder)
    drawn = plot(rows, folder / PLOT)
    sweep = pd.read_csv(folder / SWEEP) if (folder / SWEEP).exists() else None
    path = folder / "README.md"
    path.write_text(report(rows, drawn, sweep), encoding="utf-8")
    return path


def report(rows: pd.DataFrame, drawn: bool = False, sweep: pd.DataFrame | None = None) -> str:
    """The text of the README."""
    steps, decoding = rows[rows["mode"].isin(STEPS)], rows[rows["mode"] == "decode"]
    parts = ["# Speed"]
    if len(rows):
        parts += [TEXT_ABOUT, "```\n" + "\n".join(rows["command"].unique()) + "\n```", made_with(rows)]
        parts += [f"Every figure is in `{ROWS}`."]
    if len(steps):
        parts += ["## In short", in_short(steps), *filter(None, [in_words(steps)])]
        parts += [
            f"![Ratios to rnnjax]({PLOT})\n\nTimes as long as rnnjax takes, with quantiles of the rounds."
        ] * drawn
    for mode, title in TITLES.items():
        if len(here := steps[steps["mode"] == mode]):
            parts += [f"## {title}", by_work(here)]
    if len(memory := steps[(steps["mode"] == "train") & steps["temporary_mb"].notna()]):
        parts += ["## Temporary memory of a training step", memory_by_work(memory)]
    if len(decoding):
        parts += ["## Decoding", by_text(decoding)]
    if sweep is not None:
        parts += ["## A sweep", sweep_table(sweep)]
    return "\n\n".join(parts) + "\n"


def made_with(rows: pd.DataFrame) -> str:
    """Machine, versions, dates and commits, as the rows have them."""
    versions = dict.fromkeys(one for text in rows["versions"] for one in text.split(", "))
    lines = {"Machine": rows["machine"], "Python": rows["python"], "Versions": versions, "Rounds": rows["rounds"]}
    lines |= {"Date": rows["date"], "Commit": rows["git_commit"]}
    return facts({label: ", ".join(map(str, dict.fromkeys(values))) for label, values in lines.items()})


def in_short(steps: pd.DataFrame) -> str:
    """Geometric means over all work, by mode and system, and those over the fastest peer of each piece."""
    lines = []
    for mode, rows in steps.groupby("mode", sort=False):
        ours = rows[rows["system"] == REFERENCE]
        compiled = figure(ours["compile_seconds"].median())
        roofline = f"{ours['roofline_fraction'].median():.0%}"
        lines.append([TITLES[mode], REFERENCE, 1, "", len(ours), "", compiled, roofline])
        others = [(name, some) for name, some in rows.groupby("system", sort=False) if name != REFERENCE]
        for name, some in [*others, (FASTEST, fastest_peers(rows))]:
            if not len(some):
                continue
            ratios = some["ratio_to_ours"]
            lines.append(
                [
                    TITLES[mode],
                    name,
                    f"{geometric_mean(ratios):.2f}",
                    f"{ratios.min():.2f} to {ratios.max():.2f}",
                    len(ratios),
                    int((ratios < 1).sum()),
                    "" if name == FASTEST else figure(some["compile_seconds"].median()),
                    "" if name == FASTEST else f"{some['roofline_fraction'].median():.0%}",
                ]
            )
    header = ["", "system", "times as long, geometric mean", "lowest to highest", "n", "of them faster than rnnjax"]
    names = ", ".join(f"{name}: {SYSTEMS[name].title}" for name in SYSTEMS if name in set(steps["system"]))
    return markdown([*header, "compilation s, median", "of the roofline, median"], lines) + f"\n\n{names}."


def in_words(steps: pd.DataFrame) -> str:
    """For each mode, in how many pieces of work a peer is ahead of rnnjax, and which; by the ratio of the rounds."""
    lines = []
    for mode, rows in steps.groupby("mode", sort=False):
        peers = rows[rows["system"].map(is_peer).astype(bool)]
        if peers.empty:
            continue
        fastest = fastest_peers(rows)
        ahead = peers[peers["ratio_to_ours"] < 1].sort_values("ratio_to_ours")
        places = len(ahead[WORK].drop_duplicates())
        text = (
            f"{TITLES[mode]}: the fastest peer takes {geometric_mean(fastest['ratio_to_ours']):.2f} times as long "
            f"(geometric mean over {len(fastest)} pairs of cell and shape); a peer is ahead of rnnjax in {places}"
        )
        if places:
            named = (f"{one.system} {one.ratio_to_ours:.2f} ({_work(one)})" for one in ahead.itertuples())
            text += f" of them: {', '.join(named)}"
        lines.append(f"- {text}.")
        if medians := _ahead_by_medians(rows):
            lines.append(
                f"  By median milliseconds, which drift with the machine, these come before it too: {medians}."
            )
    return "\n".join(lines)


def _ahead_by_medians(rows: pd.DataFrame) -> str:
    """Peers whose median time is below rnnjax's though their ratio is not below 1."""
    ours = rows[rows["system"] == REFERENCE].set_index(WORK)["median_ms"]
    named = []
    for one in rows[rows["system"].map(is_peer).astype(bool) & (rows["ratio_to_ours"] >= 1)].itertuples():
        reference = ours.get(tuple(getattr(one, name) for name in WORK), np.nan)
        if one.median_ms < reference:
            named.append(f"{one.system} {figure(one.median_ms)} against {figure(reference)} ms ({_work(one)})")
    return ", ".join(named)


def _work(one: Any) -> str:
    return f"{one.cell}, T = {one.seq_len}, B = {one.batch_size}, H = {one.hidden_size}"


def by_work(rows: pd.DataFrame) -> str:
    """A line for each cell and shape, milliseconds and ratio of each system; in bold the lowest ratio."""
    systems = [REFERENCE, *(name for name in rows["system"].unique() if name != REFERENCE)]
    fastest = fastest_peers(rows).set_index(WORK)
    lines = []
    for work, some in rows.groupby(WORK, sort=False):
        some = some.set_index("system")
        times = []
        for system in systems:
            if system not in some.index:
                times.append("–")
                continue
            text = figure(some.loc[system, "median_ms"])
            if system != REFERENCE:
                text += f" · {some.loc[system, 'ratio_to_ours']:.2f}"
            times.append(f"**{text}**" if system == some["ratio_to_ours"].idxmin() else text)
        roofline = f"{some.loc[REFERENCE, 'roofline_fraction']:.0%}" if REFERENCE in some.index else "–"
        best = "–"
        if work in fastest.index:
            one = fastest.loc[work]
            best = f"{one['system']} {one['ratio_to_ours']:.2f} [{one['ratio_low']:.2f}, {one['ratio_high']:.2f}]"
        lines.append([work[1], *work[2:], *times, roofline, best])
    header = ["cell", "T", "B", "I", "H", f"{REFERENCE} ms", *(f"{name} ms · ratio" for name in systems[1:])]
    return markdown([*header, "of the roofline", "fastest peer"], lines)


def memory_by_work(rows: pd.DataFrame) -> str:
    """A line for each cell and shape, MB of each system and its share of a plain scan's."""
    systems = list(rows["system"].unique())
    table = rows.pivot_table(index=WORK, columns="system", values="temporary_mb", sort=False)
    lines = []
    for work, some in table.iterrows():
        plain = some.get(BASELINE, np.nan)
        texts = [
            figure(some[name]) + ("" if name == BASELINE or np.isnan(plain) else f" · {some[name] / plain:.0%}")
            for name in systems
        ]
        lines.append([work[1], *work[2:], *texts])
    return markdown(["cell", "T", "B", "I", "H", *(f"{name} MB · of {BASELINE}'s" for name in systems)], lines)


def by_text(rows: pd.DataFrame) -> str:
    """Characters a second, by number of texts."""
    lines = []
    for row in rows.itertuples():
        rate = 1e3 * row.seq_len * row.batch_size / row.median_ms
        ratio = (
            "1" if row.system == REFERENCE else f"{row.ratio_to_ours:.2f} [{row.ratio_low:.2f}, {row.ratio_high:.2f}]"
        )
        how = f"{row.system} ({row.setting})" if row.setting else row.system
        lines.append([f"{row.cell} {row.hidden_size}", row.batch_size, row.seq_len, how, f"{rate:,.0f}", ratio])
    return markdown(["cell", "texts", "characters each", "system", "characters a second", "times as long"], lines)


def sweep_table(sweep: pd.DataFrame) -> str:
    """The wall time of the same runs by system, each beside rnnjax's of the same round."""
    ours = sweep[sweep["system"] == REFERENCE].set_index("round")["wall_seconds"]
    lines = []
    for row in sweep.itertuples():
        ratio = f"{row.wall_seconds / ours[row.round]:.2f}" if row.round in ours else "–"
        seconds = figure(row.wall_seconds), ratio, figure(row.compile_seconds)
        lines.append([row.system, row.how, row.round, *seconds, figure(row.loss)])
    first = sweep.iloc[0]
    what = (
        f"{first.runs} runs of an LSTM on the adding task (T = {first.seq_len}, B = {first.batch_size}, "
        f"H = {first.hidden_size}): {first.seeds} seeds, learning rates {first.learning_rates}, {first.steps:,} steps "
        f"of Adam each, {first.examples} held-out examples evaluated every {first.eval_every} steps. Wall time from "
        "the start of the processes to the last result, imports and compilation included; nothing is extrapolated."
    )
    header = ["system", "how", "round", "seconds", "times as long", "of them compilation", "median validation loss"]
    commands = "\n".join(sweep["command"].unique())
    about = {name: ", ".join(sweep[name].unique()) for name in ("machine", "date", "git_commit", "versions")}
    made = "; ".join(about.values())
    return f"{what}\n\n```\n{commands}\n```\n\n{markdown(header, lines)}\n\n{made}. Every figure is in `{SWEEP}`."


# --- plot -------------------------------------------------------------------------------------------------------------


def plot(rows: pd.DataFrame, path: Path) -> bool:
    """Ratios to rnnjax by shape, a panel for each mode and cell; False, and no file, where a table says it all.

    That is where there is but one shape, or one system beside rnnjax.
    """
    rows = rows[rows["mode"].isin(STEPS) & (rows["system"] != REFERENCE)]
    if min(rows["system"].nunique(), len(rows[WORK[2:]].drop_duplicates())) < 2:
        path.unlink(missing_ok=True)
        return False
    modes = [mode for mode in STEPS if mode in set(rows["mode"])]
    cells = [cell for cell in GATES if cell in set(rows["cell"])]
    shapes = list(dict.fromkeys(rows[WORK[2:]].itertuples(index=False, name=None)))
    looks = style(rows["system"].unique())
    size = 1.6 + 3.1 * len(cells), 1.1 + (0.7 + (0.09 * len(looks) + 0.06) * len(shapes)) * len(modes)
    drawing = Figure(figsize=(max(size[0], 6.4), max(size[1], 3.2)), layout="constrained")
    axes = drawing.subplots(len(modes), len(cells), squeeze=False, sharex=True, sharey=True)
    offsets = np.linspace(-0.32, 0.32, len(looks)) if len(looks) > 1 else [0.0]
    for line, mode in zip(axes, modes, strict=True):
        for axis, cell in zip(line, cells, strict=True):
            here = rows[(rows["mode"] == mode) & (rows["cell"] == cell)]
            for (name, look), offset in zip(looks.items(), offsets, strict=True):
                some = here[here["system"] == name]
                y = [shapes.index(shape) + offset for shape in some[WORK[2:]].itertuples(index=False, name=None)]
                axis.hlines(y, some["ratio_low"], some["ratio_high"], color=look["color"], linewidth=1.6, alpha=0.5)
                axis.plot(some["ratio_to_ours"], y, **{**look, "linestyle": "none"}, markersize=4.5, label=name)
            axis.axvline(1, color="0.3", linewidth=1)
            axis.set_title(f"{TITLES[mode]}, {cell}", fontsize=10)
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.grid(axis="x", color="0.92", linewidth=0.7)
            axis.set_axisbelow(True)
    for axis in axes[:, 0]:  # all axes share theirs
        axis.set_yticks(range(len(shapes)), [", ".join(map(str, shape)) for shape in shapes], fontsize=8)
    axes[0, 0].set_ylim(len(shapes) - 0.5, -0.5)
    drawing.supylabel("T, B, I, H", fontsize=9)
    drawing.supxlabel("times as long as rnnjax takes (right of 1: rnnjax is faster)", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside upper center", ncols=len(looks), frameon=False, fontsize=8)
    drawing.savefig(path, dpi=144)
    return True
