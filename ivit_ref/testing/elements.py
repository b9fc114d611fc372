"""What the strategies of this package are made of: numbers that reach the ends of their type, arrays, shapes, channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
from hypothesis import strategies as st

from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array
from ivit_ref.profiles import MeanRounding

Call = tuple[tuple[Array, ...], dict[str, Any]]
"""The arrays that an operator is given, in its own order, and all of its attributes."""

MEAN_ROUNDINGS: tuple[MeanRounding, ...] = get_args(MeanRounding)
NARROW = ("int8", "uint8", "int16")
ACCUMULATORS = ("int8", "uint8", "int16", "int32")
RESULTS = ("int8", "uint8", "int16", "uint16", "int32")
EDGES = ("int8", "uint8", "int16", "uint16")
INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "int64")


def values(dtype: str) -> st.SearchStrategy[int]:
    """Any value of the dtype; its ends and what is next to zero more often."""
    low, high = BOUNDS[dtype]
    special = sorted({low, min(low + 1, high), max(low, -1), 0, 1, max(high - 1, low), high}, key=abs)
    return st.sampled_from(special) | anywhere(low, high)


def anywhere(low: int, high: int) -> st.SearchStrategy[int]:
    """Any integer from low to high, all about as often: ``st.integers`` prefers small ones in a large range."""
    count = (high - low).bit_length() // 8 + 1
    return st.binary(min_size=count, max_size=count).map(lambda b: low + int.from_bytes(b, "big") % (high - low + 1))


def between(low: int, high: int) -> st.SearchStrategy[int]:
    """Integers from low to high: half of them at an end, around 0, or at a power of two or beside it."""
    boundaries = sorted({v for v in _boundaries(low, high) if low <= v <= high}, key=lambda v: (abs(v), -v))
    ends = sorted({max(low, min(0, high)), low, high}, key=abs)
    return st.one_of(st.sampled_from(ends), st.sampled_from(boundaries), st.integers(low, high), anywhere(low, high))


def _boundaries(low: int, high: int) -> Iterator[int]:
    for v in (low, high, 0):
        yield from (v - 1, v, v + 1)
    for e in range(max(abs(low), abs(high)).bit_length()):
        yield from (s * 2**e + k for s in (1, -1) for k in (-1, 0, 1))


def odds(highest: int) -> st.SearchStrategy[int]:
    """Odd integers from 1 to ``highest``; where that is even, it is one of them all the same."""
    return st.integers(0, highest // 2).map(lambda n: 2 * n + 1 if 2 * n < highest else highest)


def arrays(dtype: str, shape: tuple[int, ...], elements: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[Array]:
    """Arrays of which every element is drawn by itself: any value of the dtype, or one of ``elements``."""
    count = math.prod(shape)
    drawn = st.lists(values(dtype) if elements is None else elements, min_size=count, max_size=count)
    return drawn.map(lambda numbers: np.array(numbers, dtype).reshape(shape))


def shapes(min_dims: int = 1, max_dims: int = 3, max_side: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes without empty axes."""
    return st.lists(st.integers(1, max_side), min_size=min_dims, max_size=max_dims).map(lambda lengths: tuple(lengths))


@st.composite
def broadcastable_pairs(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast to this one: at each axis one of them may be of length one, or end before it."""
    pair = [list(shape), list(shape)]
    for i in range(len(shape)):
        shortened = draw(st.sampled_from([None, 0, 1]))
        if shortened is not None:
            pair[shortened][i] = 1
    lacking, leading = draw(st.sampled_from([0, 1])), draw(st.integers(0, len(shape)))
    pair[1 - lacking][:leading] = shape[:leading]
    del pair[lacking][:leading]
    return tuple(pair[0]), tuple(pair[1])


def zero_points(dtype: str) -> st.SearchStrategy[int]:
    """0 as often as any other value of the dtype."""
    return st.just(0) | values(dtype)


def channels(shape: tuple[int, ...], axis: int) -> st.SearchStrategy[int]:
    """How many numbers a tensor has: one for all of it, or one for each index along the axis."""
    return st.sampled_from([1, shape[axis]])
