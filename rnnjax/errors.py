"""Messages for names that are not known."""

import difflib
from collections.abc import Iterable

LONG = 30  # names that a message still lists
HANDFUL = 6  # of a longer list
WHERE = {"cell": "rnnjax/cells/README.md"}  # what says of all of a kind whose list is long


def unknown(kind: str, given: str, known: Iterable[str]) -> str:
    """unknown method 'adm'; did you mean 'adam'? known: adam, sgd; of a long list only the closest."""
    known = list(known)
    close = difflib.get_close_matches(str(given), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    if len(known) <= LONG:
        return f"unknown {kind} {given!r}{hint} known: {', '.join(known) or 'none'}"
    near = difflib.get_close_matches(str(given), known, n=HANDFUL, cutoff=0.4) or known[:HANDFUL]
    where = f", all in {WHERE[kind]}" if kind in WHERE else ""
    return f"unknown {kind} {given!r}{hint} among the {len(known)} known: {', '.join(near)}{where}"
