"""Where on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import Index, at, broadcast, build, repeated, shape_of


def where(condition: Any, x: Any, y: Any) -> Any:
    shapes = [shape_of(part) for part in (condition, x, y)]

    def element(index: Index) -> Any:
        chosen, first, second = (at(part, repeated(s, index)) for part, s in zip((condition, x, y), shapes, strict=True))
        return first if chosen else second

    return build(broadcast(shapes[0], broadcast(shapes[1], shapes[2])), element)
