"""Shiftmax on plain Python ints."""

from __future__ import annotations

from ivit_ref.oracle.int_div import int_div
from ivit_ref.oracle.shift_exp import shift_exp
from ivit_ref.oracle.widths import fit


def shiftmax(
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
    dtype: str,
    overflow: str = "raise",
) -> list[int]:
    """The y of one row x."""
    d = [value - max(x) for value in x]
    e = shift_exp(d, i0=i0, n=n, clamp=clamp, half=half, quotient=quotient, exp_bits=exp_bits, overflow=overflow)
    s = total(e, sum, overflow)
    division = {"numerator": numerator, "out_bits": out_bits, "product_bits": product_bits}
    return int_div(e, [s] * len(e), **division, dtype=dtype, overflow=overflow)


def total(e: list[int], rule: str, overflow: str) -> int:
    """s, under the attribute ``sum``."""
    s = sum(e)
    if rule == "clamped":
        return min(s, 2**31 - 1)
    return fit(s, 32, overflow=overflow) if rule == "int32" else s
