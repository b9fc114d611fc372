"""Nested lists as tensors: a tensor without axes is a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Index = tuple[int, ...]


def shape_of(x: Any) -> Index:
    return (len(x), *shape_of(x[0])) if isinstance(x, list) else ()


def at(x: Any, index: Index) -> Any:
    for i in index:
        x = x[i]
    return x


def build(shape: Index, element: Callable[[Index], Any], index: Index = ()) -> Any:
    """The tensor with ``element(index)`` at every index."""
    if not shape:
        return element(index)
    return [build(shape[1:], element, (*index, i)) for i in range(shape[0])]


def broadcast(first: Index, second: Index) -> Index:
    """The shape of the result when axes of length one repeat."""
    rank = max(len(first), len(second))
    pairs = zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True)
    return tuple(b if a == 1 else a for a, b in pairs)


def repeated(shape: Index, index: Index) -> Index:
    """Where a tensor of this shape is read when its axes of length one repeat up to a tensor with this index."""
    behind = index[len(index) - len(shape) :]
    return tuple(0 if n == 1 else i for n, i in zip(shape, behind, strict=True))
