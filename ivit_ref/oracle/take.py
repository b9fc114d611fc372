"""Take on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any


def take(x: Any, *, axis: int, indices: tuple[int, ...]) -> Any:
    if axis == 0:
        return [x[i] for i in indices]
    return [take(part, axis=axis - 1, indices=indices) for part in x]
