"""What a program asks of the system before anything large is imported."""

import os
import sys
from contextlib import suppress

from experiments.shared import stopping


def begin() -> None:
    """Attend to signals, and ask for memory in large pages; on Linux the process begins anew for that, once.

    Arrays of many megabytes are taken from the system anew in every step, in pages of 4 KiB. With large pages a
    training step of such arrays takes less time and computes the same. Where Linux gives them on request alone, its C
    library asks for them if the environment said so before the process began. With GLIBC_TUNABLES set to anything all
    is left as it is.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        stopping.hold()  # what comes in between is heard by the process that begins anew
        with suppress(OSError):
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    stopping.attend()
