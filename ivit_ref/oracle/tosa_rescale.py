"""TosaRescale on plain Python ints and nested lists."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from ivit_ref.oracle.nested import Index, at, build, shape_of
from ivit_ref.oracle.widths import saturate


def tosa_rescale(
    x: Any,
    *,
    multiplier: tuple[int, ...],
    shift: tuple[int, ...],
    double_round: bool,
    axis: int,
    zero_point: int,
    dtype: str,
) -> Any:
    """ValueError is C5."""

    def element(index: Index) -> int:
        channel = index[axis] if len(multiplier) > 1 else 0
        value, s = at(x, index), shift[channel]
        if not -(2 ** (s - 1)) <= value < 2 ** (s - 1):
            raise ValueError(value)
        added = Fraction(1, 2)
        if double_round and s > 31:
            added += Fraction(2**30 if value >= 0 else -(2**30), 2**s)
        return saturate(math.floor(Fraction(value * multiplier[channel], 2**s) + added) + zero_point, dtype)

    return build(shape_of(x), element)
