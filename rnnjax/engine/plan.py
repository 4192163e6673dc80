"""Where weights meet what changes over time in a step, and what the forward pass keeps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from rnnjax.jaxprs import SLOPES, Equation, Program


class Site(NamedTuple):
    """An equation in which a weight meets something that changes over time: a product, or the addition of a bias."""

    weight: int  # position in Plan.weights
    weight_at: int  # which operand it is
    operand: Any  # the other one
    sink: int  # the sum in which the result ends; its cotangent is the site's
    is_product: bool
    sees_carry: bool  # whether the other operand depends on the carry


class Weight(NamedTuple):
    value: int  # a value constant over time
    narrow: Any  # dtype it is cast to for the product; its gradient is added up in its own


class Plan(NamedTuple):
    program: Program
    sites: dict[int, Site]  # by position of their equation
    weights: list[Weight]
    sinks: list[int]
    saved: list[int]  # values stored by the forward pass beside the carries
    shared: dict[int, int]  # leaf of the carry -> leaf of ys that is the same after every step
    by_output: dict[int, int]  # position of a function of SLOPES -> shared leaf of the carry that is its output
    direct_consts: list[int]  # constants that act on the step also elsewhere than at a site, or as part of a weight
    direct_inputs: list[int]


def make_plan(program: Program, save_named: bool) -> Plan:
    equations, is_float = program.equations, lambda v: jnp.issubdtype(program.avals[v].dtype, jnp.inexact)
    changes, carried = set(program.carry) | set(program.inputs), set(program.carry)
    producer: dict[int, Equation] = {}
    users: dict[int, list[Equation]] = {}
    for equation in equations:
        for group in (changes, carried):
            if group.intersection(atom for atom in equation.inputs if isinstance(atom, int)):
                group.update(equation.outputs)
        for atom in equation.inputs:
            if isinstance(atom, int):
                users.setdefault(atom, []).append(equation)
        producer |= dict.fromkeys(equation.outputs, equation)
    returned = {atom for atom in (*program.carry_out, *program.ys) if isinstance(atom, int)}

    def sink(value: int) -> int:
        """The end of the chain of additions that a value goes through and does nothing else."""
        while value not in returned and len(users.get(value, ())) == 1:
            (user,) = users[value]
            if not user.is_sum and user.label is None:
                break
            if program.avals[user.outputs[0]].shape != program.avals[value].shape:
                break
            (value,) = user.outputs
        return value

    weights: list[Weight] = []

    def weight(value: int) -> int:
        source, narrow = value, None
        made_by = producer.get(value)
        if made_by is not None and made_by.is_cast:
            (before,) = made_by.inputs
            if isinstance(before, int) and is_float(before):
                source, narrow = before, program.avals[value].dtype
        if Weight(source, narrow) not in weights:
            weights.append(Weight(source, narrow))
        return weights.index(Weight(source, narrow))

    # From the last equation to the first: which values have a tangent inside the scan?
    sites: dict[int, Site] = {}
    inside = {atom for atom in returned if is_float(atom)}

    def visit(position: int, product_sinks: set[int] | None) -> None:
        equation = equations[position]
        if not inside.intersection(equation.outputs):
            return
        site = _site(equation, changes, is_float)
        if site is not None and (product_sinks is None or site[2] or sink(equation.outputs[0]) in product_sinks):
            weight_at, operand, is_product = site
            sites[position] = Site(
                weight(equation.inputs[weight_at]),
                weight_at,
                operand,
                sink(equation.outputs[0]),
                is_product,
                operand in carried,
            )
            if not is_product or operand in carried:
                inside.add(operand)
        else:
            inside.update(atom for atom in equation.inputs if isinstance(atom, int) and is_float(atom))

    backwards = range(len(equations) - 1, -1, -1)
    product_sinks = {
        sink(equation.outputs[0])
        for equation in equations
        if (found := _site(equation, changes, is_float)) is not None and found[2]
    }
    for position in backwards:
        visit(position, product_sinks)

    named = [equation.outputs[0] for equation in equations if equation.label == "preactivation"]
    shared = {
        leaf: program.ys.index(atom)
        for leaf, atom in enumerate(program.carry_out)
        if isinstance(atom, int) and atom in program.ys
    }
    by_output = {
        position: leaf
        for position, equation in enumerate(equations)
        for leaf in shared
        if equation.kind in SLOPES and equation.outputs[0] == program.carry_out[leaf]
    }
    known_by_output = {equations[position].outputs for position in by_output}

    def is_told(value: int) -> bool:
        """Whether it is of use to nothing but functions that are known by their output."""
        return value not in returned and all(user.outputs in known_by_output for user in users.get(value, ()))

    saved = [value for value in named if value in changes and value in inside and not is_told(value)]
    return Plan(
        program=program,
        sites=sites,
        weights=weights,
        sinks=sorted({site.sink for site in sites.values()}),
        saved=saved if save_named else [],
        shared=shared,
        by_output=by_output,
        direct_consts=[i for i, value in enumerate(program.consts) if value in inside],
        direct_inputs=[i for i, value in enumerate(program.inputs) if value in inside],
    )


def _site(equation: Equation, changes: set[int], is_float: Callable) -> tuple[int, Any, bool] | None:
    """(which operand is constant over time, the other one, whether it is a product), if the equation is a site."""
    if not (equation.is_product or equation.is_sum) or not all(isinstance(atom, int) for atom in equation.inputs):
        return None
    constant = [atom not in changes for atom in equation.inputs]
    if sum(constant) != 1 or not all(map(is_float, equation.inputs)):
        return None
    at = constant.index(True)
    return at, equation.inputs[1 - at], equation.is_product
