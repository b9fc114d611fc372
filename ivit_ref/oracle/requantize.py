"""Requantize on plain Python ints and nested lists."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ivit_ref.oracle.nested import Index, at, build, shape_of
from ivit_ref.oracle.rounding import rounded
from ivit_ref.oracle.widths import saturate


def requantize(
    x: Any,
    *,
    multiplier: tuple[int, ...],
    shift: tuple[int, ...],
    rounding: str,
    axis: int,
    zero_point: int,
    dtype: str,
) -> Any:
    def element(index: Index) -> int:
        channel = index[axis] if len(multiplier) > 1 else 0
        exact = Fraction(at(x, index) * multiplier[channel], 2 ** shift[channel])
        return saturate(rounded(exact, rounding) + zero_point, dtype)

    return build(shape_of(x), element)
