"""How directed and random groups are put together, so that every file beside this one is a list of cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ivit_ref import dyadic
from ivit_ref.events import Context, Event, Kind
from ivit_ref.golden.group import Group, Row
from ivit_ref.ir import Array, Attribute, Quant
from ivit_ref.registry import REGISTRY

OF_EVENTS: Mapping[Kind, str] = {
    "saturated": "saturation",
    "clamped": "clamp",
    "wrapped": "overflow",
    "not_converged": "not-converged",
}
"""The flags that say what a row does, not what it is: they depend on the profile, so the row is run and asked."""


@dataclass(frozen=True)
class Case:
    """A row before it is an array: its comment, its flags, and its values for each stacked input in order."""

    comment: str
    flags: tuple[str, ...]
    values: tuple[Any, ...]


def case(comment: str, flags: str, *values: Any) -> Case:
    """A case; its flags in one string."""
    return Case(comment, tuple(flags.split()), values)


def stacked(
    op: str,
    profile: str,
    name: str,
    comment: str,
    dtypes: str,
    cases: Sequence[Case],
    attributes: Mapping[str, Attribute],
    *,
    scale: float | None = None,
    **shared: Array,
) -> Group:
    """A group with a row for each case; ``dtypes`` are those of the stacked inputs, in one string."""
    names = [n for n in REGISTRY[op].inputs if n not in shared]
    columns = zip(names, dtypes.split(), zip(*(c.values for c in cases), strict=True), strict=True)
    arrays = {n: np.array(values, dtype) for n, dtype, values in columns}
    inputs = {n: arrays[n] if n in arrays else shared[n] for n in REGISTRY[op].inputs}
    rows = tuple(Row(c.comment, c.flags) for c in cases)
    quants = {} if scale is None else {names[0]: Quant((scale,))}
    return observed(Group(name, comment, op, profile, inputs, attributes, rows, tuple(names), quants))


def single(
    op: str, profile: str, name: str, comment: str, flags: str, attributes: Mapping[str, Attribute], **inputs: Array
) -> Group:
    """A group that is one vector: nothing is stacked."""
    row = Row(comment, tuple(flags.split()))
    return observed(Group(name, comment, op, profile, inputs, attributes, (row,)))


def calls(group: Group) -> Iterator[tuple[Array, ...]]:
    """The inputs of the operator, once for each row."""
    for i in range(len(group.rows)):
        yield tuple(x[i] if name in group.stacked else x for name, x in group.inputs.items())


def events_of(group: Group, arrays: Sequence[Array]) -> list[Event]:
    """What happens on the way, when these inputs are run and may wrap."""
    events: list[Event] = []
    REGISTRY[group.op].run(arrays, group.attributes, Context(overflow="wrap", op=group.op, emit=events.append))
    return events


def observed(group: Group) -> Group:
    """The group with the flags of what its rows do."""
    rows = []
    for row, arrays in zip(group.rows, calls(group), strict=True):
        seen = {OF_EVENTS[event.kind] for event in events_of(group, arrays)}
        rows.append(replace(row, flags=(*row.flags, *sorted(seen - set(row.flags)))))
    return replace(group, rows=tuple(rows))


def ends(dtype: str) -> tuple[int, int]:
    """The smallest and the largest value of an integer dtype."""
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def filled(values: Sequence[int], length: int) -> list[int]:
    """The values, and the last one again until there are ``length``."""
    return [*values, *[values[-1]] * length][:length]


def named(scale: float) -> str:
    """A scale within a name: 0.05 as ``s0_05``."""
    return "s" + f"{scale:.5f}".rstrip("0").replace(".", "_")


def step(scale: float) -> float:
    """The scale as the float32 that a checkpoint holds."""
    return dyadic.float32(scale)


def power(x: int) -> int:
    """``p`` of ShiftExp, before it is clamped: the exponent of two."""
    return x + (x >> 1) - (x >> 4)


def multiples(i0: int, low: int) -> list[int]:
    """The x from 0 down to ``low`` at which p is a whole multiple of i0: no rest, and q steps there."""
    return [x for x in range(0, low - 1, -1) if power(x) % i0 == 0]


def first_below(p: int, low: int) -> int | None:
    """The largest x from ``low`` on whose exponent of two is at most ``p``; None where there is none."""
    return next((x for x in range(0, low - 1, -1) if power(x) <= p), None)
