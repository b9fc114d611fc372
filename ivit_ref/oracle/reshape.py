"""Reshape on plain Python ints and nested lists."""

from __future__ import annotations

from math import prod
from typing import Any

from ivit_ref.oracle.nested import shape_of


def reshape(x: Any, *, shape: tuple[int, ...]) -> Any:
    elements = flat(x)
    lengths = [shape_of(x)[i] if d == 0 else d for i, d in enumerate(shape)]
    if -1 in lengths:
        others = prod(d for d in lengths if d != -1)
        lengths[lengths.index(-1)] = len(elements) // others
    return deal(elements, lengths)


def flat(x: Any) -> list[Any]:
    return [element for part in x for element in flat(part)] if isinstance(x, list) else [x]


def deal(elements: list[Any], lengths: list[int]) -> Any:
    """The elements dealt out in order, the last axis first."""
    if not lengths:
        return elements[0]
    share = len(elements) // lengths[0]
    return [deal(elements[i * share : (i + 1) * share], lengths[1:]) for i in range(lengths[0])]
