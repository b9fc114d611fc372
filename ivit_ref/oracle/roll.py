"""Roll on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any


def roll(x: Any, *, axis: int, shift: int) -> Any:
    if axis == 0:
        return [x[(i - shift) % len(x)] for i in range(len(x))]
    return [roll(part, axis=axis - 1, shift=shift) for part in x]
