"""What the command lines of all programs have in common: how soon they answer, and what they refuse before any work."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.shared.command_line import Command, Commands
from experiments.shared.settings import Field, Mark, fields_of

ROOT = Path(__file__).parents[2]
PROGRAMS = (
    "experiments.addition.main",
    "experiments.addition.seeds",
    "experiments.advice.main",
    "experiments.bench.main",
    "experiments.bench.sweep",
    "experiments.classify.main",
    "experiments.compare.main",
    "experiments.forecast.main",
    "experiments.gradients.main",
    "experiments.music.main",
    "experiments.newton.main",
    "experiments.newton.times",
    "experiments.online.main",
    "experiments.published.main",
    "experiments.remedies.main",
    "experiments.seq2seq.main",
    "experiments.start_map.main",
    "experiments.sweep.command",
    "experiments.sweep.reach",
    "experiments.sweep.report",
    "experiments.textgen.main",
    "experiments.zoo.cell_table",
    "experiments.zoo.main",
)
# Importing these packages makes the cells of their sweeps, and so imports JAX.
WITH_CELLS = ("experiments.advice", "experiments.remedies", "experiments.zoo", "experiments.start_map")
HEAVY = ("jax", "pandas", "matplotlib", "flax", "orbax", "scipy", "datasets")
# What a program must be given before it comes to its options.
NEEDED = {
    "experiments.compare.main": ["a", "b"],
    "experiments.gradients.main": ["lstm"],
    "experiments.music.main": ["--data-dir", "d"],
    "experiments.seq2seq.main": ["reverse"],
    "experiments.start_map.main": ["a"],
    "experiments.sweep.reach": ["a"],
    "experiments.sweep.report": ["a"],
    "experiments.textgen.main": ["train", "--model", "m"],
}
RATES, SIZES = ("0", "-0.1", "nan", "inf", "fast"), ("0", "-1", "2.5", "many")
REFUSED = {
    "learning_rate": RATES,
    "learning_rates": RATES,
    "clip_norm": ("0", "-1", "nan", "none"),
    "clip_value": ("0", "-1", "nan", "none"),
    "l1": ("-1", "nan", "inf"),
    "l2": ("-1", "nan", "inf"),
    "held_out": ("0", "1", "-0.1", "nan"),
    "train_share": ("0", "1", "-0.1", "nan"),
    **dict.fromkeys(("dropout", "recurrent_dropout", "warmup"), ("1", "-0.1", "nan")),
    **dict.fromkeys(("dropout_inputs", "dropout_recurrent", "dropout_words"), ("1", "-0.1", "nan")),
    **dict.fromkeys(("hidden_size", "num_layers", "embedding_size"), ("-1", "2.5", "many", "1000000000")),
    **dict.fromkeys(("batch_size", "seeds", "num_steps", "epochs", "num_epochs", "eval_every", "rounds"), SIZES),
}


def fields_with_flags(command: Command | Commands) -> list[Field]:
    """The options of a program, and the settings that have flags; of textgen, those of train."""
    if isinstance(command, Commands):
        command = command.commands["train"]
    classes = [command.options, *([type(next(iter(command.presets.values())))] if command.presets else [])]
    fields = [field for one in classes for field in fields_of(one).values()]
    return [field for field in fields if not {Mark.NO_FLAG, Mark.PLACE} & set(field.marks)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_and_list_import_nothing_heavy(program):
    code = f"""if True:
        import sys
        from {program} import COMMAND, main
        for word in ["--help", "--list"] if getattr(COMMAND, "presets", None) else ["--help"]:
            try:
                main([word])
            except SystemExit as end:
                assert end.code == 0
        print(sorted(set({HEAVY!r}) & set(sys.modules)))
    """
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = ["jax"] if program.startswith(WITH_CELLS) else []
    assert found.stdout.splitlines()[-1] == str(expected)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_value_out_of_bounds_is_refused_in_one_line(program, capsys):
    module = importlib.import_module(program)
    for field in fields_with_flags(module.COMMAND):
        for value in REFUSED.get(field.name, ()):
            code = module.main([*NEEDED.get(program, []), f"{field.flag}={value}"])
            said = capsys.readouterr()
            assert (code, said.out) == (2, ""), (field.flag, value)
            assert said.err.startswith(f"error: {field.flag} "), said.err
            assert said.err.count("\n") == 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_misspelt_flag_is_refused_in_one_line(program, capsys):
    module = importlib.import_module(program)
    assert module.main([*NEEDED.get(program, []), "--no-such-option", "3"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown option '--no-such-option'")


def test_every_program_that_trains_is_among_those_whose_bounds_are_tried():
    names = {
        program: {field.name for field in fields_with_flags(importlib.import_module(program).COMMAND)}
        for program in PROGRAMS
    }
    trained = [program for program, found in names.items() if found & {"learning_rate", "learning_rates"}]
    assert [program.split(".")[1] for program in trained] == [
        "addition",
        "bench",
        "classify",
        "forecast",
        "gradients",
        "music",
        "online",
        "seq2seq",
        "textgen",
    ]
