"""Messages: short lists whole, of long ones the closest, and where all stand."""

import re

import pytest

from rnnjax import make_cell
from rnnjax.cells import CELLS
from rnnjax.errors import HANDFUL, LONG, unknown


def test_a_short_list_is_told_whole():
    assert unknown("mode", "fst", ["fast", "slow"]) == "unknown mode 'fst'; did you mean 'fast'? known: fast, slow"
    assert unknown("mode", "x", []) == "unknown mode 'x'; known: none"


def test_of_a_long_list_a_handful_is_told_and_where_all_are():
    assert len(CELLS) > LONG
    with pytest.raises(ValueError, match="unknown cell 'lstmm'; did you mean 'lstm'") as caught:
        make_cell("lstmm", 3)
    named = re.search("known: (.*), all in rnnjax/cells/README.md", str(caught.value))[1].split(", ")
    assert named[0] == "lstm"
    assert len(named) <= HANDFUL
    assert set(named) < set(CELLS)
    assert len(unknown("cell", "?", CELLS)) < 200
    assert "README" not in unknown("column", "?", map(str, range(100)))
