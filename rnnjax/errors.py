"""Messages for names that are not known."""

import difflib
from collections.abc import Iterable


def unknown(kind: str, given: str, known: Iterable[str]) -> str:
    """unknown cell 'lstmm'; did you mean 'lstm'? known: elman, gru, ..."""
    known = list(known)
    close = difflib.get_close_matches(str(given), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"unknown {kind} {given!r}{hint} known: {', '.join(known) or 'none'}"
