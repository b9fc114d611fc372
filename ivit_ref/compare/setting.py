"""One departure of a backend from a node, and what departures depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ivit_ref.ir import Attribute, Quant

ROW_OPERATORS = ("Shiftmax", "ShiftGELU", "ILayerNorm")
POWERS = (*range(-8, 0), *range(1, 9), -16, 16)
"""Powers of two that a scale or a result may be off by."""


@dataclass(frozen=True)
class Setting:
    """One departure from a node: other attributes, or choices outside them (see ``variants``), told as ``label``.

    Two settings of one ``parameter`` exclude each other. ``arranges``: the integers are the same, in other places.
    """

    parameter: str
    label: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)
    arranges: bool = False


@dataclass(frozen=True)
class Site:
    """What settings depend on: the operator, its attributes, what its inputs are worth, and its result."""

    op: str
    attributes: Mapping[str, Attribute]
    quants: tuple[Quant | None, ...]
    shape: tuple[int, ...]
    dtype: str
