"""Numbers brought nearer to 0 while a backend stays wrong: which Hypothesis leaves: it shrinks what it drew, not arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from ivit_ref.integers import BOUNDS
from ivit_ref.ir import Array

MOST_ELEMENTS = 64
"""Of an array with more, elements are not tried one by one."""

LONGEST_TINY, LARGEST_TINY = 2, 4

Arrays = tuple[Array, ...]


def smallest(arrays: Arrays, fails: Callable[[Arrays], bool]) -> Arrays:
    """The arrays without what can go, and with every integer as near to 0 as it can be alone, while ``fails`` holds."""
    arrays = next((trial for trial in _tiny(arrays) if fails(trial)), arrays)
    while True:
        found = next((trial for trial in itertools.chain(_shorter(arrays), _nearer(arrays)) if fails(trial)), None)
        if found is None:
            return arrays
        arrays = found


def _tiny(arrays: Arrays) -> Iterator[Arrays]:
    """Rows of one and two small numbers, the smallest first, in place of the first array; others are cut to that length."""
    first = arrays[0]
    if first.ndim == 0 or first.size <= LONGEST_TINY or first.dtype.kind not in "iu":
        return
    low, high = max(-LARGEST_TINY, BOUNDS[str(first.dtype)][0]), LARGEST_TINY
    rows = (row for n in range(1, LONGEST_TINY + 1) for row in itertools.product(range(low, high + 1), repeat=n))
    for row in sorted(rows, key=lambda row: (len(row), sum(map(abs, row)), [-v for v in row])):
        cut = (a[..., : len(row)] if a.ndim and a.shape[-1] == first.shape[-1] else a for a in arrays[1:])
        yield np.array(row, first.dtype), *cut


def _shorter(arrays: Arrays) -> Iterator[Arrays]:
    """Without the first axis, where it has one index; without one index of an axis, in one array or in all that have it.

    An axis is counted from the last one, as where shapes broadcast.
    """
    if arrays[0].ndim > 1 and arrays[0].shape[0] == 1:
        yield arrays[0][0], *arrays[1:]
    for which, array in enumerate(arrays):
        for axis in range(-array.ndim, 0):
            length = array.shape[axis]
            for k in range(length) if 1 < length <= MOST_ELEMENTS else ():
                yield tuple(np.delete(a, k, axis) if a.ndim >= -axis and a.shape[axis] == length else a for a in arrays)
                yield _replaced(arrays, which, np.delete(array, k, axis))


def _nearer(arrays: Arrays) -> Iterator[Arrays]:
    """Each array with one element nearer to 0."""
    for which, array in enumerate(arrays):
        for index in np.ndindex(array.shape) if array.size <= MOST_ELEMENTS and array.dtype.kind in "iu" else ():
            for value in _between(int(array[index])):
                changed: Array = array.copy()
                changed[index] = value
                yield _replaced(arrays, which, changed)


def _between(value: int) -> Iterator[int]:
    """0, then less and less far from the value: half of it, three quarters, ... one beside it."""
    distance, sign = abs(value), 1 if value > 0 else -1
    while distance:
        yield value - sign * distance
        distance //= 2


def _replaced(arrays: Arrays, which: int, array: Array) -> Arrays:
    return (*arrays[:which], array, *arrays[which + 1 :])
