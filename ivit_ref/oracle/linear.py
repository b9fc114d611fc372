"""Linear on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import Index, at, build, shape_of
from ivit_ref.oracle.widths import fit


def linear(x: Any, weight: Any, bias: Any, *, overflow: str = "raise") -> Any:
    *leading, inner = shape_of(x)

    def element(index: Index) -> int:
        *place, o = index
        row = at(x, tuple(place))
        return fit(bias[o] + sum(row[k] * weight[o][k] for k in range(inner)), 32, overflow=overflow)

    return build((*leading, len(weight)), element)
