"""Compilation is most of what tests do: these settings of XLA's CPU compiler halve it, and nothing here runs long."""

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

QUICK_TO_COMPILE = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)


def known(flags: Sequence[str]) -> bool:
    """Whether this jaxlib has these flags: it aborts the process on one it does not know, so another process asks."""
    ask = [sys.executable, "-c", "import jax; jax.devices()"]
    environment = os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(ask, env=environment, capture_output=True, check=False).returncode == 0


os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as experiments/__init__.py does, which says why
if os.environ.get("RNNJAX_TEST_XLA_FLAGS") is None:  # once: worker processes inherit the answer
    os.environ["RNNJAX_TEST_XLA_FLAGS"] = " ".join(
        QUICK_TO_COMPILE if known(QUICK_TO_COMPILE) else [flag for flag in QUICK_TO_COMPILE if known([flag])]
    )
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {os.environ['RNNJAX_TEST_XLA_FLAGS']}".strip()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the cache of whoever runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
