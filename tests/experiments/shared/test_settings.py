"""Settings: types and bounds from Python, JSON and the command line; presets, labels, what --help says."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import pytest
from rich.console import Console

from experiments.shared.command_line import Command, Commands
from experiments.shared.settings import (
    OWN_CELLS,
    Checked,
    Code,
    Count,
    Folder,
    Limit,
    Mark,
    Metavar,
    Optimizer,
    Positive,
    Rate,
    Schedule,
    Share,
    Size,
    Weight,
    Width,
    as_flags,
    as_words,
    fields_of,
    override,
    plain,
)
from experiments.shared.start import start
from rnnjax.training.optimizers import OPTIMIZERS, SCHEDULES


@dataclass(frozen=True)
class Settings(Checked):
    cell: Annotated[Code, "a name, or my_module:my_factory"] = "lstm"
    hidden_size: Annotated[Width, "units, 100 % of them"] = 140
    window: Count = 0
    learning_rate: Annotated[Positive, "of the optimizer"] = 0.01
    clip_norm: Limit = 5.0
    l2: Weight = 0.0
    dropout: Rate = 0.4
    held_out: Share = 0.1
    optimizer: Optimizer = "adam"
    level: Literal["char", "word"] = "char"
    masked: bool = True
    max_tokens: Size | None = None
    lags: Annotated[tuple[str, ...], Metavar("LAGS"), "of each"] = ()
    scale: float = 1.0
    split: str = "official"
    published: Annotated[bool, Mark.NO_FLAG] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split == "none" and self.masked:
            raise ValueError("split=none with masked=true: nothing is left")


@dataclass(frozen=True)
class Options(Checked):
    seeds: Annotated[Size, "how many"] = 1
    out: Annotated[Folder, "write runs.csv there"] = None
    add: Annotated[tuple[int, ...], Metavar("A")] = ()
    fractions: tuple[Share, Share] = (0.5, 0.25)
    again: Annotated[bool, "measure anew"] = False


PRESETS = {
    "small": Settings(),
    "imdb-keras": Settings(hidden_size=64, masked=False, lags=("1", "12"), published=True),
}
COMMAND = Command("python -m experiments.mine", "What it does.", Options, PRESETS, "small")


# --- types and bounds -------------------------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
WRONG = [
    ("hidden_size", 0, "must be at least 1"),
    ("hidden_size", -3, "must be at least 1"),
    ("hidden_size", 2**16 + 1, "must be at most 65536"),
    ("hidden_size", 10**4000, "must be at most 65536"),
    ("window", 2**31, "must be at most 2147483647"),
    ("window", -1, "must be at least 0"),
    ("learning_rate", 0.0, "must be above 0, and finite"),
    ("learning_rate", -0.1, "must be above 0, and finite"),
    ("learning_rate", INF, "must be above 0, and finite"),
    ("learning_rate", NAN, "is not a number"),
    ("clip_norm", 0.0, "must be above 0; inf is none"),
    ("clip_norm", -INF, "must be above 0; inf is none"),
    ("clip_norm", NAN, "is not a number"),
    ("l2", -1e-9, "must be at least 0, and finite"),
    ("l2", INF, "must be at least 0, and finite"),
    ("dropout", 1.0, "must be at least 0 and below 1"),
    ("dropout", -0.1, "must be at least 0 and below 1"),
    ("dropout", NAN, "is not a number"),
    ("held_out", 0.0, "must be above 0 and below 1"),
    ("held_out", 1.0, "must be above 0 and below 1"),
    ("scale", NAN, "is not a number"),
    ("max_tokens", 0, "must be at least 1"),
]
WRONG_TYPES = [
    ("hidden_size", 1.5, "is not a whole number"),
    ("hidden_size", True, "is not a whole number"),
    ("hidden_size", "64", "is not a whole number"),
    ("hidden_size", None, "is not a whole number"),
    ("hidden_size", [64], "is not a whole number"),
    ("learning_rate", "0.1", "is not a number"),
    ("learning_rate", False, "is not a number"),
    ("learning_rate", {"a": 1}, "is not a number"),
    ("learning_rate", 10**400, "is too large"),
    ("masked", 1, "is not true or false"),
    ("masked", "false", "is not true or false"),
    ("cell", 3, "is not a text"),
    ("lags", "12", "is not a list"),
    ("lags", [12], "is not a text"),
    ("optimizer", ["adam"], "is not a text"),
]


@pytest.mark.parametrize(("name", "value", "message"), [*WRONG, *WRONG_TYPES])
def test_a_wrong_value_is_refused_from_python_and_from_json(name, value, message):
    with pytest.raises(ValueError, match=rf"^{name}=.* {message}$"):
        Settings(**{name: value})
    with pytest.raises(ValueError, match=rf"^a/config\.json: {name}=.* {message}$"):
        Settings.from_json({**plain(Settings()), name: value}, "a/config.json")


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_value_is_refused_from_the_command_line(name, value, message):
    with pytest.raises(ValueError, match=rf"^--{name.replace('_', '-')} .*{message}$"):
        COMMAND.read([f"--{name.replace('_', '-')}={value}"])


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("hidden_size", np.int64(4), 4),
        ("hidden_size", 2**16, 2**16),
        ("window", 2**31 - 1, 2**31 - 1),
        ("learning_rate", 1, 1.0),
        ("learning_rate", np.float32(0.5), 0.5),
        ("clip_norm", INF, INF),
        ("dropout", 0, 0.0),
        ("max_tokens", None, None),
        ("lags", ["1", "2"], ("1", "2")),
    ],
)
def test_a_value_is_kept_in_the_type_of_its_field(name, value, kept):
    found = getattr(Settings(**{name: value}), name)
    assert found == kept
    assert type(found) is type(kept)


def test_a_field_of_a_type_that_cannot_be_read_is_a_fault_of_the_program():
    with pytest.raises(TypeError, match="mapping: <class 'dict'> is not what a setting can be"):
        fields_of(dataclasses.make_dataclass("Wrong", [("mapping", dict, None)]))


def test_the_names_that_are_written_out_are_those_of_the_library():
    assert get_args(Optimizer) == tuple(OPTIMIZERS)
    assert get_args(Schedule) == tuple(SCHEDULES)


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_settings_go_through_json_and_come_back():
    settings = Settings(clip_norm=INF, lags=("1", "2"), max_tokens=7, masked=False)
    text = json.dumps({**plain(settings), "seed": 3}, allow_nan=False)
    assert Settings.from_json(json.loads(text), "config.json", others=["seed"]) == settings
    assert plain(Options(out="a")) == {**plain(Options()), "out": "a"}


@pytest.mark.parametrize("cell", ["os:system", "os:system:a=b", "a.b:c", "lstm:recurrent_init=x:y"])
def test_a_file_does_not_choose_what_runs(cell):
    mapping = {**plain(Settings()), "cell": cell}
    with pytest.raises(ValueError, match=r"^config\.json: cell='.*' would import a module.*--trust-code"):
        Settings.from_json(mapping, "config.json")
    assert Settings.from_json(mapping, "config.json", trust_code=True).cell == cell
    assert COMMAND.read(["--cell", cell]).settings.cell == cell


def test_a_file_may_name_the_project_s_own_cells():
    for cell in OWN_CELLS:
        mapping = {**plain(Settings()), "cell": f"{cell}:forget_bias=1"}
        assert Settings.from_json(mapping, "config.json").cell == mapping["cell"]
        with pytest.raises(ValueError, match="would import a module"):
            Settings.from_json({**mapping, "cell": f"{cell}:os:system"}, "config.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: [m], "is not an object"),
        (lambda m: None, "is not an object"),
        (lambda m: {k: v for k, v in m.items() if k not in ("cell", "scale")}, "lacks cell, scale$"),
        (lambda m: {**m, "hiden_size": 3}, "unknown setting 'hiden_size'; did you mean 'hidden_size'"),
        (lambda m: {**m, "__class__": "os.system"}, "unknown setting '__class__'"),
        (lambda m: {**m, "optimizer": "../../etc/passwd"}, "unknown optimizer '../../etc/passwd'"),
        (lambda m: {**m, "split": "none"}, "split=none with masked=true"),
        (lambda m: {**m, "learning_rate": "inf"}, "must be above 0, and finite"),
        (lambda m: {**m, "learning_rate": json.loads("NaN")}, "is not a number"),
        (lambda m: {**m, "hidden_size": "x" * 10_000}, r"^config\.json: hidden_size='x{1,60}… is not a whole number$"),
    ],
)
def test_a_hostile_file_is_refused_by_its_name(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        Settings.from_json(change(plain(Settings())), "config.json")
    assert str(caught.value).startswith("config.json")


# --- the command line -------------------------------------------------------------------------------------------------


def test_what_is_named_stands_in_place_of_the_presets():
    given = COMMAND.read(["--seeds", "3", "imdb-keras", "--out", "a", "--masked", "--hidden-size", "64", "--lags", "7"])
    assert given.options == Options(seeds=3, out=Path("a"))
    assert given.settings == Settings(hidden_size=64, lags=("7",), published=True)
    assert given.changed == {"masked": True, "lags": ("7",)}  # hidden_size is the preset's; in the order of the fields
    assert given.label == "imdb-keras --masked --lags 7"


def test_nothing_named_is_the_default_preset():
    given = COMMAND.read([])
    assert (given.preset, given.settings, given.changed, given.label) == ("small", Settings(), {}, "small")


def test_labels_as_recorded():
    """Rows of results are known by these."""
    _, changed = override(Settings(), {"masked": False, "learning_rate": 3e-3, "cell": "gru"})
    assert as_words(changed) == ["cell=gru", "learning_rate=0.003", "masked=False"]
    assert as_flags(changed) == ["--cell gru", "--learning-rate 0.003", "--no-masked"]


def test_options_of_several_values_and_flags():
    given = COMMAND.read(["--add", "1", "2", "--add", str(10**20), "--again", "--fractions", "0.1", "0.2"])
    assert given.options == Options(add=(1, 2, 10**20), again=True, fractions=(0.1, 0.2))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("imdb-kers", "unknown preset 'imdb-kers'; did you mean 'imdb-keras'? known: small, imdb-keras"),
        ("--hiden-size 3", "unknown option '--hiden-size'; did you mean '--hidden-size'?"),
        ("--hiden-size=3", "unknown option '--hiden-size'; did you mean '--hidden-size'?"),
        ("--hidden 3", "unknown option '--hidden'"),
        ("--published", "unknown option '--published'"),
        ("--zzz", "unknown option '--zzz'; --help shows all"),
        ("small imdb-keras", "'imdb-keras' is more than there is a place for"),
        ("--optimizer adm", "unknown optimizer 'adm'; did you mean 'adam'?"),
        ("--level chr", "unknown level 'chr'; did you mean 'char'?"),
        ("--hidden-size x", "--hidden-size 'x' is not a whole number"),
        ("--hidden-size 1e3", "--hidden-size '1e3' is not a whole number"),
        ("--learning-rate fast", "--learning-rate 'fast' is not a number"),
        ("--seeds 0", "--seeds 0 must be at least 1"),
        ("--fractions 0.5", "--fractions: expected 2 arguments"),
        ("--fractions 0.5 1", "--fractions 1.0 must be above 0 and below 1"),
        ("--seeds", "--seeds: expected one argument"),
        ("--split none", "split=none with masked=true: nothing is left"),
    ],
)
def test_a_mistake_is_told_of_in_one_line(words, message, capsys):
    def run(console: Console, given, argv) -> None:
        raise AssertionError("nothing runs")

    assert start(run, COMMAND, words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def printed(command, words, capsys) -> str:
    with pytest.raises(SystemExit) as caught:
        command.read(words.split())
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_says_all_of_a_field_with_the_values_of_the_preset(capsys):
    text = printed(COMMAND, "imdb-keras --help", capsys)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "usage: python -m experiments.mine [PRESET] [--option VALUE ...]"
    assert "What it does." in lines
    assert "--hidden-size N units, 100 % of them (at least 1; default 64)" in lines
    assert "--window N (at least 0; default 0)" in lines
    assert "--learning-rate X of the optimizer (above 0, and finite; default 0.01)" in lines
    assert "--lags LAGS [LAGS ...] of each (default 1 12)" in lines
    assert "--masked, --no-masked" in lines
    assert "--level NAME (of char, word; default char)" in lines
    assert "--out DIR write runs.csv there" in lines
    assert "--again measure anew" in lines
    places = [lines.index(title) for title in ("options:", "settings, in place of those of imdb-keras:")]
    assert places[0] < lines.index("--seeds N how many (at least 1; default 1)") < places[1]
    assert max(map(len, text.splitlines())) <= 120


def test_a_value_that_is_a_presets_name_is_no_preset(capsys):
    assert "settings, in place of those of small:" in printed(COMMAND, "--cell imdb-keras --help", capsys)
    assert "settings, in place of those of imdb-keras:" in printed(TRAIN, "--preset imdb-keras --help", capsys)


def test_list_has_a_line_for_each_preset(capsys):
    lines = printed(COMMAND, "--list", capsys).splitlines()
    assert lines == ["small", "imdb-keras  --hidden-size 64 --no-masked --lags 1 12"]


# --- other forms of programs ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Train(Checked):
    model: Annotated[Path, Metavar("DIR"), "where it is kept"]
    files: Annotated[tuple[Path, ...], Metavar("FILE"), Mark.PLACE] = ()


@dataclass(frozen=True)
class Cells(Checked):
    cells: Annotated[tuple[str, ...], Metavar("CELL"), Mark.PLACE]


@dataclass(frozen=True)
class Compare(Checked):
    this: Annotated[Path, Metavar("DIR"), Mark.PLACE]
    other: Annotated[Path, Metavar("DIR"), Mark.PLACE] = Path("results/zoo")


TRAIN = Command("mine train", "", Train, PRESETS, lambda options: "small" if options.files else "imdb-keras")
COMMANDS = Commands("mine", "What it does.", {"train": TRAIN, "show": Command("mine show", "", Cells)})


def test_a_preset_is_a_flag_where_options_have_places():
    given = COMMANDS.read(["train", "a.txt", "b.txt", "--model", "m"])
    assert (given.command, given.preset) == ("train", "small")
    assert given.options == Train(Path("m"), (Path("a.txt"), Path("b.txt")))
    assert COMMANDS.read(["train", "--model", "m"]).label == "imdb-keras"
    assert COMMANDS.read(["train", "--model", "m", "--preset", "small", "--window", "3"]).label == "small --window 3"


def test_a_program_without_presets():
    given = COMMANDS.read(["show", "lstm", "gru"])
    assert (given.options, given.settings) == (Cells(("lstm", "gru")), None)


def test_an_option_with_a_place_and_a_default_may_be_left_out(capsys):
    command = Command("mine", "", Compare)
    assert command.read(["a"]).options == Compare(Path("a"))
    assert command.read(["a", "b"]).options == Compare(Path("a"), Path("b"))
    text = printed(command, "--help", capsys)
    assert text.startswith("usage: mine DIR [DIR] [--option")
    assert "(default results/zoo)" in text
    with pytest.raises(ValueError, match="'c' is more than there is a place for"):
        command.read(["a", "b", "c"])


def test_commands_are_named(capsys):
    assert "mine train --help" in printed(COMMANDS, "--help", capsys)
    assert printed(COMMANDS, "train --help", capsys).startswith("usage: mine train [FILE ...] --model DIR [--option")
    with pytest.raises(ValueError, match="unknown command 'trian'; did you mean 'train'"):
        COMMANDS.read(["trian"])
    with pytest.raises(ValueError, match="unknown command ''; known: train, show"):
        COMMANDS.read([])
    with pytest.raises(ValueError, match="required: --model"):
        COMMANDS.read(["train"])
    with pytest.raises(ValueError, match="required: CELL"):
        COMMANDS.read(["show"])


def test_a_command_may_be_meant_without_its_name(capsys):
    commands = Commands("mine", "", {"train": COMMAND, "show": Command("mine show", "", Cells)}, default="train")
    for words in ([], ["small"], ["--window", "3"]):
        given = commands.read(words)
        assert given == COMMAND.read(words)._replace(command="train")
        assert commands.read(["train", *words]) == given
    assert commands.read(["show", "lstm"]).command == "show"
    assert commands.presets == COMMAND.presets
    assert printed(commands, "--list", capsys) == printed(COMMAND, "--list", capsys)
    assert printed(commands, "--help", capsys) == printed(COMMAND, "--help", capsys)
    with pytest.raises(ValueError, match="unknown preset 'shwo'"):
        commands.read(["shwo"])


def test_a_name_that_is_no_preset_may_be_something_else():
    def otherwise(name: str) -> Settings:
        if not name.endswith(".csv"):
            raise ValueError(f"neither a preset nor a file: {name}")
        return Settings(window=9)

    command = dataclasses.replace(COMMAND, otherwise=otherwise)
    assert command.read(["my.csv", "--l2", "1"]).settings == Settings(window=9, l2=1.0)
    assert command.read(["small"]).settings == Settings()
    with pytest.raises(ValueError, match="neither a preset nor a file: my"):
        command.read(["my"])
