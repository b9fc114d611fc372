"""What a backend is tried on: a call of an operator, as a golden case."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from ivit_ref.errors import ConstraintError, IntegerOverflow
from ivit_ref.golden.case import Case
from ivit_ref.golden.directed import profiled
from ivit_ref.golden.directed.making import observed
from ivit_ref.golden.group import Group, Row
from ivit_ref.golden.make import group_case
from ivit_ref.ir import Array, Attribute, Quant, TensorType
from ivit_ref.profiles import PROFILES
from ivit_ref.registry import lookup
from ivit_ref.scales import follow_from_profile
from ivit_ref.testing.calls import calls
from ivit_ref.testing.rows import rows
from ivit_ref.testing.values import scales

SCALED = ("ShiftExp", "Shiftmax", "ShiftGELU")
"""Operators whose attributes follow from what a step of the input is worth, in a profile."""


@dataclass(frozen=True)
class Example:
    """A call: the operator's arrays and attributes, and what a step of x is worth where that was the reason for them."""

    op: str
    profile: str
    arrays: tuple[Array, ...]
    attributes: dict[str, Attribute]
    scale: float | None = None

    def case(self) -> Case:
        """The golden case of this call, confirmed by the twin; its id is made of its contents."""
        definition = lookup(self.op)
        definition.result_type([TensorType(str(a.dtype), a.shape) for a in self.arrays], self.attributes)
        names = definition.inputs
        inputs = dict(zip(names, self.arrays, strict=True))
        total = hashlib.sha256(repr((self.op, sorted(self.attributes.items()))).encode())
        for array in self.arrays:
            total.update(repr((str(array.dtype), array.tolist())).encode())
        quants = {} if self.scale is None else {names[0]: Quant((self.scale,))}
        row = (Row("found by a search"),)
        name, comment = f"fuzz_{total.hexdigest()[:8]}", "a backend was wrong here"
        group = Group(name, comment, self.op, self.profile, inputs, self.attributes, row, (), quants)
        return group_case(observed(group), {"kind": "graph"})

    def at(self, scale: float) -> Example:
        """The same arrays, with what the profile gives for another scale."""
        return replace(self, attributes=attributes_at(self.op, self.profile, scale), scale=scale)


def attributes_at(op: str, profile: str, scale: float) -> dict[str, Attribute]:
    """What a profile writes into a node whose input has steps of that worth."""
    return follow_from_profile(op, PROFILES[profile], {}, [Quant((scale,))])


def answered(example: Example) -> Case | None:
    """The case of an example; None for a row that the operator refuses: no backend is given that."""
    try:
        return example.case()
    except (ConstraintError, IntegerOverflow):
        return None


@st.composite
def examples(draw: st.DrawFn, op: str, profile: str | None) -> Example:
    """Calls of an operator in a profile, with the scale where attributes follow from it; without one, with any attributes."""
    if profile and op in SCALED:
        scale = draw(scales())
        return Example(op, profile, (draw(rows(op)),), attributes_at(op, profile, scale), scale)
    arrays, attributes = draw(calls(op, profile=profile))
    return Example(op, profile if profile and profiled(op) else "", arrays, attributes)
