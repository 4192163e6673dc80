"""What people run: a loose file is a sweep of gates, a folder is a program, `python -m experiments.NAME`."""

import os

# LAPACK (SVD, QR, eigenvalues) comes to JAX from SciPy's OpenBLAS, which has threads of its own and waits for them in a
# busy loop. Beside XLA's threads, and on a machine with other work, that turns the 4 ms of a 128 x 128 SVD into
# seconds: a program seems to hang. It reads this once, when it is loaded, so before anything else here is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
