"""ILayerNorm on plain Python ints."""

from __future__ import annotations

import math
from fractions import Fraction

from ivit_ref.oracle.int_sqrt import root
from ivit_ref.oracle.rounding import rounded
from ivit_ref.oracle.widths import fit


def i_layer_norm(
    x: list[int],
    bias: list[int],
    *,
    mean_rounding: str,
    mean_bits: int,
    variance_bits: int,
    sqrt_start: int,
    sqrt_steps: int,
    product_bits: int,
    halving: str,
    overflow: str = "raise",
) -> list[int]:
    """The result of one row x of C elements; bias has C elements too."""
    s = fit(sum(x), mean_bits, overflow=overflow)
    mu = rounded(Fraction(s, len(x)), mean_rounding)
    y = [fit(value - mu, mean_bits, overflow=overflow) for value in x]
    v = fit(sum(value**2 for value in y), variance_bits, signed=variance_bits != 32, overflow=overflow)
    k = root(v, sqrt_start, sqrt_steps)
    factor = math.floor(Fraction(2**31 - 1, max(k, 1)))
    product = [fit(factor * value, product_bits, overflow=overflow) for value in y]
    return [fit(rounded(Fraction(a, 2), halving) + b, 32, overflow=overflow) for a, b in zip(product, bias, strict=True)]
