"""The table of all cells, made from their docstrings and from the cells themselves."""

import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from rich.console import Console

from experiments.shared.numbers import markdown
from rnnjax.cell import Cell
from rnnjax.cells import CELLS
from rnnjax.harvesting import harvest

BEGIN, END = "<!-- cells: python -m experiments.zoo.cell_table -->", "<!-- end of cells -->"
I = H = 64  # the sizes that parameters and states are counted at
HEADER = ["cell", "what it is", "paper", "gates", "parameters", "state", "parallel in time"]
PAPER = re.compile(r"([A-Z][\w.\-’' ,&]*?(?: et al\.)?),? ((?:19|20)\d\d)")


def reference(factory: Callable[..., Cell]) -> str:
    """ "Cho et al. 2014, arXiv:1406.1078" from the docstring; of a partial without one, from its parent's.

    Raises:
      ValueError: no authors and year in it.
    """
    text = " ".join(inspect.getdoc(factory).split())
    text = text.partition("Reference: ")[2] or text.partition(" (")[2] or text
    if not PAPER.search(text) and isinstance(factory, functools.partial):
        return reference(factory.func)
    found = PAPER.search(text)
    if found is None:
        raise ValueError(f"no authors and year in the reference {text!r}")
    authors, year = found.groups()
    authors = re.sub(r"^.*\bof ", "", authors).strip()
    if authors.count(",") + authors.count("&") > 1:
        authors = authors.split(",")[0] + " et al."
    number = re.search(r"arXiv:(\d{4}\.\d{4,5})", text.partition(";")[0])
    link = f"[{authors} {year}](https://arxiv.org/abs/{number[1]})" if number else f"{authors} {year}"
    return link


def gates(cell: Cell) -> str:
    """The gates by the names they have in a step; a stack's numbering left out."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    found = jax.eval_shape(lambda p: harvest(cell, p, jnp.zeros((1, I))), params)
    labels = dict.fromkeys(label.split("/")[0] for label in found)
    return ", ".join(label.removesuffix("_gate") for label in labels if label.endswith("_gate"))


def row(name: str) -> list[str]:
    """What the table says of one cell."""
    factory = CELLS[name]
    cell = factory(H)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), I))
    state = jax.eval_shape(lambda p: cell.initial_carry(p, ()), params)
    size = sum(leaf.size * (1 + jnp.issubdtype(leaf.dtype, jnp.complexfloating)) for leaf in jax.tree.leaves(state))
    return [
        f"`{name}`",
        re.split(r"(?<=\w)[.:;](?:\s|$)| \(", inspect.getdoc(factory))[0].replace("\n", " "),
        reference(factory),
        gates(cell),
        f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,}",
        f"{size:,}",
        "yes" if cell.linear else "",
    ]


def table() -> str:
    return markdown(HEADER, [row(name) for name in CELLS])


def with_table(readme: str) -> str:
    """A README's text with the table between its two marks.

    Raises:
      ValueError: the marks are not there.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def run(console: Console) -> None:
    """Write the table."""
    path = Path(__file__).parents[2] / "rnnjax" / "cells" / "README.md"
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
    console.print(str(path), markup=False)
