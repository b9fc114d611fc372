"""ShiftExp on plain Python ints."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

from ivit_ref.oracle.rounding import rounded
from ivit_ref.oracle.widths import fit


def shift_exp(
    x: list[int], *, i0: int, n: int, clamp: bool, half: str, quotient: str, exp_bits: int, overflow: str = "raise"
) -> list[int]:
    """Each y of a list of x."""
    return [exponential(value, i0, n, clamp, half, quotient, exp_bits, overflow) for value in x]


@cache
def exponential(x: int, i0: int, n: int, clamp: bool, half: str, quotient: str, exp_bits: int, overflow: str) -> int:
    """y; remembered, since exhaustive tests ask for the same x many times."""
    p = x + (x >> 1) - (x >> 4)
    if clamp:
        p = max(p, -n * i0)
    q = rounded(Fraction(p, -i0), quotient)
    r = p + q * i0
    i_b = Fraction(r, 2) + i0 if half == "keep" else Fraction((r >> 1) + i0)
    y = math.floor(i_b * Fraction(2) ** _affordable(n - q))
    if exp_bits == 32:
        return fit(y, 32, overflow=overflow)
    return min(y, 2**62)


def _affordable(exponent: int) -> int:
    """An exponent with the same y: 1/2 <= i_b < 2**30, so past +-100 y is 0, or above every width with all its low bits 0."""
    return max(-100, min(exponent, 100))
