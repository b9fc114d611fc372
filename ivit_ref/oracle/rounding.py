"""The rounding rules on exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction


def rounded(value: Fraction, rounding: str) -> int:
    """``value`` as an integer, by the rule of that name."""
    if rounding == "floor":
        return math.floor(value)
    if rounding == "truncate":
        return math.trunc(value)
    if rounding == "half_up":
        return math.floor(value + Fraction(1, 2))
    if rounding == "half_away":
        magnitude = math.floor(abs(value) + Fraction(1, 2))
        return magnitude if value > 0 else -magnitude
    if rounding == "half_even":
        return round(value)
    raise AssertionError(rounding)


def float32(value: Fraction) -> float:
    """The nearest float32, ties to even; infinite from half a step beyond the largest one on."""
    if value == 0:
        return 0.0
    exponent = max(-126, value.numerator.bit_length() - value.denominator.bit_length() - 1)
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    step = Fraction(2) ** (exponent - 23)
    nearest = round(value / step) * step
    if abs(nearest) >= 2**128:
        return math.copysign(math.inf, value)
    return math.copysign(float(abs(nearest)), value)
