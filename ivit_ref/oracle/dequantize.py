"""Dequantize on exact fractions and nested lists."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from ivit_ref.oracle.nested import Index, at, build, shape_of
from ivit_ref.oracle.rounding import float32


def dequantize(x: Any, *, scale: tuple[float, ...], axis: int, zero_point: int) -> Any:
    def element(index: Index) -> float:
        step = scale[index[axis] if len(scale) > 1 else 0]
        centred = float32(Fraction(at(x, index) - zero_point))
        magnitude = float32(abs(Fraction(centred) * Fraction(step)))
        # A product of zero has a sign too, which a fraction does not show.
        return -magnitude if (centred < 0) != (math.copysign(1.0, step) < 0) else magnitude

    return build(shape_of(x), element)
