"""GemmlowpRequantize on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.fixed_point import divide_by_power_of_two, high_mul
from ivit_ref.oracle.nested import Index, at, build, shape_of
from ivit_ref.oracle.widths import fit, saturate


def gemmlowp_requantize(
    x: Any,
    *,
    multiplier: tuple[int, ...],
    shift: tuple[int, ...],
    axis: int,
    zero_point: int,
    dtype: str,
    overflow: str = "raise",
) -> Any:
    def element(index: Index) -> int:
        channel = index[axis] if len(multiplier) > 1 else 0
        left, right = max(31 - shift[channel], 0), max(shift[channel] - 31, 0)
        w = fit(at(x, index) * 2**left, 32, overflow=overflow)
        y = divide_by_power_of_two(high_mul(w, multiplier[channel]), right)
        return saturate(y + zero_point, dtype)

    return build(shape_of(x), element)
