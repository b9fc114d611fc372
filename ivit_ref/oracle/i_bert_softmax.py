"""IBertSoftmax on plain Python ints."""

from __future__ import annotations

import math
from fractions import Fraction

from ivit_ref.oracle.rounding import rounded
from ivit_ref.oracle.widths import saturate


def i_bert_softmax(
    x: list[int], *, x0: int, b: int, c: int, n: int, multiplier: int, shift: int, out_bits: int, dtype: str
) -> list[int]:
    """The y of one row x."""
    e = []
    for value in x:
        z, q = exponential(value - max(x), x0, b, c, n)
        e.append(min(rounded(Fraction(z * multiplier, 2 ** (shift + q)), "half_even"), 2**15 - 1))
    factor = 2**32 // sum(e)
    return [saturate(math.floor(Fraction(value * factor, 2 ** (32 - out_bits))), dtype) for value in e]


def exponential(d: int, x0: int, b: int, c: int, n: int) -> tuple[int, int]:
    """z and q."""
    d = max(d, n * x0)
    q = math.floor(Fraction(d, x0))
    r = d - q * x0
    return max(r * (r + b) + c, 0), q
