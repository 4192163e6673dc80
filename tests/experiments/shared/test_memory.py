"""Sizes that no memory holds are refused from shapes alone, with both figures."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

from experiments.addition import main as addition
from experiments.bench import main as bench, sweep as bench_sweep
from experiments.shared import memory
from experiments.shared.memory import check_memory
from experiments.sweep import command


def init(key):
    return {"U": jax.random.normal(key, (1000, 1000)), "b": jnp.zeros(1000)}


def check(**options):
    what = dict(num_steps=10, batch_size=4, width=1000, options={"--hidden-size": 1000})
    check_memory(init, optax.adam(0.1).init, **{**what, **options})


def test_the_estimate_is_what_arrays_take(monkeypatch):
    """1,001,000 parameters five times (with gradient, two of Adam, the best), its int32 count, 10 · 4 · 1000 states."""
    exact = 4 * (5 * 1_001_000 + 1 + 40_000)
    monkeypatch.setattr(memory, "memory", lambda: (exact, "this machine"))
    check()
    monkeypatch.setattr(memory, "memory", lambda: (exact - 1, "this machine"))
    with pytest.raises(ValueError, match=r"^--hidden-size 1000: too large.*\(1,001,000 parameters"):
        check()


@pytest.mark.parametrize("options", [{"networks": 10_000}, {"num_steps": 2**31}, {"batch_size": 2**31}])
def test_all_that_makes_it_large_counts(options):
    check()
    with pytest.raises(ValueError, match=r"needs at least [\d,.]+ GB .* and this machine has [\d.]+ GB"):
        check(**options)


@pytest.mark.parametrize("hidden_size", [10**9, 200_000])
def test_a_sweep_and_a_program_refuse_in_one_line(hidden_size, tmp_path, capsys):
    asked = ["forget_bias", "--set", f"hidden_size={hidden_size}", "--out", str(tmp_path / "out")]
    assert command.main(asked) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(rf"error: hidden_size {hidden_size}, .* and this machine has .* GB\n", said)
    assert addition.main(["--hidden-size", "65536"]) == 2
    assert "--hidden-size 65536, " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--shapes", "10,10,10,1000000000"], ["--shapes", "1000000000,1000000,1,64"]])
def test_a_benchmark_refuses_in_one_line(words, tmp_path, capsys):
    assert bench.main([*words, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(
        rf"error: T,B,I,H = {words[1]} of \w+: too large: .* at least [\d,.]+ GB .* has [\d,.]+ GB\n", said
    )
    assert not (tmp_path / "out").exists()


def test_a_sweep_that_is_timed_refuses_too(tmp_path, capsys):
    assert bench_sweep.main(["--hidden-size", "65536", "--batch-size", "100000", "--out", str(tmp_path / "out")]) == 2
    assert "T,B,I,H = 192,100000,2,65536 of lstm: too large: timing it needs at least" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
