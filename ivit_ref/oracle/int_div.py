"""IntDiv on plain Python ints."""

from __future__ import annotations

import math
from fractions import Fraction

from ivit_ref.oracle.widths import fit, saturate


def int_div(
    x: list[int], d: list[int], *, numerator: int, out_bits: int, product_bits: int, dtype: str, overflow: str = "raise"
) -> list[int]:
    """Each y of a list of x and a list of as many d. ZeroDivisionError is C2, OverflowError C5."""
    pairs = zip(x, d, strict=True)
    return [saturate(divide(a, b, numerator, out_bits, product_bits, overflow), dtype) for a, b in pairs]


def divide(x: int, d: int, numerator: int, out_bits: int, product_bits: int, overflow: str) -> int:
    """y before it is saturated."""
    reciprocal = math.trunc(Fraction(numerator, d))
    product = reciprocal * x
    if abs(product) >= 2**63:
        raise OverflowError(product)
    if product_bits == 32:
        product = fit(product, 32, overflow=overflow)
    return product >> (31 - (out_bits - 1))
