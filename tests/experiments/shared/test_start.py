"""The environment that programs begin in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("3", "3")])
def test_lapack_waits_for_no_threads_of_its_own(given, expected):
    """Set by the package, so before any program of it loads SciPy; what the user says holds."""
    name = "OPENBLAS_NUM_THREADS"
    environment = {key: value for key, value in os.environ.items() if key != name} | ({name: given} if given else {})
    code = f"import experiments, os, sys; print(os.environ['{name}'], 'scipy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.split() == [expected, "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is asked for large pages")
@pytest.mark.parametrize(("given", "expected"), [(None, "glibc.malloc.hugetlb=1"), ("", "")])
def test_a_program_begins_anew_with_large_pages(tmp_path, given, expected):
    """With its arguments as they were; what the user says holds."""
    name = "GLIBC_TUNABLES"
    (tmp_path / "mine.py").write_text(f"import os, sys\nprint([os.environ['{name}'], *sys.argv[1:]])\n")
    environment = {key: value for key, value in os.environ.items() if key != name}
    environment |= {"PYTHONPATH": str(ROOT)} | ({} if given is None else {name: given})
    arguments = ["--cell", "mine:missing", "--dataset", "a b.csv"]
    command = [sys.executable, "-m", "experiments.classify", *arguments]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.stdout.splitlines() == [str([expected, *arguments])]
    assert found.returncode == 2
    assert "unknown factory in mine 'missing'" in found.stderr
