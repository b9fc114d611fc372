"""ILayerNorm on plain Python ints."""

from __future__ import annotations

import math
from fractions import Fraction

from tests.oracle.int_sqrt import root
from tests.oracle.rounding import rounded
from tests.oracle.widths import fit


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
    halve = {"floor": math.floor, "truncate": math.trunc}[halving]
    return [fit(halve(Fraction(a, 2)) + b, 32, overflow=overflow) for a, b in zip(product, bias, strict=True)]
