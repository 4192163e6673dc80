"""Compilation is most of what tests do: these settings of XLA's CPU compiler halve it, and nothing here runs long."""

import os

import pytest

QUICK_TO_COMPILE = (
    " --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as experiments/__init__.py does, which says why
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + QUICK_TO_COMPILE


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the cache of whoever runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
