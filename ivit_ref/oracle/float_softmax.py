"""FloatSoftmax by decimal numbers of 50 digits."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from ivit_ref.oracle.widths import saturate

DIGITS = Context(prec=50, rounding=ROUND_HALF_EVEN)


def float_softmax(x: list[int], *, scale: float, out_bits: int, dtype: str) -> list[int]:
    """The y of one row x."""
    with localcontext(DIGITS):
        e = [(Decimal(scale) * (value - max(x))).exp() for value in x]
        total = sum(e)
        return [saturate(int((one / total * 2 ** (out_bits - 1)).to_integral_value()), dtype) for one in e]
