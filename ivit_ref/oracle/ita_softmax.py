"""ITASoftmax on plain Python ints."""

from __future__ import annotations

import math
from fractions import Fraction

from ivit_ref.oracle.rounding import rounded


def ita_softmax(x: list[int], *, block: int, shift: int) -> list[int]:
    """The y of one row x."""

    def halved(value: int, distance: int) -> int:
        return math.floor(Fraction(value, 2 ** rounded(Fraction(distance, 2**shift), "half_up")))

    m, s = -128, 0
    for start in range(0, len(x), block):
        columns = x[start : start + block]
        before, m = m, max([m, *columns])
        s = halved(s, m - before) + sum(halved(256, m - value) for value in columns)
    return [halved(255 * 256 // s, m - value) for value in x]
