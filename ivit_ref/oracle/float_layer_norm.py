"""FloatLayerNorm by exact integers and decimal numbers of 50 digits."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction

from ivit_ref.oracle.widths import fit


def float_layer_norm(x: list[int], bias: list[int], *, overflow: str = "raise") -> list[int]:
    """The result of one row x of C elements; bias has C elements too."""
    mean = Fraction(sum(x), len(x))
    y = [value - mean for value in x]
    squares = sum((d * d for d in y), Fraction(0))
    return [fit(normalised(d, squares) + b, 32, overflow=overflow) for d, b in zip(y, bias, strict=True)]


def normalised(deviation: Fraction, squares: Fraction) -> int:
    """``deviation / sqrt(squares)`` in steps of 2**-30, half to even; 0 of a constant row."""
    if not squares:
        return 0
    with localcontext(Context(prec=50, rounding=ROUND_HALF_EVEN)):
        root = (Decimal(squares.numerator) / squares.denominator).sqrt()
        return int((Decimal(deviation.numerator) / deviation.denominator / root * 2**30).to_integral_value())
