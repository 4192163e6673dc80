"""Where files of the user's are kept, and how they are written whole."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """The folder for what can be made again: rnnjax in $XDG_CACHE_HOME, %LOCALAPPDATA% or ~/.cache."""
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rnnjax"
