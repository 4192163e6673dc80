"""A program's command line, made of two dataclasses: its settings, which presets hold, and the program's options.

    python -m experiments.music gru --hidden-size 64 --seeds 3 --out DIR

argparse reads the flags; types, bounds and help are those of the fields (settings.py). tyro, tried for the same, takes
NaN and any size, has no suggestion for a misspelt preset, refuses flags that stand before one, and tells of a mistake
in a box of up to fifteen lines. All that it would spare is this file, the checks would stay.
"""

import argparse
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import partial
from typing import Any, NamedTuple, NoReturn

from experiments.shared.settings import Checked, Field, Mark, Metavar, as_flags, fields_of, override

WIDTH = 120  # of --help
METAVARS = {int: "N", float: "X", str: "TEXT"}


class Given(NamedTuple):
    """What a command line says."""

    options: Any  # the program's, an instance of its dataclass
    preset: str = ""  # its name
    settings: Any = None  # the preset, with what was named in place of its own
    changed: Mapping[str, Any] = {}  # the settings that are not as the preset has them
    command: str = ""  # of several

    @property
    def label(self) -> str:
        """The preset and what was changed: "airline-lstm4 --scale-on training"."""
        return " ".join([self.preset, *as_flags(self.changed)])

    @property
    def label_but_cell(self) -> str:
        """The same without --cell, of rows in which the cell has a column of its own."""
        changed = {name: value for name, value in self.changed.items() if name != "cell"}
        return " ".join([self.preset, *as_flags(changed)])


@dataclass(frozen=True)
class Command:
    """How a program is called: `prog [PRESET] --option ... --setting ...`.

    The preset is a flag, --preset, where an option is given by its place.
    """

    prog: str
    doc: str
    options: type
    presets: Mapping[str, Checked] | None = None
    default: str | Callable[[Any], str] = ""  # the preset where none is named, or what tells it from the options
    otherwise: Callable[[str], Checked] | None = None  # the settings for a name that is no preset's, or ValueError

    def read(self, argv: Sequence[str]) -> Given:
        """What a command line says; --help and --list print and exit.

        Raises:
          ValueError: an unknown flag or preset, or a value that does not fit.
        """
        parser = self._parser(argv)
        found, unread = parser.parse_known_args(argv)
        if unread:
            raise ValueError(unread_message(unread, parser))
        options = self.options(**_named(self.options, found))
        if self.presets is None:
            return Given(options)
        name = getattr(found, "preset", None) or (self.default(options) if callable(self.default) else self.default)
        preset = self._settings_of(name)
        return Given(options, name, *override(preset, _named(type(preset), found)))

    def _settings_of(self, name: str) -> Checked:
        presets = self.presets or {}
        if name in presets:
            return presets[name]
        if self.otherwise:
            return self.otherwise(name)
        raise ValueError(_unknown("preset", name, presets))

    def _parser(self, argv: Sequence[str]) -> "Parser":
        parser = Parser(
            prog=self.prog,
            usage="%(prog)s " + self._usage(),
            description=self.doc,
            allow_abbrev=False,
            add_help=False,
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=30, width=WIDTH),
            argument_default=argparse.SUPPRESS,
        )
        options = fields_of(self.options).values()
        group = parser.add_argument_group("options")
        group.add_argument("-h", "--help", action="help", help="show this, and exit")
        if self.presets:
            text = f"one of {', '.join(self.presets)}" + (f" (default {self.default})" if self._fixed else "")
            if any(Mark.PLACE in field.marks for field in options):
                group.add_argument("--preset", metavar="NAME", help=text)
            else:
                parser.add_argument("preset", nargs="?" if self._fixed else None, metavar="PRESET", help=text)
            group.add_argument("--list", action=List, presets=self.presets, help="list the presets, and exit")
        for field in options:
            both = field.default is True or field.optional  # where None is neither, both can be said
            _add(parser if Mark.PLACE in field.marks else group, field, field.default, both=both)
        if self.presets:
            # --help shows the values of the preset that stands where it is looked for first
            words = [word for before, word in zip(["", *argv], argv, strict=False) if before in ("", "--preset")]
            name = next((word for word in words if word in self.presets), self._fixed or next(iter(self.presets)))
            group = parser.add_argument_group(f"settings, in place of those of {name}")
            for field in fields_of(type(self.presets[name])).values():
                if Mark.NO_FLAG not in field.marks:
                    _add(group, field, getattr(self.presets[name], field.name), both=True)
        return parser

    def _usage(self) -> str:
        fields = fields_of(self.options).values()
        places = [_place(field) for field in fields if Mark.PLACE in field.marks]
        if self.presets and not places:
            places = ["[PRESET]" if self._fixed else "PRESET"]
        needed = [f"{f.flag} {metavar_of(f)}" for f in fields if f.default is MISSING and Mark.PLACE not in f.marks]
        return " ".join([*places, *needed, "[--option VALUE ...]"])

    @property
    def _fixed(self) -> str:
        return "" if callable(self.default) else self.default


@dataclass(frozen=True)
class Commands:
    """A program with several commands, `prog train ...` and `prog generate ...`; one may be meant without a name."""

    prog: str
    doc: str
    commands: Mapping[str, Command]
    default: str = ""  # the command where the first word is none's name; its own doc then tells of the others

    @property
    def presets(self) -> Mapping[str, Checked] | None:
        """Those of the command that is meant without a name."""
        return self.commands[self.default].presets if self.default else None

    def read(self, argv: Sequence[str]) -> Given:
        """What a command line says, the command's name included.

        Raises:
          ValueError: no command or an unknown one, and what Command.read raises.
        """
        name = argv[0] if argv else ""
        if self.default and name not in self.commands:
            return self.commands[self.default].read(argv)._replace(command=self.default)
        if name in ("-h", "--help"):
            lines = [f"  {self.prog} {name} --help" for name in self.commands]
            print("\n".join([self.doc.strip(), "", "how each is called:", *lines]))
            raise SystemExit(0)
        if name not in self.commands:
            raise ValueError(_unknown("command", name, self.commands))
        return self.commands[name].read(argv[1:])._replace(command=name)


class Parser(argparse.ArgumentParser):
    """argparse's, whose complaints are ValueErrors: they are told of in one line, as all others."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message.removeprefix("argument "))


class List(argparse.Action):
    """--list: a line for each preset, with what it sets otherwise than the defaults."""

    def __init__(self, option_strings: Any, dest: str, presets: Mapping[str, Checked], help: str, default: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=default, help=help)
        self.presets = presets

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        width = max(map(len, self.presets))
        for name, preset in self.presets.items():
            own = override(type(preset)(), vars(preset))[1]
            own = {k: v for k, v in own.items() if Mark.NO_FLAG not in fields_of(type(preset))[k].marks}
            print(f"{name:{width}}  {' '.join(as_flags(own))}".rstrip())
        parser.exit()


def unread_message(unread: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """What is said of words that are neither a flag nor a flag's value."""
    flag = next((word.partition("=")[0] for word in unread if word.startswith("-")), None)
    if flag is None:
        return f"{' '.join(unread)!r} is more than there is a place for; --help shows what is"
    close = difflib.get_close_matches(flag, parser._option_string_actions, n=1)
    return f"unknown option {flag!r}; " + (f"did you mean {close[0]!r}?" if close else "--help shows all")


def _named(cls: type, found: argparse.Namespace) -> dict[str, Any]:
    """The fields that were named, as values of their types."""
    named = {}
    for name, field in fields_of(cls).items():
        if hasattr(found, name) and Mark.NO_FLAG not in field.marks:
            given = getattr(found, name)
            named[name] = tuple(map(field.parse, given)) if field.length is not None else field.parse(given)
    return named


def _add(group: Any, field: Field, default: Any, *, both: bool) -> None:
    """A field as an argument: `both` ways where it is true or false, or only the flag that says yes."""
    words: dict[str, Any] = {"help": help_of(field, default).replace("%", "%%")}
    positional = Mark.PLACE in field.marks
    if field.kind is bool:
        words["action"] = argparse.BooleanOptionalAction if both else "store_true"
    else:
        words["metavar"] = metavar_of(field)
        if field.length is not None:
            words["nargs"] = field.length or ("*" if positional and default is not MISSING else "+")
        elif positional and default is not MISSING:
            words["nargs"] = "?"
        elif Mark.BARE in field.marks:
            words |= {"nargs": "?", "const": ""}
        if field.length == 0:
            words["action"] = "extend"
    if positional:
        group.add_argument(field.name, **words)
    else:
        group.add_argument(field.flag, dest=field.name, required=default is MISSING, **words)


def _place(field: Field) -> str:
    """DIR, or [DIR] where there is a default, or FILE ... where there may be several."""
    name = metavar_of(field) + " ..." * (field.length == 0)
    return name if field.default is MISSING else f"[{name}]"


def metavar_of(field: Field) -> str:
    """What a value is called: as it is marked, or by its type."""
    given = [mark for mark in field.marks if isinstance(mark, Metavar)]
    if given:
        return str(given[0])
    return "NAME" if field.names else METAVARS.get(field.kind, "PATH")


def help_of(field: Field, default: Any) -> str:
    """The field's help, what it must be, and its default: "units (at least 1; default 140)"."""
    notes = [bound.text for bound in field.bounds if bound.said]
    if field.names:
        notes.append(f"of {', '.join(field.names)}")
    if not isinstance(default, bool) and default not in (None, MISSING, (), ""):
        notes.append(f"default {' '.join(map(str, default)) if isinstance(default, tuple) else default}")
    return f"{field.help} ({'; '.join(notes)})".strip() if notes else field.help


def _unknown(kind: str, name: str, known: Any) -> str:
    from rnnjax.errors import unknown  # imports JAX, which only a mistake is worth

    return unknown(kind, name, known)
