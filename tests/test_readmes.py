"""What the READMEs say works: every block of Python runs, every command is one its program knows."""

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "rnnjax/README.md", "rnnjax/cells/README.md", "results/README.md"]
READMES += ["experiments/README.md", "experiments/sweep/README.md"]


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / readme).read_text(encoding="utf-8"), re.M | re.S)


def commands() -> list[tuple[str, str]]:
    found = []
    for readme in READMES:
        text = (ROOT / readme).read_text(encoding="utf-8")
        lines = [line for block in blocks(readme, "sh") for line in block.splitlines()]
        lines += re.findall(r"`(python -m experiments\.[a-z][^`]*)`", text)
        found += [(readme, match[0]) for line in lines if (match := re.search(r"python -m experiments\S*[^#]*", line))]
    return sorted(set(found))


@pytest.mark.parametrize("readme", [readme for readme in READMES if "```python" in (ROOT / readme).read_text("utf-8")])
def test_python_runs_from_top_to_bottom(readme, tmp_path):
    """In a process and a folder of its own; what needs a library that is not installed is left out from there on."""
    code = "\n".join(blocks(readme, "python"))
    roots = {name.split(".")[0] for node in ast.walk(ast.parse(code)) for name in imported(node)}
    missing = [name for name in roots if importlib.util.find_spec(name) is None]
    for name in missing:
        code = code[: code.index(f"import {name}")]
    (tmp_path / "results").symlink_to(ROOT / "results")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code]
    found = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


@cache
def help_of(*words: str) -> str:
    """What a program, or a command of one, says of its options."""
    found = subprocess.run(
        [sys.executable, "-m", *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return found.stdout


@pytest.mark.parametrize(("readme", "command"), commands())
def test_commands_are_such_as_their_programs_know(readme, command):
    words = shlex.split(command.split("|")[0])
    module, rest = words[2], words[3:]
    subcommand = rest[:1] if rest and f"{module} {rest[0]} --help" in help_of(module) else []
    known = help_of(module, *subcommand) if subcommand else help_of(module)
    for flag in (word.split("=")[0] for word in rest if word.startswith("--")):
        assert re.search(rf"{re.escape(flag)}\b", known), f"{readme}: {command}: {module} has no {flag}"


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme):
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / readme).read_text(encoding="utf-8")):
        assert (ROOT / readme).parent.joinpath(target).exists(), f"{readme}: {target}"
