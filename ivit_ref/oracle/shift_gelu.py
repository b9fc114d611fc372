"""ShiftGELU on plain Python ints."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.int_div import divide
from ivit_ref.oracle.shift_exp import shift_exp
from ivit_ref.oracle.shiftmax import total
from ivit_ref.oracle.widths import fit


def shift_gelu(
    x: list[int],
    *,
    i0: int,
    n: int,
    clamp: bool,
    half: str,
    quotient: str,
    exp_bits: int,
    sum: str,
    numerator: int,
    out_bits: int,
    product_bits: int,
    sigmoid: str,
    overflow: str = "raise",
) -> list[int]:
    """The y of one row x."""
    z = [by_shifts(value) for value in x] if sigmoid == "shifts" else x
    m = max(z)
    exponential: dict[str, Any] = {"i0": i0, "n": n, "clamp": clamp, "half": half, "quotient": quotient, "exp_bits": exp_bits}
    e = shift_exp([value - m for value in z], **exponential, overflow=overflow)
    [e_m] = shift_exp([-m], **exponential, overflow=overflow)
    s = [total([value, e_m], sum, overflow) for value in e]
    sigma = [divide(a, b, numerator, out_bits, product_bits, overflow) for a, b in zip(e, s, strict=True)]
    return [fit(a * b, 32, overflow=overflow) for a, b in zip(x, sigma, strict=True)]


def by_shifts(x: int) -> int:
    """1.702 x, as 1.1011b."""
    return x + (x >> 1) + (x >> 3) + (x >> 4)
