"""IBertLayerNorm on plain Python ints."""

from __future__ import annotations

import math
from fractions import Fraction

from ivit_ref.oracle.rounding import rounded
from ivit_ref.oracle.widths import fit


def i_bert_layer_norm(x: list[int], bias: list[int], *, shift: int, overflow: str = "raise") -> list[int]:
    """The result of one row x of C elements; bias has C elements too."""
    mu = rounded(Fraction(sum(x), len(x)), "half_even")
    y = [fit(value - mu, 32, overflow=overflow) for value in x]
    h = [math.floor(Fraction(value, 2**shift)) for value in y]
    squares = [fit(value**2, 32, signed=False, overflow=overflow) for value in h]
    v = fit(sum(squares), 32, signed=False, overflow=overflow)
    k = math.isqrt(v) * 2**shift
    factor = 2**31 // max(k, 1)
    return [fit(math.floor(Fraction(factor * a, 2)) + b, 32, overflow=overflow) for a, b in zip(y, bias, strict=True)]
