"""Slice on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any


def slice_(x: Any, *, axis: int, start: int, stop: int) -> Any:
    if axis == 0:
        return [x[i] for i in range(start, stop)]
    return [slice_(part, axis=axis - 1, start=start, stop=stop) for part in x]
