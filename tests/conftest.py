"""Compilation is most of what tests do: on the CPU this level takes two thirds of the time."""

import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=1"
