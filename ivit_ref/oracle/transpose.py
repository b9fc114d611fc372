"""Transpose on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import Index, at, build, shape_of


def transpose(x: Any, *, perm: tuple[int, ...]) -> Any:
    shape = shape_of(x)

    def element(index: Index) -> Any:
        source = [0] * len(shape)
        for place, axis in enumerate(perm):
            source[axis] = index[place]
        return at(x, tuple(source))

    return build(tuple(shape[axis] for axis in perm), element)
