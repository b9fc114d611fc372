"""Expand on plain Python ints and nested lists."""

from __future__ import annotations

from typing import Any

from ivit_ref.oracle.nested import Index, at, build, shape_of


def expand(x: Any, like: Any, *, axes: tuple[int, ...]) -> Any:
    shape = list(shape_of(x))
    for axis in axes:
        shape[axis] = shape_of(like)[axis]

    def element(index: Index) -> Any:
        return at(x, tuple(0 if i in axes else k for i, k in enumerate(index)))

    return build(tuple(shape), element)
