"""RequantizeAdd on plain Python ints and nested lists."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ivit_ref.oracle.nested import Index, at, broadcast, build, repeated, shape_of
from ivit_ref.oracle.rounding import rounded
from ivit_ref.oracle.widths import saturate


def requantize_add(
    a: Any,
    b: Any,
    *,
    a_multiplier: tuple[int, ...],
    a_shift: tuple[int, ...],
    b_multiplier: tuple[int, ...],
    b_shift: tuple[int, ...],
    rounding: str,
    rounds: str,
    axis: int,
    zero_point: int,
    dtype: str,
) -> Any:
    a_shape, b_shape = shape_of(a), shape_of(b)

    def element(index: Index) -> int:
        p = index[axis] if len(a_multiplier) > 1 else 0
        q = index[axis] if len(b_multiplier) > 1 else 0
        first = at(a, repeated(a_shape, index)) * a_multiplier[p]
        second = at(b, repeated(b_shape, index)) * b_multiplier[q]
        if rounds == "each":
            y = rounded(Fraction(first, 2 ** a_shift[p]), rounding) + rounded(Fraction(second, 2 ** b_shift[q]), rounding)
        else:
            y = rounded(Fraction(first + second, 2 ** a_shift[p]), rounding)
        return saturate(y + zero_point, dtype)

    return build(broadcast(a_shape, b_shape), element)
