"""Mul on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import Index, at, broadcast, build, repeated, shape_of
from ivit_ref.oracle.widths import fit


def mul(a: Any, b: Any, *, overflow: str = "raise") -> Any:
    a_shape, b_shape = shape_of(a), shape_of(b)

    def element(index: Index) -> int:
        return fit(at(a, repeated(a_shape, index)) * at(b, repeated(b_shape, index)), 32, overflow=overflow)

    return build(broadcast(a_shape, b_shape), element)
