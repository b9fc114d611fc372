"""IBertGELU on plain Python ints."""

from __future__ import annotations

import math
from fractions import Fraction

from ivit_ref.oracle.widths import fit


def i_bert_gelu(x: list[int], *, b: int, c: int, one: int, shift: int, overflow: str = "raise") -> list[int]:
    """The result of each x of a list."""
    return [fit(value * (erf(value, b, c, shift) + one), 32, overflow=overflow) for value in x]


def erf(x: int, b: int, c: int, shift: int) -> int:
    """y, after its shift."""
    square = (min(abs(x), -b) + b) ** 2 + c
    y = square if x > 0 else -square if x < 0 else 0
    return math.floor(Fraction(y, 2**shift))
