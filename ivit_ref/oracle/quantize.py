"""Quantize on exact fractions and nested lists."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from ivit_ref.oracle.nested import at, build, shape_of
from ivit_ref.oracle.rounding import float32, rounded
from ivit_ref.oracle.widths import saturate

BEYOND_EVERY_DTYPE = 2**200


def quantize(x: Any, *, scale: float, zero_point: int, dtype: str, division: str) -> Any:
    factor = {"reciprocal": Fraction(float32(1 / Fraction(scale))), "direct": 1 / Fraction(scale)}[division]

    def element(value: float) -> int:
        quotient = float32(Fraction(value) * factor)
        if math.isinf(quotient):
            y = BEYOND_EVERY_DTYPE if quotient > 0 else -BEYOND_EVERY_DTYPE
        else:
            y = rounded(Fraction(quotient), "half_even") + zero_point
        return saturate(y, dtype)

    return build(shape_of(x), lambda index: element(at(x, index)))
