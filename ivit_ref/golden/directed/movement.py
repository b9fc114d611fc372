"""Directed vectors of operators that move elements: all of these differ, so any wrong place shows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ivit_ref.golden.directed.making import single
from ivit_ref.golden.group import Group
from ivit_ref.ir import Array


def different(shape: tuple[int, ...], dtype: str, first: int = 0) -> Array:
    """The integers from ``first`` on, in order."""
    return np.arange(first, first + int(np.prod(shape)), dtype=dtype).reshape(shape)


def reshapes() -> Iterator[Group]:
    """A dimension kept, one left over."""
    x = different((2, 3, 4), "int8", -12)
    yield single("Reshape", "", "heads_int8", "0 keeps, -1 takes what is left", "order", {"shape": (0, -1, 2, 2)}, x=x)


def transposes() -> Iterator[Group]:
    """An order that is not its own inverse, so that the inverse shows."""
    x = different((2, 3, 4), "int8", -12)
    yield single("Transpose", "", "cycle_int8", "an order of three axes", "order", {"perm": (2, 0, 1)}, x=x)


def concats() -> Iterator[Group]:
    """Different lengths, at an axis within."""
    x, y = different((2, 1, 3), "int8", -128), different((2, 2, 3), "int8", 100)
    yield single("Concat", "", "tokens_int8", "a class token before the others", "order", {"axis": 1}, x=x, y=y)


def slices() -> Iterator[Group]:
    """A range that begins and ends within."""
    x = different((3, 5, 2), "int16", -15)
    yield single("Slice", "", "middle_int16", "the middle", "order", {"axis": 1, "start": 1, "stop": 4}, x=x)


def takes() -> Iterator[Group]:
    """Places out of order, one of them twice, one never."""
    x = different((2, 4, 3), "int8", -12)
    yield single(
        "Take", "", "places_int8", "out of order, and one twice", "order repeat", {"axis": 1, "indices": (3, 0, 3, 1)}, x=x
    )


def rolls() -> Iterator[Group]:
    """A shift that is not half of the axis, so that the other direction shows."""
    x = different((2, 5, 3), "int8", -15)
    yield single("Roll", "", "window_int8", "on by two of five", "order", {"axis": 1, "shift": 2}, x=x)


def expansions() -> Iterator[Group]:
    """A class token for each image and place; of the other tensor only the lengths are read."""
    x, like = different((1, 1, 4), "int8", -2), different((3, 2, 5), "int32", 1000)
    yield single("Expand", "", "both_int8", "along two axes", "broadcast order", {"axes": (0, 1)}, x=x, like=like)
