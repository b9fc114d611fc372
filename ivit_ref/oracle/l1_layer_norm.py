"""L1LayerNorm on plain Python ints."""

from __future__ import annotations

import math
from fractions import Fraction

from ivit_ref.oracle.rounding import rounded
from ivit_ref.oracle.widths import fit


def l1_layer_norm(x: list[int], bias: list[int], *, multiplier: int, shift: int, overflow: str = "raise") -> list[int]:
    """The result of one row x of C elements; bias has C elements too."""
    mu = rounded(Fraction(sum(x), len(x)), "half_even")
    y = [value - mu for value in x]
    a = sum(abs(value) for value in y)
    k = rounded(Fraction(a * multiplier, 2**shift), "half_up")
    factor = math.floor(Fraction(2**31 - 1, max(k, 1)))
    return [fit(math.floor(Fraction(factor * d, 2)) + b, 32, overflow=overflow) for d, b in zip(y, bias, strict=True)]
