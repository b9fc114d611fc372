"""Making cases: run once, confirm by the second computation, write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from ivit_ref.errors import InputError
from ivit_ref.golden.case import MODEL, ON_DEMAND, TENSORS, Case, Role, evaluated, recorded
from ivit_ref.golden.directed import groups, profiled
from ivit_ref.golden.directed.making import OF_EVENTS
from ivit_ref.golden.group import Group, flags_of
from ivit_ref.golden.random_groups import random_groups
from ivit_ref.golden.recipe import node_graph
from ivit_ref.golden.second import confirm
from ivit_ref.ir import Array, Graph

MOST_RANDOM = 10**5

MODELS = "models"
"""The suite of cases that are whole models or parts of one."""


def group_case(group: Group, generator: Mapping[str, Any], *, digests: bool = False) -> Case:
    """The case of a group of vectors."""
    graph, inputs = node_graph(group)
    return made_case(
        graph,
        inputs,
        id=group.case_id,
        suite=group.op,
        comment=group.comment,
        flags=flags_of(group),
        profile=group.profile,
        generator=generator,
        tensors=None if digests else "all",
        rows=() if digests else group.rows,
        stacked=() if digests else group.stacked,
    )


def suite_cases(op: str, profiles: Iterable[str], random: int, seed: int, *, digests: bool = False) -> Iterator[Case]:
    """The vectors of an operator: directed ones, then about so many random ones for each profile.

    Of an operator in which profiles have no say, each vector is there once.
    """
    for profile in ["", *profiles] if profiled(op) else [""]:
        for group in groups(op, profile):
            yield group_case(group, {"kind": "directed"})
        if random and (profile or not profiled(op)):
            for group in random_groups(op, profile, seed, random):
                recipe = {"kind": "random", "seed": seed, "count": random, "name": group.name}
                yield group_case(group, recipe, digests=digests)


def check_random(random: int, seed: int, who: str) -> None:
    """How many random vectors there may be, and from which seed."""
    for what, value, highest in (("random", random, MOST_RANDOM), ("seed", seed, 2**32 - 1)):
        if type(value) is not int or not 0 <= value <= highest:
            raise InputError(f"{who}{what} must be from 0 to {highest}, but found {value}")


def made_case(
    graph: Graph, inputs: Mapping[str, Array], *, generator: Mapping[str, Any], tensors: str | None = "all", **facts: Any
) -> Case:
    """A confirmed case, whose flags are those of its events unless given.

    ``tensors``: all, outputs, a pattern of names; None keeps digests alone.
    """
    values, events = evaluated(graph, inputs)
    facts.setdefault("flags", tuple(sorted({OF_EVENTS[event.kind] for event in events})))
    by = confirm(graph, values)

    def where(name: str, role: Role) -> str:
        if tensors is None:
            return ON_DEMAND
        if role == "constant":
            return MODEL
        return TENSORS if role == "input" or _kept(name, role, tensors) else ON_DEMAND

    records = recorded(graph, values, where)
    if tensors not in (None, "all", "outputs") and not any(fnmatchcase(r.name, tensors) for r in records if r.node):
        raise InputError(f"--tensors: must be all, outputs or a pattern that a tensor has, but found {tensors!r}")
    return Case(
        generator=generator,
        confirmed_by=by,
        graph=graph,
        records=records,
        events=events,
        tensors=MappingProxyType(values),
        **facts,
    )


def _kept(name: str, role: Role, tensors: str) -> bool:
    return tensors == "all" or role == "output" or (tensors != "outputs" and fnmatchcase(name, tensors))
