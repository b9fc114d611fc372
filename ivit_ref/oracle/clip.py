"""Clip on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import Index, at, build, shape_of


def clip(x: Any, *, low: int, high: int) -> Any:
    def element(index: Index) -> int:
        value = int(at(x, index))
        if value < low:
            return low
        return high if value > high else value

    return build(shape_of(x), element)
