"""The benchmark: what is counted, the adapters, the processes and their protocol, the rows kept, the report."""

import io
import json
import math
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import jax
import numpy as np
import pandas as pd
import pytest

from experiments.bench import (
    main,
    program as bench,
    report as bench_report,
    sweep,
    sweep_program,
    sweep_work as bench_sweep,
    worker as bench_worker,
)
from experiments.bench.asking import Worker
from experiments.bench.settings import Cell, Mode
from experiments.bench.systems import PEERS, SYSTEMS, prepare
from experiments.bench.work import BASELINE, GATES, MODES, PRODUCT, REFERENCE, Timed, Work, flops
from experiments.bench.worker import serve

WORK = Work("train", "lstm", 5, 2, 3, 4)
PEER_NAMES = ["flax", *PEERS]
RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture
def jax_as_it_was():
    """The adapters set JAX up for a process of their own."""
    jax.devices()  # as many as there are, from here on
    names = ["jax_default_matmul_precision", "jax_enable_compilation_cache"]
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


# --- what is counted --------------------------------------------------------------------------------------------------


def test_operations_of_one_step_by_hand():
    """Forward: 4 (I + H) products. Backward: dz U' and h'dz, 4 H each, and x'dz, 4 I. A multiply-add is two."""
    one = Work("forward", "lstm", 1, 1, 3, 1)
    assert flops(one) == 2 * 4 * (3 + 1)
    assert flops(one._replace(mode="train")) == 2 * (4 * (3 + 1) + 4 + 4 + 4 * 3)
    assert (
        flops(one._replace(mode="train", cell="gru", seq_len=7, batch_size=2))
        == 14 * flops(one._replace(mode="train", cell="elman")) * 3
    )
    assert flops(Work("decode", "gru", 1, 1, 65, 8)) == 2 * (3 * 8 * 8 + 8 * 65)


def test_a_ratio_is_taken_within_a_round_and_the_median_over_calls():
    """The machine is three times as slow in the second round, for both: the ratio knows nothing of it."""
    ours, other = [[1.0, 1.0], [3.0, 3.0], [1.0, 1.0]], [[2.0, 2.0], [6.0, 6.0], [3.0, 3.0]]
    found = bench.figures(WORK, other, ours, rate=flops(WORK) / 0.5)
    assert found["ratio_to_ours"] == 2
    assert found["ratio_low"] == 2
    assert found["ratio_high"] == pytest.approx(2.8)  # the 90 % quantile of 2, 2, 3
    assert (found["median_ms"], found["min_ms"]) == (3000, 2000)
    assert found["roofline_fraction"] == pytest.approx(0.5 / 3)
    assert found["gflops"] == pytest.approx(flops(WORK) / 3e9)


# --- adapters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEER_NAMES)
def test_a_system_does_the_work_that_ours_does(name, jax_as_it_was):
    if not bench.is_installed(name):
        pytest.skip(f"{name} is not installed")
    for cell in ["lstm"] if name == "flax" else GATES:
        work = WORK._replace(cell=cell)
        loss, *gradient = next(iter(prepare(name, work).values())).call()
        assert math.isfinite(float(loss))
        assert float(loss) > 0
        assert all(np.isfinite(np.asarray(one)).all() for one in gradient)
        G, biases = GATES[cell], sum(math.prod(one.shape) for one in gradient) - GATES[cell] * 4 * (3 + 4)
        assert G * 4 <= biases <= 2 * G * 4, "the gradient is by W, U and one or two biases"
        timed = next(iter(prepare(name, work._replace(mode="forward")).values()))
        (ys,) = timed.call()
        assert ys.shape == ((2, 5, 4) if name == "keras" else (5, 2, 4))


def test_ours_gives_the_numbers_of_the_plain_scan(jax_as_it_was):
    ours, plain = (prepare(name, WORK)[""] for name in (f"{REFERENCE}:save=nothing", BASELINE))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), ours.call(), plain.call())
    assert ours.compile_seconds > 0
    assert ours.temporary_mb > 0


def test_ours_decodes_as_many_characters_as_asked_for(jax_as_it_was):
    timed = prepare(REFERENCE, Work("decode", "gru", 3, 2, 6, 4))[""]
    (tokens,) = timed.call()
    assert tokens.shape == (2, 3)
    assert ((tokens > 0) & (tokens < 6)).all()


def test_pytorch_decodes_as_many():
    pytest.importorskip("torch")
    for timed in prepare("torch", Work("decode", "gru", 3, 2, 6, 4)).values():
        (tokens,) = timed.call()
        assert tuple(tokens.shape) == (3, 2)


def test_what_peers_need_is_an_extra_of_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(PEERS.values()) == sorted(project["optional-dependencies"]["peers"])
    assert {name for name, system in SYSTEMS.items() if system.is_peer} == {*PEERS, "flax"}


def test_a_process_imports_no_system_but_its_own():
    code = "import sys, experiments.bench.worker; print({'jax', 'torch', 'flax', 'rnnjax'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout.strip() == "set()"


# --- the protocol -----------------------------------------------------------------------------------------------------


def answers_to(requests, monkeypatch, system="flax", prepared=None):
    monkeypatch.setattr(
        bench_worker, "prepare", lambda system, work: (prepared or {}) if work.mode == "train" else 1 / 0
    )
    answers = io.StringIO()
    serve(system, map(json.dumps, requests), answers)
    return list(map(json.loads, answers.getvalue().splitlines()))


def test_requests_are_answered_in_order_and_errors_too(monkeypatch):
    calls = []
    timed = Timed(lambda: calls.append(0) or [np.zeros((2, 3)), np.zeros(4)], 1.5, 2.5)
    about, broken, unknown, made, times = answers_to(
        [
            {"do": "about"},
            {"do": "prepare", **WORK._replace(mode="forward")._asdict()},
            {"do": "dance"},
            {"do": "prepare", **WORK._asdict()},
            {"do": "time", "setting": "one", "calls": 3},
        ],
        monkeypatch,
        prepared={"one": timed},
    )
    assert about["versions"].startswith("flax ")
    assert broken == {"error": "ZeroDivisionError: division by zero"}
    assert unknown == {"error": "ValueError: unknown request 'dance'"}
    seconds = made["settings"]["one"].pop("seconds")
    assert made["settings"] == {"one": {"compile_seconds": 1.5, "temporary_mb": 2.5}}
    assert seconds >= 0
    assert len(times["seconds"]) == 3
    assert len(calls) == 2 + 1 + 3  # two when prepared; one before those that are counted


def test_a_process_that_dies_is_told_of(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    worker = Worker("torch")
    with pytest.raises(OSError, match="the process of torch ended with exit code 1"):
        worker.ask("about")
    worker.close()


# --- measuring --------------------------------------------------------------------------------------------------------


class Stub:
    """A worker whose calls take the seconds given, by setting."""

    def __init__(self, settings=None, error=None):
        self.system, self.settings, self.error, self.asked = "stub", settings or {}, error, []

    def ask(self, do, **request):
        self.asked.append((do, request.get("setting")))
        if self.error:
            return {"error": self.error}
        about = {"compile_seconds": 1.0, "temporary_mb": 2.0}
        if do == "prepare":
            return {"settings": {name: {**about, "seconds": seconds} for name, seconds in self.settings.items()}}
        return {"seconds": [self.settings[request["setting"]]] * request["calls"]}


def console():
    return bench.Console(file=io.StringIO(), width=200)


def test_the_better_setting_counts_and_a_peer_that_fails_is_left_out():
    workers = {
        REFERENCE: Stub({"": 0.1}),
        "torch": Stub({"1 thread": 0.3, "2 threads": 0.2}),
        "flax": Stub(error="ValueError: no"),
        PRODUCT: Stub({"": 1.0}),
    }
    out = console()
    ours, torch = bench.measure(out, workers, WORK, rounds=2)
    assert "flax cannot do train lstm 5 2 3 4: ValueError: no" in out.file.getvalue()
    assert (ours["system"], ours["ratio_to_ours"], ours["setting"]) == (REFERENCE, 1, "")
    assert (torch["system"], torch["setting"]) == ("torch", "2 threads")
    assert torch["ratio_to_ours"] == pytest.approx(2)
    assert torch["roofline_fraction"] == pytest.approx(ours["roofline_fraction"] / 2)
    turns = [setting for do, setting in workers["torch"].asked if do == "time"]
    assert turns == ["1 thread", "2 threads"] * 2

    with pytest.raises(ValueError, match="stub: ValueError: no"):
        bench.measure(console(), {REFERENCE: Stub(error="ValueError: no")}, WORK, rounds=1)


def test_from_the_command_line_and_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "is_installed", lambda name: name not in PEERS)
    what = "--modes forward --cells elman --shapes 3,2,1,4 --rounds 2 --systems torch --out"
    words = f"{what} {tmp_path}".split()
    assert main.main(words) == 0
    printed = capsys.readouterr().out
    assert "torch is not installed and left out: pip install 'torch>=2.13'" in printed
    (row,) = bench_report.read(tmp_path).itertuples()
    assert (row.mode, row.cell, row.seq_len, row.system, row.rounds) == ("forward", "elman", 3, REFERENCE, 2)
    assert 0 < row.min_ms <= row.median_ms
    assert row.compile_seconds > 0
    assert 0 < row.roofline_fraction < 1
    assert "forward" in (tmp_path / "README.md").read_text().lower()

    monkeypatch.setattr(bench, "Worker", None)
    assert main.main(words) == 0
    assert "1 of 1 measured already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--modes trian", "unknown modes 'trian'; did you mean 'train'"),
        ("--cells lstmm", "unknown cells 'lstmm'; did you mean 'lstm'"),
        ("--systems pytorch", "unknown system 'pytorch'"),
        ("--systems torch:threads=2", "torch has no options"),
        ("--systems rnnjax:engine", "an option is KEY=VALUE"),
        ("--systems rnnjax:saved=chunks", "unknown option of rnnjax 'saved'; did you mean 'save'"),
        ("--systems rnnjax:save=chunk", "unknown save 'chunk'; did you mean 'chunks'"),
        ("--shapes 1,2,3", "--shapes '1,2,3' must be four whole numbers above 0"),
        ("--shapes 1,2,3,0", "must be four whole numbers above 0"),
        ("--rounds 0", "--rounds 0 must be at least 1"),
    ],
)
def test_bad_arguments_are_named_before_anything_starts(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "Worker", None)
    assert main.main([*words.split(), "--out", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


# --- rows and report --------------------------------------------------------------------------------------------------


def row_of(work, system, ratio, **changed):
    ms = {"median_ms": 10.0 * ratio, "min_ms": 9.0 * ratio}
    ratios = {"ratio_to_ours": ratio, "ratio_low": 0.9 * ratio, "ratio_high": 1.1 * ratio}
    rest = {
        "compile_seconds": 1.0,
        "temporary_mb": 6.0 * ratio,
        "gflops": 100 / ratio,
        "roofline_fraction": 0.5 / ratio,
    }
    about = {"setting": "2 threads" if system == "torch" else "", "rounds": 2, "versions": f"{system} 1.0, jax 0.10"}
    about |= {"machine": "a machine", "python": "3.11", "date": "2026-01-01", "git_commit": "abc", "command": "python"}
    return {**work._asdict(), "system": system, **ms, **ratios, **rest, **about, **changed}


def made_up(folder):
    other, texts = WORK._replace(cell="gru"), Work("decode", "gru", 500, 64, 65, 512)
    bench_report.add(folder, [row_of(WORK, REFERENCE, 1.0), row_of(WORK, "torch", 4.0), row_of(WORK, "flax", 2.0)])
    bench_report.add(folder, [row_of(WORK, BASELINE, 1.5), row_of(other, REFERENCE, 1.0), row_of(other, "torch", 0.9)])
    bench_report.add(folder, [row_of(texts, REFERENCE, 1.0), row_of(texts, "torch", 3.0)])


def test_rows_replace_those_of_the_same_work_and_system(tmp_path):
    made_up(tmp_path)
    bench_report.add(tmp_path, [row_of(WORK, "torch", 8.0, temporary_mb=math.nan)])
    rows = bench_report.read(tmp_path)
    assert len(rows) == 8
    (again,) = rows[(rows["system"] == "torch") & (rows["cell"] == "lstm")].itertuples()
    assert (again.ratio_to_ours, again.setting) == (8, "2 threads")
    assert math.isnan(again.temporary_mb)
    assert (WORK, "flax") in bench_report.measured(tmp_path)
    assert (WORK._replace(seq_len=6), "flax") not in bench_report.measured(tmp_path)
    wanted = "mode cell seq_len batch_size input_size hidden_size system median_ms min_ms ratio_to_ours ratio_low "
    wanted += "ratio_high compile_seconds temporary_mb gflops roofline_fraction"
    assert list(rows)[:16] == wanted.split()


def test_a_file_without_the_columns_is_refused(tmp_path):
    (tmp_path / bench_report.ROWS).write_text("mode,cell\ntrain,lstm\n")
    with pytest.raises(ValueError, match=r"bench.csv: columns missing: seq_len, .*system, median_ms"):
        bench_report.read(tmp_path)


def test_the_report_says_who_is_fastest_where(tmp_path):
    made_up(tmp_path)
    text = bench_report.write_report(tmp_path).read_text()
    assert not (tmp_path / bench_report.PLOT).exists()  # of one shape
    rows = bench_report.read(tmp_path)
    assert bench_report.plot(pd.concat([rows, rows.assign(seq_len=6)]), tmp_path / bench_report.PLOT)
    assert (tmp_path / bench_report.PLOT).stat().st_size > 5000
    short, table, memory, decoding = (part for part in text.split("\n## ")[1:])
    # torch: sqrt(4 * 0.9) over two; the fastest peer: flax once, torch once
    assert f"| Training step | torch | {math.sqrt(3.6):.2f} | 0.90 to 4.00 | 2 | 1 |" in short
    assert f"| Training step | the fastest peer of each | {math.sqrt(1.8):.2f} | 0.90 to 2.00 | 2 | 1 |" in short
    assert "a peer is ahead of rnnjax in 1 of them: torch 0.90 (gru, T = 5, B = 2, H = 4)." in short
    assert "By median milliseconds" not in text
    assert (
        "| lstm | 5 | 2 | 3 | 4 | **10** | 40 · 4.00 | 20 · 2.00 | 15 · 1.50 | 50% | flax 2.00 [1.80, 2.20] |" in table
    )
    assert "| gru | 5 | 2 | 3 | 4 | 10 | **9 · 0.90** | – | – | 50% | torch 0.90 [0.81, 0.99] |" in table
    assert "| lstm | 5 | 2 | 3 | 4 | 6 · 67% |" in memory
    assert "| gru 512 | 64 | 500 | torch (2 threads) | 1,066,667 | 3.00 [2.70, 3.30] |" in decoding
    assert "Versions: rnnjax 1.0, jax 0.10, torch 1.0, flax 1.0, scan 1.0" in text


def test_a_lower_median_that_no_ratio_bears_out_is_said(tmp_path):
    bench_report.add(tmp_path, [row_of(WORK, REFERENCE, 1.0), row_of(WORK, "torch", 1.1, median_ms=9.0)])
    text = bench_report.in_words(bench_report.read(tmp_path))
    assert "a peer is ahead of rnnjax in 0.\n" in text
    assert text.endswith("these come before it too: torch 9 against 10 ms (lstm, T = 5, B = 2, H = 4).")


def test_the_index_of_results_says_what_the_rows_say():
    text = " ".join((RESULTS / "README.md").read_text(encoding="utf-8").split())
    rows = bench_report.read(RESULTS / "bench")
    steps = {mode: rows[rows["mode"] == mode] for mode in ("train", "forward", "decode")}
    said = []
    for name, title in (("torch", "PyTorch takes"), ("flax", "flax.nnx"), ("haiku", "haiku"), ("equinox", "equinox")):
        ratios = steps["train"].loc[steps["train"]["system"] == name, "ratio_to_ours"]
        said.append(f"{title} {bench_report.geometric_mean(ratios):.2f}")
    for mode, words in (("train", "the fastest of them in each pair {}"), ("forward", "the fastest peer {} times")):
        fastest = bench_report.fastest_peers(steps[mode])["ratio_to_ours"]
        said.append(words.format(f"{bench_report.geometric_mean(fastest):.2f}"))
    said.append(f"ahead in {(fastest < 1).sum()} of {len(fastest)}")
    ahead = steps["train"][steps["train"]["system"].map(bench_report.is_peer) & (steps["train"]["ratio_to_ours"] < 1)]
    assert set(zip(ahead["system"], ahead["cell"], strict=True)) == {("torch", "lstm")}
    said.append(f"({' and '.join(f'{ratio:.2f}' for ratio in sorted(ahead['ratio_to_ours']))} of our time)")
    rates = 1000 * steps["decode"]["seq_len"] * steps["decode"]["batch_size"] / steps["decode"]["median_ms"]
    said += [f"{rate:,.0f}" for rate in rates]
    long = bench_report.read(RESULTS / "bench_long").query("seq_len == 100000").set_index("system")
    plain, chunks = long.loc[REFERENCE], long.loc[f"{REFERENCE}:save=chunks"]
    said.append(f"in {plain.median_ms / 1e3:.1f} s a step and {plain.temporary_mb / 1e3:.1f} GB")
    said.append(f"in {chunks.median_ms / 1e3:.1f} s and {chunks.temporary_mb / 1e3:.1f} GB")
    assert [words for words in said if words not in text] == []


# --- the sweep --------------------------------------------------------------------------------------------------------

SIZES = {"seq_len": 4, "batch_size": 2, "hidden_size": 3, "steps": 2, "eval_every": 1, "examples": 3}


def test_the_sweep_of_ours_is_that_of_the_sweeps(monkeypatch, jax_as_it_was):
    def run(planned, folder):
        """In place of the training: a loss that tells trials apart."""
        (group,) = planned.groups  # one program
        trials = [trial for trial in group.trials if (trial.seq_len, trial.hidden_size, trial.num_steps) == (4, 3, 2)]
        rows = [{"validation_loss": t.seed + t.learning_rate, "compile_seconds": 7.0} for t in trials]
        folder.runs = lambda: pd.DataFrame(rows)
        yield

    monkeypatch.setattr("experiments.sweep.run.run", run)
    found = bench_sweep.run(REFERENCE, [[0, 0.1], [0, 0.2], [1, 0.1], [1, 0.2]], **SIZES)
    assert found == {"losses": [0.1, 0.2, 1.1, 1.2], "compile_seconds": 7}


def test_the_sweep_of_pytorch():
    pytest.importorskip("torch")
    found = bench_sweep.run("torch", [(0, 0.1), (1, 0.1)], **SIZES)
    assert len(set(found["losses"])) == 2
    assert np.isfinite(found["losses"]).all()


def test_pytorch_shares_its_runs_out_among_processes(tmp_path, monkeypatch, capsys):
    parts = []

    class Process:
        def __init__(self, system):
            self.system = system

        def send(self, do, runs, **what):
            self.runs = runs
            parts.append((self.system, len(runs)))

        def answer(self):
            return {
                "losses": [rate for _, rate in self.runs],
                "compile_seconds": 1.0 if self.system == REFERENCE else math.nan,
            }

        def close(self):
            pass

    monkeypatch.setattr(sweep_program, "Worker", Process)
    monkeypatch.setattr(sweep_program, "num_cores", lambda: 2)
    monkeypatch.setattr(sweep_program, "versions", lambda system: f"{system} 1.0")
    monkeypatch.setattr(sweep_program, "is_installed", lambda name: True)
    words = "--seeds 2 --learning-rates 0.1 0.2 0.3 --steps 4 --eval-every 2 --rounds 2 --out"
    assert sweep.main([*words.split(), str(tmp_path)]) == 0
    assert parts == [(REFERENCE, 6), ("torch", 3), ("torch", 3)] * 2
    rows = pd.read_csv(tmp_path / bench_report.SWEEP)
    assert list(rows["system"]) == [REFERENCE, "torch"] * 2
    assert list(rows["loss"]) == [0.2] * 4
    text = (tmp_path / "README.md").read_text()
    assert "Rounds" not in text  # there is no bench.csv
    assert (
        "6 runs of an LSTM on the adding task (T = 192, B = 32, H = 64): 2 seeds, learning rates 0.1, 0.2, 0.3" in text
    )
    assert "| torch | 2 processes of one thread | 1 |" in text
    assert capsys.readouterr().out.count("torch, 2 processes of one thread") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--systems flax", "unknown systems 'flax'"),
        ("--learning-rates 0.1 nan", "--learning-rates nan is not a number"),
        ("--learning-rates 0", "--learning-rates 0.0 must be above 0"),
        ("--steps 0", "--steps 0 must be at least 1"),
        ("--steps 30 --eval-every 20", "--steps 30 must be a multiple of --eval-every 20"),
    ],
)
def test_bad_arguments_of_the_sweep(words, message, capsys):
    assert sweep.main(words.split()) == 2
    assert message in capsys.readouterr().err


def test_the_names_that_are_written_out_are_those_of_the_work():
    assert get_args(Mode) == MODES
    assert get_args(Cell) == tuple(GATES)
