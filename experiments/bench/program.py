"""Systems measured in turn, piece by piece of work."""

import dataclasses
import datetime
import importlib.util
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.bench import report as bench_report
from experiments.bench.asking import Worker
from experiments.bench.settings import QUICK_ROUNDS, ROUNDS, Options, shape_of
from experiments.bench.systems import PEERS, SYSTEMS, parse_system, product_flops
from experiments.bench.work import GATES, MODES, PRODUCT, REFERENCE, Work, flops
from experiments.shared.memory import check_bytes, machine_memory
from experiments.shared.one_writer import one_writer
from experiments.shared.provenance import command, git_commit, machine
from experiments.shared.stopping import goes_on
from rnnjax.errors import unknown

SHAPES = (  # T, B, I, H
    (192, 32, 2, 64),
    (80, 128, 128, 128),
    (96, 128, 128, 256),
    (96, 64, 512, 512),
    (784, 64, 1, 128),
    (4000, 8, 16, 64),
)
TEXTS = ((512, 1, 65, 512), (512, 64, 65, 512))  # characters, texts, vocabulary, units
QUICK_CELLS, QUICK_SHAPES, QUICK_TEXTS = ("lstm",), ((48, 32, 16, 64),), ((128, 1, 65, 128),)
DECODER = "gru"
TURN_SECONDS = 0.25  # of calls that are counted, in each turn of a system
CALLS = 2, 30  # at least and at most
QUANTILES = 0.1, 0.9  # of the ratios of the rounds


def run(console: Console, options: Options, argv: Sequence[str]) -> None:
    works, systems = chosen(options)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    folder = Path(options.out or ("results/bench-quick" if options.quick else "results/bench"))
    with one_writer(folder), goes_on():
        there = set() if options.again else bench_report.measured(folder)
        todo = [work for work in works if any((work, system) not in there for system in offering(systems, work))]
        if len(todo) < len(works):
            done = len(works) - len(todo)
            console.print(f"{done} of {len(works)} measured already, in {folder}; --again measures anew")
        try:
            if todo:
                shared = {"rounds": rounds, **provenance("experiments.bench", argv)}
                measure_all(console, folder, todo, systems, shared)
        finally:
            if (folder / bench_report.ROWS).exists():
                console.print(f"{bench_report.write_report(folder)}")


def chosen(options: Options) -> tuple[list[Work], list[str]]:
    """The work that is to be timed, and the systems.

    Raises:
      ValueError: a system or option that does not exist.
    """
    cells = options.cells or (QUICK_CELLS if options.quick else list(GATES))
    systems, modes = options.systems or SYSTEMS, options.modes or MODES
    for system in systems:
        check_system(system)
    shapes = [shape_of(text) for text in options.shapes] or (QUICK_SHAPES if options.quick else SHAPES)
    texts = QUICK_TEXTS if options.quick else TEXTS
    works = [
        Work(mode, cell, *shape)
        for mode in dict.fromkeys(modes)
        for shape in (texts if mode == "decode" else shapes)
        for cell in ([DECODER] if mode == "decode" else dict.fromkeys(cells))
    ]
    for work in works:
        check_size(work)
    return works, list(dict.fromkeys([REFERENCE, *systems]))


def check_size(work: Work) -> None:
    """Raise ValueError where parameters, and in training their gradient, inputs and states cannot fit into memory."""
    _, cell, T, B, I, H = work
    kept = T if work.mode == "train" else 1  # steps whose state the backward pass needs
    parts = {
        "parameters": 4 * GATES[cell] * H * (I + H) * (2 if work.mode == "train" else 1),
        "inputs and states": 4 * B * (kept * H + (0 if work.mode == "decode" else T * I)),
    }
    check_bytes(f"T,B,I,H = {T},{B},{I},{H} of {cell}", "timing it", parts, *machine_memory())


def check_system(text: str) -> None:
    """Raise ValueError for a system that does not exist, or options it does not have."""
    from rnnjax.methods import Scan

    if any("=" not in option for option in text.split(":")[1:]):
        raise ValueError(f"system {text!r}: an option is KEY=VALUE, as in rnnjax:save=chunks")
    name, options = parse_system(text)
    if name not in SYSTEMS:
        raise ValueError(unknown("system", name, SYSTEMS))
    if options and name != REFERENCE:
        raise ValueError(f"system {text!r}: {name} has no options, only {REFERENCE} has")
    known = [field.name for field in dataclasses.fields(Scan)]
    for key in options:
        if key not in known:
            raise ValueError(unknown(f"option of {name}", key, known))
    Scan(**options)  # which checks their values


def offering(systems: Sequence[str], work: Work) -> list[str]:
    """Those of the systems that are installed and do this kind of work; decoding has no options."""
    names = {system: parse_system(system) for system in systems}
    return [
        system
        for system, (name, options) in names.items()
        if work.mode in SYSTEMS[name].modes and is_installed(name) and not (work.mode == "decode" and options)
    ]


def is_installed(name: str) -> bool:
    return name not in PEERS or importlib.util.find_spec(name) is not None


def provenance(program: str, argv: Sequence[str]) -> dict[str, Any]:
    """The columns that say when, where and by what a row was made."""
    return {
        "machine": machine(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "git_commit": git_commit(),
        "command": command(program, argv),
    }


# --- measuring --------------------------------------------------------------------------------------------------------


def measure_all(
    console: Console, folder: Path, works: Sequence[Work], systems: Sequence[str], shared: Mapping[str, Any]
) -> None:
    """Measure piece by piece; the rows of each are in the folder before the next begins."""
    for name in dict.fromkeys(parse_system(system)[0] for system in systems):
        if not is_installed(name):
            console.print(f"{name} is not installed and left out: pip install '{PEERS[name]}'", markup=False)
    needed = list(dict.fromkeys(system for work in works for system in offering(systems, work)))
    with ExitStack() as stack:
        workers = {system: stack.enter_context(closing(Worker(system))) for system in [*needed, PRODUCT]}
        versions = {system: _answered(worker, worker.ask("about"))["versions"] for system, worker in workers.items()}
        begin = time.perf_counter()
        for i, work in enumerate(works, 1):
            some = {system: workers[system] for system in [*offering(systems, work), PRODUCT]}
            rows = measure(console, some, work, shared["rounds"])
            bench_report.add(folder, [{**row, "versions": versions[row["system"]], **shared} for row in rows])
            left = timedelta(seconds=round((time.perf_counter() - begin) / i * (len(works) - i)))
            console.print(f"{i} of {len(works)}, left {left}: {line(rows)}", markup=False)


def measure(console: Console, workers: Mapping[str, Worker], work: Work, rounds: int) -> list[dict[str, Any]]:
    """A row for each system but the product, which is the measure of all.

    Raises:
      ValueError: our own part of it failed; a peer that fails is told of and left out.
    """
    prepared: dict[tuple[str, str], dict[str, Any]] = {}  # by system and setting
    for system, worker in workers.items():  # one after the other: compilation is timed too
        answer = worker.ask("prepare", **work._asdict())
        if "error" in answer and SYSTEMS.get(system, SYSTEMS[REFERENCE]).is_peer:
            console.print(f"{system} cannot do {' '.join(map(str, work))}: {answer['error']}", markup=False)
            continue
        prepared |= {(system, setting): of for setting, of in _answered(worker, answer)["settings"].items()}
    times: dict[tuple[str, str], list[list[float]]] = {turn: [] for turn in prepared}
    for _ in range(rounds):
        for (system, setting), of in prepared.items():
            calls = int(np.clip(TURN_SECONDS / of["seconds"], *CALLS))
            answer = _answered(workers[system], workers[system].ask("time", setting=setting, calls=calls))
            times[system, setting].append(answer["seconds"])
    best: dict[str, str] = {}
    for system, setting in prepared:
        if system not in best or _median(times[system, setting]) < _median(times[system, best[system]]):
            best[system] = setting
    by_system = {system: times[system, setting] for system, setting in best.items()}
    rate = product_flops() / _median(by_system.pop(PRODUCT))
    return [
        {**work._asdict(), "system": system, **figures(work, seconds, by_system[REFERENCE], rate)}
        | {key: prepared[system, best[system]][key] for key in ("compile_seconds", "temporary_mb")}
        | {"setting": best[system]}
        for system, seconds in by_system.items()
    ]


def figures(
    work: Work, seconds: Sequence[Sequence[float]], reference: Sequence[Sequence[float]], rate: float
) -> dict[str, float]:
    """What follows from the seconds of each call by round, those of the reference, and the rate of a large product."""
    ratios = [np.median(mine) / np.median(its) for mine, its in zip(seconds, reference, strict=True)]
    median = _median(seconds)
    low, high = np.quantile(ratios, QUANTILES)
    return {
        "median_ms": 1e3 * median,
        "min_ms": 1e3 * min(map(min, seconds)),
        "ratio_to_ours": float(np.median(ratios)),
        "ratio_low": float(low),
        "ratio_high": float(high),
        "gflops": flops(work) / median / 1e9,
        "roofline_fraction": flops(work) / rate / median,
    }


def line(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of one piece of work, on one line."""
    first = rows[0]
    shape = ", ".join(str(first[name]) for name in ("seq_len", "batch_size", "input_size", "hidden_size"))
    others = "; ".join(f"{row['system']} {row['ratio_to_ours']:.2f} times that" for row in rows[1:])
    return f"{first['mode']} {first['cell']} ({shape}): {first['median_ms']:.3g} ms; {others}"


def _median(seconds: Sequence[Sequence[float]]) -> float:
    return float(np.median(np.concatenate(seconds)))


def _answered(worker: Worker, answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise ValueError(f"{worker.system}: {answer['error']}")
    return answer
