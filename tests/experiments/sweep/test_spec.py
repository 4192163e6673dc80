"""Trials and sweeps as plain data: identity, text forms, and the round trip through JSON."""

import dataclasses
import json
import math

import jax.numpy as jnp
import pytest

from experiments.shared.cells import build_cell, factory_of, parse_cell, parse_option, variant, with_options
from experiments.sweep.spec import Sweep, Trial, as_fields, parse_field, sweep_from
from rnnjax.cell import Cell
from rnnjax.cells import gru, lstm
from rnnjax.initializers import Chrono, Uniform

SWEEP = Sweep(
    name="example",
    question="Which?",
    expects="This one.",
    base=Trial(seq_len=20, clip_norm=math.inf, l2=1e-4),
    axes={
        "task": ({"task": "recall", "num_steps": 50, "clip_norm": math.inf}, "adding"),
        "cell": ("lstm:forget_bias=chrono", "gru"),
        "seq_len": (None, 30),
        "clip_value": (math.inf, 0.5),
        "seed": range(2),
    },
    metric="test_accuracy",
    full_base={"num_steps": 100},
    full_axes={"seed": range(5)},
)


# --- identity --------------------------------------------------------------------------------------------------------


def test_an_id_depends_on_values_and_on_nothing_else():
    trial = Trial(seq_len=20, cell="gru", learning_rate=0.01, seed=3)
    assert trial.id == Trial(seed=3, learning_rate=0.01, cell="gru", seq_len=20).id
    assert trial.id == "recall-20-gru-lr0.01-s3-" + trial.id.rsplit("-", 1)[1]
    changes = {
        field.name: {str: "other", float: 0.7, bool: True}.get(field.type, 7) for field in dataclasses.fields(Trial)
    }
    changed = [dataclasses.replace(trial, **{name: value}).id for name, value in changes.items()]
    assert len({trial.id, *changed}) == len(changes) + 1


def test_an_id_does_not_ask_how_a_number_was_written():
    assert Trial(clip_norm=1).id == Trial(clip_norm=1.0).id
    assert Trial(clip_norm=math.inf).id != Trial(clip_norm=1e300).id


def test_an_id_never_depends_on_the_place_in_a_sweep():
    other = dataclasses.replace(SWEEP, axes={name: list(SWEEP.axes[name])[::-1] for name in reversed(SWEEP.axes)})
    ids = [trial.id for trial in SWEEP.trials()]
    assert len(set(ids)) == len(ids) == 2**5
    assert {trial.id for trial in other.trials()} == set(ids)
    assert [trial.id for trial in other.trials()] != ids


def test_ids_are_names_of_files():
    text = Trial(cell="my_module:my_factory:forget_bias=uniform(1,3)", learning_rate=1e30).id
    assert text.startswith("recall-own-my_module-my_factory-forget_bias=uniform-1-3-")
    assert not set(text) & set(r"/\:(), ")


# --- sweeps ----------------------------------------------------------------------------------------------------------


def test_trials_are_every_combination_once():
    sweep = dataclasses.replace(SWEEP, axes={"cell": ("gru", "gru", "elman"), "seed": (0, 1)})
    assert [(trial.cell, trial.seed) for trial in sweep.trials()] == [
        ("gru", 0),
        ("gru", 1),
        ("elman", 0),
        ("elman", 1),
    ]
    by_task = {trial.task: trial.num_steps for trial in SWEEP.trials()}
    assert by_task == {"recall": 50, "adding": SWEEP.base.num_steps}


def test_full_size():
    full = SWEEP.at_full_size()
    assert full.base.num_steps == 100
    assert full.axes["seed"] == range(5)
    assert list(full.axes) == list(SWEEP.axes)
    assert full.metric == SWEEP.metric


def test_a_sweep_comes_back_from_json():
    text = json.dumps(SWEEP.describe(), allow_nan=False)
    back = sweep_from(json.loads(text))
    assert back.trials() == SWEEP.trials()
    assert [trial.id for trial in back.trials()] == [trial.id for trial in SWEEP.trials()]
    assert back.base == SWEEP.base
    assert (back.name, back.question, back.expects, back.metric) == ("example", "Which?", "This one.", "test_accuracy")
    assert json.dumps(back.describe()) == text


def test_an_axis_names_fields():
    assert as_fields("seed", 3) == {"seed": 3}
    assert as_fields("anything", {"task": "adding", "num_steps": 5}) == {"task": "adding", "num_steps": 5}
    with pytest.raises(ValueError, match="unknown axis 'num_step'; did you mean 'num_steps'"):
        as_fields("task", {"num_step": 5})


# --- values from text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("num_steps", "20", 20),
        ("num_steps", "1e3", 1000),
        ("num_steps", 20.0, 20),
        ("learning_rate", "1e-3", 1e-3),
        ("clip_norm", "inf", math.inf),
        ("seq_len", "None", None),
        ("seq_len", None, None),
        ("seq_len", "30", 30),
        ("cell", "gru", "gru"),
    ],
)
def test_a_field_from_text(field, text, value):
    parsed = parse_field(field, text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("num_step", "5", "unknown setting 'num_step'; did you mean 'num_steps'"),
        ("num_steps", "2.5", "num_steps='2.5' is not a whole number"),
        ("num_steps", "many", "num_steps='many' is not a whole number"),
        ("num_steps", "inf", "num_steps='inf' is not a whole number"),
        ("num_steps", "nan", "num_steps='nan' is not a whole number"),
        ("num_steps", None, "num_steps=None is not a whole number"),
        ("seq_len", "long", "seq_len='long' is not a whole number"),
        ("learning_rate", "fast", "learning_rate='fast' is not a number"),
    ],
)
def test_a_field_that_is_refused(field, text, message):
    with pytest.raises(ValueError, match=message):
        parse_field(field, text)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("lstm", "lstm", {}),
        ("lstm:forget_bias=3:peepholes=true", "lstm", {"forget_bias": "3", "peepholes": "true"}),
        ("my_module:mine", "my_module:mine", {}),
        ("my.module:mine:scale=0.5", "my.module:mine", {"scale": "0.5"}),
        ("lstm:forget_bias=uniform(1,3)", "lstm", {"forget_bias": "uniform(1,3)"}),
    ],
)
def test_the_text_of_a_cell(text, name, options):
    assert parse_cell(text) == (name, options)
    assert with_options(name, options) == text
    assert variant(text) == " ".join([name, *(f"{k}={v}" for k, v in options.items())])


def test_options_are_added_or_replaced():
    assert with_options("lstm:forget_bias=3", {"peepholes": "true"}) == "lstm:forget_bias=3:peepholes=true"
    assert (
        with_options("lstm:forget_bias=3:peepholes=true", {"forget_bias": "1"}) == "lstm:forget_bias=1:peepholes=true"
    )


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("peepholes", "True", True),
        ("peepholes", "false", False),
        ("projection_size", "none", None),
        ("projection_size", "8", 8),
        ("forget_bias", "-1.5", -1.5),
        ("forget_bias", "chrono(100)", Chrono(100.0)),
        ("forget_bias", "uniform(-1, 3)", Uniform(-1.0, 3.0)),
        ("input_activation", "tanh", jnp.tanh),
    ],
)
def test_an_option_from_text(option, text, value):
    parsed = parse_option(option, text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_activations_from_text():
    assert parse_option("activation", "linear")(3.0) == 3.0
    assert parse_option("output_activation", "softsign")(1.0) == 0.5


# --- cells from text -------------------------------------------------------------------------------------------------


@pytest.fixture
def my_cells(tmp_path, monkeypatch):
    """Modules of a user's own on the path."""
    (tmp_path / "cells_of_mine.py").write_text(
        "from rnnjax import elman\n"
        "def mine(hidden_size, *, bias=0.0):\n    return elman(hidden_size, bias=bias)\n"
        "size = 3\n"
        "def no_cell(hidden_size):\n    return hidden_size\n"
        "def takes_nothing():\n    return elman(3)\n"
    )
    (tmp_path / "cells_that_import_nothing.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_cells_are_built_from_text(my_cells):
    assert isinstance(build_cell("cells_of_mine:mine:bias=0.5", 3, 20), Cell)
    assert factory_of("gru") is gru
    assert build_cell("lstm:projection_size=2", 3, 20).output_size == 2


def test_the_same_text_and_sizes_are_the_same_cell():
    cell = build_cell("lstm:forget_bias=chrono", 3, 20)
    assert build_cell("lstm:forget_bias=chrono", 3, 20) is cell
    assert build_cell("lstm:forget_bias=chrono(20)", 3, 5) is cell
    assert build_cell("lstm:forget_bias=chrono", 3, 30) is not cell
    assert build_cell("lstm:forget_bias=chrono", 4, 20) is not cell
    assert build_cell("lstm:forget_bias=chrono:peepholes=true", 3, 20) is not cell
    assert build_cell("lstm", 3, 20) is build_cell("lstm", 3, 30)
    for text in ("lstm_nfg:input_bias=chrono", "gru:update_bias=chrono"):
        assert build_cell(text, 3, 20) is build_cell(text + "(20)", 3, 5)
    assert isinstance(lstm(3), Cell)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lstmm", "unknown cell 'lstmm'; did you mean 'lstm'.*or my_module:my_factory"),
        ("lstm:forget_bas=3", "unknown option of cell 'lstm' 'forget_bas'; did you mean 'forget_bias'"),
        ("gru:forget_bias=3", "unknown option of cell 'gru' 'forget_bias'"),
        ("lstm:forget_bias=much", "forget_bias='much' is not understood; allowed: a number"),
        ("lstm:forget_bias=chrono(a)", r"forget_bias='chrono\(a\)' is not chrono\(t_max\) or uniform\(low,high\)"),
        ("lstm:forget_bias=chrono(1,2)", r"is not chrono\(t_max\)"),
        ("lstm:forget_bias=uniform(1)", r"forget_bias='uniform\(1\)' is not chrono\(t_max\) or uniform\(low,high\)"),
        ("lstm:input_bias=uniform(3,1)", r"uniform\(low, high\) needs finite low <= high, got 3.0, 1.0"),
        ("lstm:input_bias=nan", "input_bias='nan' must be finite"),
        ("lstm:forget_bias=uniform()", r"is not chrono\(t_max\) or uniform\(low,high\)"),
        ("elman:activation=tan", "unknown value of activation 'tan'; did you mean 'tanh'"),
        ("lstm:coupled=true:input_gate=false", "coupled=True sets i = 1 - f"),
        ("lstm:projection_size=0", "projection_size must be a whole number of at least 1"),
        ("no_such_module:mine", "cannot import module 'no_such_module'"),
        ("cells_that_import_nothing:mine", "cannot import module 'cells_that_import_nothing'.*no_such_package"),
        ("cells_of_mine:min", "unknown factory in cells_of_mine 'min'; did you mean 'mine'"),
        ("cells_of_mine:size", "unknown factory in cells_of_mine 'size'"),
        ("cells_of_mine:no_cell", "the factory returned int, not an rnnjax Cell"),
        ("cells_of_mine:takes_nothing", "takes_nothing.* takes 0 positional arguments"),
        ("cells_of_mine:mine:size=3", "unknown option of cell 'cells_of_mine:mine' 'size'"),
        (":mine", "cell ':mine' is not of the form my_module:my_factory"),
        (".cells_of_mine:mine", "is not of the form my_module:my_factory"),
        ("folder/cells_of_mine.py:mine", "is not of the form my_module:my_factory"),
    ],
)
def test_a_cell_that_is_refused(my_cells, text, message):
    with pytest.raises(ValueError, match=message):
        build_cell(text, 3, 20)
