"""What a suite of vectors is made of: groups of rows that share an operator's attributes, and calls that must be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ivit_ref.ir import Array, Attribute, Quant


@dataclass(frozen=True)
class Row:
    """One vector: what it is, and which bugs it hunts (names out of ``notes.NOTES``)."""

    comment: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Calls of one operator with the same attributes, stacked into one call.

    ``inputs`` are the arrays by the operator's own input names. Those in ``stacked`` hold one row for each index of their
    leading axis; the others are shared. Where nothing is stacked, the group is one vector. ``quants`` says what inputs are
    worth, where a scale was the reason for an attribute (i0). ``profile`` is the one that the attributes come from; "" where
    none has a say.
    """

    name: str
    comment: str
    op: str
    profile: str
    inputs: Mapping[str, Array]
    attributes: Mapping[str, Attribute]
    rows: tuple[Row, ...]
    stacked: tuple[str, ...] = ()
    quants: Mapping[str, Quant] = field(default_factory=dict)

    @property
    def case_id(self) -> str:
        """The name of its case."""
        return "_".join(filter(None, ("test", self.profile, self.name)))


def flags_of(group: Group) -> tuple[str, ...]:
    """All flags of its rows."""
    return tuple(sorted({flag for row in group.rows for flag in row.flags}))


@dataclass(frozen=True)
class Refusal:
    """A call that must not be answered: it breaks the constraint of that label, ``Shiftmax (C2)``."""

    comment: str
    op: str
    inputs: Mapping[str, Array]
    attributes: Mapping[str, Attribute]
    label: str
