"""IntSqrt on plain Python ints."""

from __future__ import annotations

import math


def int_sqrt(v: list[int], *, start: int, steps: int) -> list[int]:
    """Each y of a list of v."""
    return [root(value, start, steps) for value in v]


def root(v: int, start: int, steps: int) -> int:
    """y."""
    if steps == 0:
        return math.isqrt(v)
    k = start if start != 0 else 2 ** (v.bit_length() // 2)
    for _ in range(steps):
        k = (k + (v // k if k != 0 else 0)) // 2
    return k
