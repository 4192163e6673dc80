"""The house: a file imports only from floors below its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    {"cell", "initializers", "errors", "ragged", "engine", "intercept", "linear"},
    {"cells", "unroll"},
    {
        *("compose", "deep", "wrappers", "harvest", "newton", "gradients", "hopfield"),
        *("tasks", "data", "piano_rolls", "series", "text", "word_vectors"),
    },
    {"model", "checkpoint", "parallel", "remedies"},
    {"train", "decode", "seq2seq"},
    {"interop"},
)
FLOOR = {unit: floor for floor, units in enumerate(FLOORS) for unit in units}
# Inside a folder files import each other as they like. Between neighbours on one floor there is a single door:
DOORS = {
    ("gradients", "harvest"),  # gates at work are harvested
    ("tasks", "data"),  # a task on real data reads it
    ("tasks", "text"),
    ("tasks", "word_vectors"),
    ("text", "data"),  # texts come from a data set
    ("word_vectors", "text"),  # vectors of the words of a vocabulary
}
FRONT_DOOR = "rnnjax"  # rnnjax/__init__.py imports what people use; nothing inside imports it

FILES = sorted((ROOT / "rnnjax").rglob("*.py"))


def unit_of(module: str) -> str:
    """rnnjax.cells.lstm -> cells: the part of the house a module stands in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else FRONT_DOOR


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports(source: str, where: str) -> set[str]:
    """The modules a source text imports, anywhere in it; `from a import b` is a.b where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{where}: relative import; write the whole name"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if is_module(name) else node.module for name in inner}
    return found


def faults(module: str, source: str) -> list[str]:
    """The imports of a module that its floor does not allow."""
    unit, wrong = unit_of(module), []
    for imported in sorted(imports(source, module)):
        package = imported.split(".")[0]
        target = unit_of(imported)
        if package in ("experiments", "tests"):
            wrong.append(f"{module} imports {imported}: the library knows nothing of {package}")
        if package != "rnnjax" or unit in (FRONT_DOOR, target) or (unit, target) in DOORS:
            continue
        if target == FRONT_DOOR:
            wrong.append(f"{module} imports the front door; name the module instead")
        elif FLOOR[target] >= FLOOR[unit] and not _basement(unit, target):
            wrong.append(f"{module} (floor {FLOOR[unit]}) imports {imported} (floor {FLOOR[target]})")
    return wrong


def _basement(unit: str, target: str) -> bool:
    """Floor 0 is a handful of helpers: they may lean on each other, Python itself forbids a circle."""
    return FLOOR[unit] == FLOOR[target] == 0


@pytest.mark.parametrize("path", FILES, ids=[module_of(path) for path in FILES])
def test_imports_run_down(path):
    module = module_of(path)
    assert module == FRONT_DOOR or unit_of(module) in FLOOR, f"{module} has no floor yet: give it one in FLOORS"
    assert faults(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "allowed"),
    [
        ("rnnjax.cells.lstm", "from rnnjax.cell import Cell", True),
        ("rnnjax.cells.lstm", "from rnnjax.cells.gru import gru", True),
        ("rnnjax.cells.lstm", "from rnnjax.unroll import unroll", False),
        ("rnnjax.unroll", "from rnnjax.cells import CELLS", False),
        ("rnnjax.unroll", "def f():\n    import rnnjax.cells.lstm", False),
        ("rnnjax.compose", "from rnnjax import unroll", True),
        ("rnnjax.compose", "from rnnjax.harvest import harvest", False),
        ("rnnjax.compose", "from rnnjax import lstm", False),
        ("rnnjax.tasks.mnist", "from rnnjax import data", True),
        ("rnnjax.data", "from rnnjax.tasks import make_task", False),
        ("rnnjax.model", "from rnnjax.train import make_train", False),
        ("rnnjax.train", "from experiments.spec import Trial", False),
        ("rnnjax", "from rnnjax.train import make_train", True),
    ],
)
def test_the_rule_tells_up_from_down(module, source, allowed):
    assert (faults(module, source) == []) == allowed


def test_importing_the_library_is_light():
    heavy = {"datasets", "flax", "pandas", "matplotlib", "experiments", "torch"}
    code = f"import sys, rnnjax; print(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_everything_named_by_the_front_door_is_there():
    import rnnjax

    assert len(set(rnnjax.__all__)) == len(rnnjax.__all__)
    assert all(hasattr(rnnjax, label) for label in rnnjax.__all__)
