"""What people run: one file per experiment, and the programs around them."""

import os
import sys
from contextlib import suppress

# LAPACK (SVD, QR, eigenvalues) comes to JAX from SciPy's OpenBLAS, which has threads of its own and waits for them in a
# busy loop. Beside XLA's threads, and on a machine with other work, that turns the 4 ms of a 128 x 128 SVD into
# seconds: a program seems to hang. It reads this once, when it is loaded, so before anything else here is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Arrays of many megabytes are taken from the system anew in every step, in pages of 4 KiB. With large pages a training
# step of such arrays takes about 0.92 of the time and computes the same. Where Linux gives them on request alone, its C
# library asks for them if the environment said so before the process began: so a program (`python -m`, whose argv[0] is
# "-m" while its package is imported) begins anew, once. With GLIBC_TUNABLES set to anything all is left as it is.
if sys.platform == "linux" and sys.argv[0] == "-m" and "GLIBC_TUNABLES" not in os.environ:
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    with suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
