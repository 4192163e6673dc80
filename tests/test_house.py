"""The house: who imports whom (the contracts of pyproject.toml), how light it is to enter, and what the door names."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(folder: Path) -> subprocess.CompletedProcess:
    """The contracts of a folder's pyproject.toml, in a process of their own: they take over standard output."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_imports_run_down():
    found = lint(ROOT)
    assert found.returncode == 0, found.stdout + found.stderr


def test_an_import_that_runs_up_is_told(tmp_path):
    """The contracts see: a copy of the house in which one file imports from the floor above does not pass."""
    for package in ("rnnjax", "experiments"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    cell = tmp_path / "rnnjax" / "cells" / "elman.py"
    cell.write_text(cell.read_text(encoding="utf-8") + "\nimport rnnjax.unrolling\n", encoding="utf-8")
    found = lint(tmp_path)
    assert found.returncode == 1
    assert "rnnjax.cells.elman -> rnnjax.unrolling" in found.stdout


@pytest.mark.parametrize("package", ["rnnjax", "experiments", "tests"])
def test_no_import_is_relative(package):
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: write the whole name"


def test_importing_the_library_is_light():
    heavy = {"datasets", "flax", "pandas", "matplotlib", "experiments", "torch"}
    code = f"import sys, rnnjax; print(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_everything_named_by_the_front_door_is_there_and_is_no_submodule():
    import rnnjax

    assert len(set(rnnjax.__all__)) == len(rnnjax.__all__)
    assert all(hasattr(rnnjax, label) for label in rnnjax.__all__)
    submodules = {path.stem for path in (ROOT / "rnnjax").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert submodules.isdisjoint(rnnjax.__all__)


@pytest.mark.parametrize("path", [*(ROOT / "rnnjax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")])
def test_no_file_is_long_without_a_reason_said_in_its_head(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400 or "Long because" in (ast.get_docstring(ast.parse(text)) or ""), path
