"""Quantize on exact fractions and nested lists."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from tests.oracle.nested import at, build, shape_of
from tests.oracle.rounding import float32, rounded
from tests.oracle.widths import saturate

BEYOND_EVERY_DTYPE = 2**200


def quantize(x: Any, *, scale: float, zero_point: int, dtype: str) -> Any:
    reciprocal = float32(1 / Fraction(scale))

    def element(value: float) -> int:
        product = float32(Fraction(value) * Fraction(reciprocal))
        if math.isinf(product):
            y = BEYOND_EVERY_DTYPE if product > 0 else -BEYOND_EVERY_DTYPE
        else:
            y = rounded(Fraction(product), "half_even") + zero_point
        return saturate(y, dtype)

    return build(shape_of(x), lambda index: element(at(x, index)))
